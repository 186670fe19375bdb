//! The dependency rules, read from the source. A rule nobody checks is a wish.

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer and the layers it may name. Order: ground floor first.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("codec", &["domain"]),
    ("export", &["domain", "codec"]),
    ("net", &["domain"]),
    ("project", &["domain", "codec"]),
    ("engine", &["domain", "codec", "export", "project", "net"]),
    ("learn", &["domain", "codec", "export", "project", "net", "config"]),
    ("config", &["domain"]),
    ("study", &["domain", "codec", "export", "project", "net", "engine", "learn", "config"]),
    ("tui", &["domain", "engine", "config"]),
];

/// Words that only the named layers may contain.
const RESERVED: &[(&str, &[&str])] = &[
    ("burn::", &["net", "learn"]),
    ("ratatui::", &["tui"]),
    ("crossterm::", &["tui"]),
    ("clap::", &["cli"]),
    ("std::fs", &["codec", "export", "project", "config", "net", "learn", "study", "cli"]),
    ("SystemTime", &["project", "engine", "tui", "learn", "cli"]),
    ("Instant::now", &["engine", "project", "tui", "learn", "cli"]),
];

/// Layers that may name every other one.
const ABOVE_ALL: [&str; 3] = ["cli", "main", "lib"];

const MAX_FILE_LINES: usize = 500;
const MAX_FN_LINES: usize = 90;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(PathBuf, String)> {
    fn collect(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let (root, mut paths) = (root(), Vec::new());
    collect(&root.join("src"), &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&root).unwrap().to_path_buf(), text)
    };
    paths.into_iter().map(read).collect()
}

/// The code that ships: no comments, no unit tests.
fn code(text: &str) -> String {
    let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = shipped.lines().filter(|l| !l.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first path segment after every `crate::`, also inside `crate::{a, b::c}`.
fn crate_imports(text: &str) -> Vec<String> {
    let ident = |s: &str| -> String {
        s.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut out = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            out.push(ident(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    out.push(ident(&group[start..i]));
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    out.push(ident(&group[start..i]));
                    start = i + 1;
                }
                _ => {}
            }
        }
    }
    out.retain(|name| !name.is_empty());
    out
}

fn longest_fn(text: &str) -> (usize, String) {
    let lines: Vec<&str> = text.lines().collect();
    let mut worst = (0, String::new());
    for (i, line) in lines.iter().enumerate() {
        let head = line.trim_start();
        let plain = head.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        let plain = plain.trim_start_matches("pub ").trim_start_matches("const ");
        if !plain.trim_start_matches("unsafe ").starts_with("fn ") {
            continue;
        }
        let close = format!("{}}}", " ".repeat(line.len() - head.len()));
        let length = lines[i..].iter().position(|l| *l == close).unwrap_or(0) + 1;
        if length > worst.0 {
            worst = (length, head.to_owned());
        }
    }
    worst
}

#[test]
fn imports_only_point_down() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let layer = path.iter().nth(1).unwrap().to_string_lossy().replace(".rs", "");
        let text = code(&text);
        match MAY_IMPORT.iter().find(|(name, _)| *name == layer) {
            Some((_, allowed)) => {
                for name in crate_imports(&text) {
                    if name != layer && !allowed.contains(&name.as_str()) {
                        faults.push(format!("{}: {layer} must not know {name}", path.display()));
                    }
                }
            }
            // A new layer without a rule would know everything.
            None if !ABOVE_ALL.contains(&layer.as_str()) => {
                faults.push(format!("{}: nothing says what {layer} may know", path.display()));
            }
            None => {}
        }
        for (word, layers) in RESERVED {
            // The terminal is a device file, not a file of anyone's.
            let terminal = *word == "std::fs" && path.starts_with("src/tui/terminal");
            if text.contains(word) && !layers.contains(&layer.as_str()) && !terminal {
                faults.push(format!("{}: {word} belongs to {}", path.display(), layers.join(", ")));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn backends_are_named_in_one_file() {
    for (path, text) in sources() {
        if !path.ends_with("net/device.rs") {
            for word in ["Device::flex", "Device::wgpu", "Device::vulkan"] {
                assert!(!code(&text).contains(word), "{} names {word}", path.display());
            }
            // The kernels are written for its tensors.
            let kernels = path.to_string_lossy().contains("net/gpu/");
            assert!(kernels || !code(&text).contains("burn_wgpu"), "{}", path.display());
        }
    }
}

#[test]
fn files_and_functions_stay_readable() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//!") {
            faults.push(format!("{} does not say what it is for", path.display()));
        }
        let lines = code(&text).lines().count();
        if lines > MAX_FILE_LINES {
            faults.push(format!("{} has {lines} lines", path.display()));
        }
        let (lines, head) = longest_fn(&code(&text));
        if lines > MAX_FN_LINES {
            faults.push(format!("{}: {lines} lines in `{head}`", path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_checker_sees_grouped_imports() {
    assert_eq!(crate_imports("use crate::{a::{b, c}, d};\nuse crate::e::f;"), ["a", "d", "e"]);
}

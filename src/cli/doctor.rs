//! `sonomark doctor`: what this machine offers, and where every setting comes from.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::{Value, json};

use crate::config::yaml::Faults;
use crate::config::{Passthrough, Settings};
use crate::domain::{counted, shown};
use crate::engine::load_network;
use crate::net::device::{Adapter, adapters};
use crate::net::gpu_memory::GpuMemory;
use crate::project::list_clips;
use crate::tui::graphics::Protocol;
use crate::tui::terminal::{HELD_BACK, InTmux, probe, slow_escape};

use super::devices::{device_of, in_timed_parts};
use super::{Done, Failure, keys, path_shown, print, print_json};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One line: what, how it is, and whether it is a fault.
struct Finding {
    what: &'static str,
    text: String,
    fine: bool,
}

/// Findings without which nothing can be annotated.
const NEEDED: [&str; 5] = ["settings", "keys", "project", "device", "network"];

/// Runs it. Faulty settings are shown, not an early end.
pub(super) fn run(settings: Result<Settings, Failure>, options: &Options) -> Done {
    let mut findings = vec![found("version", env!("CARGO_PKG_VERSION").to_owned())];
    match &settings {
        Ok(settings) => of_settings(settings, &mut findings),
        Err(failure) => findings.push(fault("settings", failure.sentence().to_owned())),
    }
    for adapter in in_timed_parts(true, |_| Ok(adapters()))? {
        let kind = if adapter.software { "software, not taken by auto" } else { "hardware" };
        findings.push(found(
            "adapter",
            format!("gpu:{} {} ({kind}{})", adapter.index, shown(&adapter.name), room(&adapter)),
        ));
    }
    let tmux = match &settings {
        Ok(held) => InTmux {
            passthrough: held.passthrough.value,
            named: !matches!(held.graphics.value.as_str(), "auto" | "halfblock"),
        },
        Err(_) => InTmux { passthrough: Passthrough::Auto, named: false },
    };
    findings.push(terminal(tmux));
    if in_tmux() {
        findings.extend(slow_escape().map(|sentence| fault("tmux", sentence)));
    }
    findings.push(tool("ffmpeg"));
    findings.push(tool("ffprobe"));
    let faults = findings.iter().filter(|finding| !finding.fine).count();
    if options.json {
        let list: Vec<Value> = findings
            .iter()
            .map(|f| json!({ "what": f.what, "text": f.text, "ok": f.fine }))
            .collect();
        print_json(&json!({ "findings": list, "faults": faults }));
    } else {
        for Finding { what, text, fine } in &findings {
            let mark = if *fine { "ok " } else { "!! " };
            print(&format!("{mark} {what:<10} {text}"));
        }
    }
    // What is wrong was told above; the exit code says that something is, without which nothing goes.
    let broken = |finding: &Finding| !finding.fine && NEEDED.contains(&finding.what);
    if !findings.iter().any(broken) {
        return Ok(());
    }
    let told = if options.json { "listed as not ok" } else { "marked with !!" };
    Err(Failure::Configuration(format!("something that is needed has faults: it is {told}")))
}

/// Its memory, where the driver tells.
fn room(adapter: &Adapter) -> String {
    let gib = |bytes: u64| format!("{:.1}", bytes as f64 / (1u64 << 30) as f64);
    GpuMemory::at(&adapter.pci).map_or_else(String::new, |memory| {
        format!(", {} of {} GiB free", gib(memory.free()), gib(memory.total))
    })
}

fn found(what: &'static str, text: String) -> Finding {
    Finding { what, text, fine: true }
}

fn fault(what: &'static str, text: String) -> Finding {
    Finding { what, text, fine: false }
}

fn of_settings(settings: &Settings, findings: &mut Vec<Finding>) {
    for (name, value, origin) in settings.rows() {
        findings.push(found("setting", format!("{name} = {value} ({origin})")));
    }
    let faults = keys::faults(settings);
    if !faults.is_empty() {
        let told: Vec<String> = faults.iter().flat_map(Faults::sentences).collect();
        findings.push(fault("keys", told.join("\n")));
    }
    findings.push(found("config", path_shown(&settings.config_dir)));
    findings.push(found("cache", path_shown(&settings.cache_dir)));
    let project = &settings.project.value;
    findings.push(match list_clips(project) {
        Ok(clips) => {
            found("project", format!("{}: {}", path_shown(project), counted(clips.len(), "clip")))
        }
        Err(_) if !project.exists() => match cannot_be_made(project) {
            None => found("project", format!("{}: made on first use", path_shown(project))),
            Some(why) => fault("project", why),
        },
        Err(error) => fault("project", error.to_string()),
    });
    let picked = match device_of(settings) {
        Ok(picked) => picked,
        Err(failure) => return findings.push(fault("device", failure.sentence().to_owned())),
    };
    findings.push(found("device", picked.description.clone()));
    let loaded = in_timed_parts(picked.gpu, |_| {
        load_network(settings.card.value.as_deref(), &picked)
            .map_err(|error| Failure::Configuration(error.to_string()))
    });
    findings.push(match loaded {
        Ok((card, _)) => {
            let hash = card.weights.sha256.get(..12).unwrap_or("not pinned").to_owned();
            let (name, licence) = (shown(&card.name), shown(&card.weights.licence));
            found(
                "network",
                format!("{name}, {} px, weights {hash}, {licence}", card.network.image_size),
            )
        }
        Err(failure) => fault("network", failure.sentence().to_owned()),
    });
}

/// Why the folder of a project could not be made where there is none: nothing can be written into the one above.
fn cannot_be_made(project: &Path) -> Option<String> {
    let absolute = std::path::absolute(project).ok()?;
    let above = absolute.ancestors().find(|folder| folder.exists())?;
    // A file without a name, which leaves nothing behind.
    let cause = tempfile::tempfile_in(above).err()?.kind();
    Some(format!(
        "{} cannot be made: {} cannot be written ({cause}); name a folder of yours with --project, or set HOME or \
         XDG_DATA_HOME",
        path_shown(project),
        path_shown(above)
    ))
}

fn in_tmux() -> bool {
    std::env::var_os("TMUX").is_some_and(|value| !value.is_empty())
}

fn terminal(how: InTmux) -> Finding {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return found(
            "terminal",
            "none here; run doctor in the terminal that you annotate in".into(),
        );
    }
    let tmux = in_tmux();
    match probe(tmux.then_some(how)) {
        Ok(can) => {
            let through = can.passthrough.is_some();
            let how = match can.best() {
                Some(Protocol::Iterm) => "iTerm2's inline images",
                Some(Protocol::Sixel) => "sixel",
                Some(Protocol::Kitty) if can.sixel => {
                    "kitty's images (text hides them, not sixels)"
                }
                Some(Protocol::Kitty) => "kitty's images (no sixel)",
                None => "half blocks (neither sixel nor kitty's images)",
            };
            let way = match (tmux, through) {
                (true, true) => " through tmux".to_owned(),
                (true, false) if can.held_back => format!(" in tmux (pictures: {HELD_BACK})"),
                (true, false) if !can.sixel => {
                    " in tmux (name another way, as --graphics sixel, if the terminal can)"
                        .to_owned()
                }
                (true, false) => " in tmux".to_owned(),
                (false, _) => String::new(),
            };
            let cell = can.cell_px.map_or("unknown".to_owned(), |(w, h)| format!("{w} x {h} px"));
            let sync = if can.sync_output { "yes" } else { "no" };
            let light = if can.light { ", light background" } else { "" };
            found(
                "terminal",
                format!(
                    "{how}{way}, {} colours, cell {cell}, synchronised output {sync}{light}",
                    can.registers
                ),
            )
        }
        Err(error) => fault("terminal", error.to_string()),
    }
}

fn tool(name: &'static str) -> Finding {
    let run = Command::new(name).arg("-version").stdin(Stdio::null()).output();
    match run {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            found(name, shown(text.lines().next().unwrap_or_default()))
        }
        Ok(output) => fault(name, format!("ends with {}; videos cannot be opened", output.status)),
        Err(_) => fault(
            name,
            format!("not found; install {name} to open videos (all other clips open without)"),
        ),
    }
}

//! Text from files, made safe for terminals and logs.
//!
//! What decides whether this file is right: nothing that a terminal acts on comes through, and names stay readable.

use std::panic::PanicHookInfo;

/// `text` with everything a terminal could act on made visible: control characters, escape
/// codes, bidirectional overrides, zero-width and tag characters appear as `\u{..}`.
///
/// Names of files, DICOM text and labels go through here on every surface (RELIABILITY S4).
#[must_use]
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if acts_on_a_terminal(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A library's words for what went wrong, without the inner structures that some of them print: `Kind { first: IHDR, .. }`
/// becomes `IHDR`.
#[must_use]
pub fn in_words(cause: &str) -> String {
    let mut out = chunks_named(cause);
    while let Some((begin, open)) = out.find(" { ").map(|at| (word_start(&out, at), at)) {
        let (inside, end) = match out[open..].find(" }") {
            Some(close) => (&out[open + 3..(open + close).max(open + 3)], open + close + 2),
            None => (&out[open + 3..], out.len()),
        };
        let first = inside.split(',').next().unwrap_or_default();
        let value = first.split_once(": ").map_or(first, |(_, value)| value).to_owned();
        out.replace_range(begin..end, &value);
    }
    out
}

/// The same text with chunks of a PNG by their names, which are any four characters of a file, also those that structures
/// are made of.
fn chunks_named(cause: &str) -> String {
    const BEGIN: &str = "ChunkType { type: ";
    let mut out = cause.to_owned();
    while let Some(begin) = out.find(BEGIN) {
        let held = &out[begin + BEGIN.len()..];
        let ends = held.find(", critical: ").and_then(|at| Some((at, held[at..].find(" }")?)));
        let Some((name, rest)) = ends else { break };
        let end = begin + BEGIN.len() + name + rest + " }".len();
        let name = held[..name].replace(['{', '}'], "");
        out.replace_range(begin..end, &name);
    }
    out
}

/// Where the word that ends at byte `end` begins.
fn word_start(text: &str, end: usize) -> usize {
    text[..end].rfind(' ').map_or(0, |space| space + 1)
}

/// A JSON document that says the same and holds nothing that a terminal could act on.
#[must_use]
pub fn shown_in_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // Between its strings a document holds ASCII alone.
        if c != '\n' && acts_on_a_terminal(c) {
            let units = c.encode_utf16(&mut [0; 2]).to_vec();
            out.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// A panic in words that hold nothing of a file: where it was, and its text where that is part of
/// the program. A text that was put together may quote what was being read, a patient's name
/// among it, and is left out.
#[must_use]
pub fn panic_told(info: &PanicHookInfo<'_>) -> String {
    let place = info
        .location()
        .map_or_else(String::new, |at| format!(" at {}:{}", source(at.file()), at.line()));
    match info.payload().downcast_ref::<&'static str>() {
        Some(text) => format!("a defect{place}: {}", shown(text).replace('\n', " ")),
        None => format!("a defect{place} (its text may quote a file and is left out)"),
    }
}

/// A source file without the folders of the machine on which a crate was built: they name its user and help nobody.
fn source(file: &str) -> &str {
    let published =
        file.split_once("/registry/src/").and_then(|(_, crates)| crates.split_once('/'));
    published.map_or(file, |(_, rest)| rest)
}

fn acts_on_a_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_file_is_named_without_the_machine_it_was_built_on() {
        let built = "/home/anna/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/gemm-0.19.0/src/gemm.rs";
        assert_eq!(source(built), "gemm-0.19.0/src/gemm.rs");
        assert_eq!(source("src/net/device.rs"), "src/net/device.rs");
    }

    #[test]
    fn inner_structures_of_libraries_become_a_word() {
        let png = "CRC error: expected 0x1 have 0x2 while decoding ChunkType { type: PLTE, critical: true } chunk.";
        assert_eq!(in_words(png), "CRC error: expected 0x1 have 0x2 while decoding PLTE chunk.");
        let odd = "ChunkType { type: }ÈE\\\", critical: false, safecopy: true } chunk came first";
        assert_eq!(in_words(odd), "ÈE\\\" chunk came first");
        assert_eq!(in_words("ChunkType { type: { }, critical: no }"), " ");
        assert_eq!(in_words("A { a: B { b: 1 } }"), "1");
        for odd in ["", " { ", " { }", "x { é", " { } { ", "a { b } c { d: ü, e } f"] {
            assert!(!in_words(odd).contains(" { "), "{odd:?}");
        }
    }

    #[test]
    fn escape_codes_become_visible_and_names_stay() {
        assert_eq!(shown("Ähre 3.png"), "Ähre 3.png");
        assert_eq!(shown("a\u{1b}[2Jb\u{202e}"), "a\\u{1b}[2Jb\\u{202e}");
        let names = serde_json::json!({ "a": "b\u{9b}2J\u{202e}\u{e0041}\n" });
        let json = shown_in_json(&serde_json::to_string_pretty(&names).unwrap_or_default());
        assert!(json.is_ascii() && json.lines().count() == 3, "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).ok(), Some(names));
        assert!(!shown("\r\n\t\u{9b}").chars().any(char::is_control));
    }
}

//! What the program says outside of its screen: on stdout what was asked for, on stderr what a person is to know.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Failure;
use crate::domain::{counted, panic_told, shown, shown_in_json};

/// Prints a line, or several; a closed pipe is a value, not a panic. Whoever put it together: nothing in it acts on a terminal.
pub(super) fn write_line(to: &mut dyn std::io::Write, line: &str) -> std::io::Result<()> {
    let lines: Vec<String> = line.split('\n').map(shown).collect();
    to.write_all(lines.join("\n").as_bytes())?;
    to.write_all(b"\n")?;
    to.flush()
}

/// That the reader of standard output has gone.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether the reader of standard output has gone (`| head`): who prints much need not go on.
pub(super) fn nobody_reads() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// Why standard output is not whole, where no reader closed it.
static NOT_PRINTED: OnceLock<String> = OnceLock::new();

/// Prints a line on stdout. A reader that closed the pipe (`| head`) ends the printing quietly; what else keeps lines back
/// (a full disk) is told at the end, with an exit code.
pub(crate) fn print(line: &str) {
    match write_line(&mut std::io::stdout(), line) {
        Ok(()) => {}
        Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => {
            CLOSED.store(true, Ordering::Relaxed);
        }
        Err(cause) => {
            let _ = NOT_PRINTED.set(cause.to_string());
        }
    }
}

/// Tells a person something on stderr.
pub(crate) fn tell(line: &str) {
    let _ = write_line(&mut std::io::stderr(), line);
}

/// Prints a JSON document on stdout.
pub(crate) fn print_json(value: &serde_json::Value) {
    print(&shown_in_json(&serde_json::to_string_pretty(value).unwrap_or_default()));
}

/// A JSON array that is printed row by row, as [`print_json`] would print the whole: the first of very many are read before
/// the last is known, and no more than one is held.
#[derive(Debug, Default)]
pub(super) struct JsonRows {
    last: Option<String>,
}

impl JsonRows {
    /// Prints what can be printed now that this row is known.
    pub(super) fn push(&mut self, row: &serde_json::Value) {
        print(&shown_in_json(&self.lines(row)));
    }

    /// Prints the rest. Without it what was printed is no document.
    pub(super) fn end(self) {
        print(&shown_in_json(&self.last_lines()));
    }

    fn lines(&mut self, row: &serde_json::Value) -> String {
        let text = serde_json::to_string_pretty(row).unwrap_or_default();
        let text = format!("  {}", text.replace('\n', "\n  "));
        match self.last.replace(text) {
            Some(last) => last + ",",
            None => "[".to_owned(),
        }
    }

    fn last_lines(self) -> String {
        self.last.map_or_else(|| "[]".to_owned(), |last| last + "\n]")
    }
}

/// Progress on stderr: one line that changes on a terminal, every tenth otherwise.
pub(super) struct Tally {
    label: String,
    word: &'static str,
    live: bool,
    told: usize,
}

impl Tally {
    /// Of what `label` says, safe to show; `word` is one of the things that are counted.
    pub(super) fn new(label: String, word: &'static str) -> Self {
        Self { label, word, live: std::io::stderr().is_terminal(), told: 0 }
    }

    /// Tells how many are done, of how many.
    pub(super) fn show(&mut self, [done, total]: [usize; 2]) {
        let tenth = done * 10 / total.max(1);
        let all = counted(total, self.word);
        if self.live {
            let mut err = std::io::stderr();
            let _ = write!(err, "\r{}: {done} of {all}", self.label);
            let _ = err.flush();
        } else if tenth > self.told {
            tell(&format!("{}: {done} of {all}", self.label));
        }
        self.told = tenth;
    }

    /// Ends the line.
    pub(super) fn end(&self) {
        if self.live {
            tell("");
        }
    }
}

/// A path, safe to show.
pub(crate) fn path_shown(path: &std::path::Path) -> String {
    shown(&path.to_string_lossy())
}

/// The exit code, unless what was printed is not whole.
pub(super) fn printed(code: u8) -> Result<u8, Failure> {
    match NOT_PRINTED.get() {
        None => Ok(code),
        Some(cause) => Err(Failure::Input(format!(
            "standard output could not be written ({cause}); make room, or print elsewhere, and run it again"
        ))),
    }
}

/// Says where this program broke, without what it was reading; the calls that led there where
/// RUST_BACKTRACE asks for them.
pub(super) fn tell_panic(info: &std::panic::PanicHookInfo<'_>) {
    let mut stderr = std::io::stderr();
    let _ = write_line(&mut stderr, &format!("sonomark: {}; please report it", panic_told(info)));
    let calls = std::backtrace::Backtrace::capture();
    if calls.status() == std::backtrace::BacktraceStatus::Captured {
        let _ = write_line(&mut stderr, &calls.to_string());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn rows_printed_one_by_one_are_the_same_document() {
        let all = [json!({ "name": "a\nb", "people": [{ "keys": 7 }] }), json!({}), json!([])];
        for count in 0..=all.len() {
            let mut rows = JsonRows::default();
            let mut lines: Vec<String> = all[..count].iter().map(|row| rows.lines(row)).collect();
            lines.push(rows.last_lines());
            let whole = Value::Array(all[..count].to_vec());
            assert_eq!(lines.join("\n"), serde_json::to_string_pretty(&whole).expect("plain"));
        }
    }

    #[test]
    fn what_is_printed_acts_on_no_terminal() {
        let mut printed = Vec::new();
        write_line(&mut printed, "no network a\u{1b}[2J\n\u{9b}31m, Ähre").expect("written");
        assert_eq!(printed, "no network a\\u{1b}[2J\n\\u{9b}31m, Ähre\n".as_bytes());
    }
}

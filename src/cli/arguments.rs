//! The arguments of this process.

use std::error::Error;
use std::ffi::OsString;
use std::num::{IntErrorKind, ParseFloatError, ParseIntError};

use clap::Parser;
use clap::error::ContextKind;

use super::Cli;
use crate::domain::shown;

/// Reads them. What is wrong ends the process and is told, help and version too.
pub(super) fn read() -> Cli {
    Cli::try_parse()
        .unwrap_or_else(|error| in_plain_words(of_shown(std::env::args_os(), error)).exit())
}

/// The same error, of arguments as they may be shown: it quotes them, and a file's name can be one of them (`sonomark *`).
fn of_shown(arguments: impl Iterator<Item = OsString>, error: clap::Error) -> clap::Error {
    let shown = arguments.map(|argument| shown(&argument.to_string_lossy()));
    Cli::try_parse_from(shown).err().unwrap_or(error)
}

/// Why a number is none, without the words that the language has for it.
fn in_plain_words(error: clap::Error) -> clap::Error {
    let Some(cause) = error.source() else { return error };
    let wanted = if let Some(cause) = cause.downcast_ref::<ParseIntError>() {
        match cause.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "a smaller number".to_owned(),
            _ => "a whole number from 0 on".to_owned(),
        }
    } else if cause.is::<ParseFloatError>() {
        "a number".to_owned()
    } else if let Some(range) = range_in_words(&cause.to_string()) {
        range
    } else {
        return error;
    };
    let [value, flag] = [ContextKind::InvalidValue, ContextKind::InvalidArg]
        .map(|kind| error.get(kind).map_or_else(String::new, ToString::to_string));
    clap::Error::raw(error.kind(), format!("{flag} is \"{value}\"; give {wanted}\n"))
}

/// What is wanted in the place of a number that is too small or too large, of which clap says "0 is not in 1..=20".
fn range_in_words(cause: &str) -> Option<String> {
    let (_, range) = cause.split_once(" is not in ")?;
    let (least, most) = range.split_once("..")?;
    let least: i64 = least.parse().ok()?;
    // Without `=` the end is the largest number that there is.
    Some(match most.strip_prefix('=') {
        Some(most) => format!("a whole number from {least} to {most}"),
        None => format!("a whole number from {least} on"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_of_arguments_acts_on_no_terminal() {
        for words in [&["--\u{1b}[2Jx"][..], &["bench", "\u{1b}[2Jx"], &["--slice", "\u{1b}[2Jx"]] {
            let words: Vec<OsString> =
                ["sonomark"].iter().chain(words).map(OsString::from).collect();
            let error = Cli::try_parse_from(&words).expect_err("no such thing");
            let told =
                in_plain_words(of_shown(words.into_iter(), error)).render().ansi().to_string();
            assert!(told.contains("\\u{1b}[2Jx") && !told.contains("\u{1b}[2J"), "{told:?}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_told_in_plain_words() {
        for (words, wanted) in [
            ("--series x keys", "--series <NUMBER> is \"x\"; give a whole number from 0 on"),
            ("watch f --settle=y", "--settle <SECONDS> is \"y\"; give a number"),
            ("--slice 99999999999999999999999 keys", "give a smaller number"),
            (
                "train --data a --out b --steps 0",
                "--steps <STEPS> is \"0\"; give a whole number from 1 on",
            ),
            (
                "train --data a --out b --clip-frames 9",
                "--clip-frames <N> is \"9\"; give a whole number from 2 to 8",
            ),
            (
                "evaluate clicks --data a --clicks=-1",
                "--clicks <CLICKS> is \"-1\"; give a whole number from 1 to 20",
            ),
        ] {
            let words = ["sonomark"].into_iter().chain(words.split(' '));
            let error = Cli::try_parse_from(words).expect_err("no number");
            let told = in_plain_words(error).to_string();
            assert!(told.contains(wanted), "{told}");
        }
    }
}

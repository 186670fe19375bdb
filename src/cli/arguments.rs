//! The arguments of this process.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::num::{IntErrorKind, ParseFloatError, ParseIntError};
use std::path::Path;

use clap::Parser;
use clap::error::{ContextKind, ErrorKind};

use super::headless::point;
use super::{Cli, meant_command};
use crate::domain::shown;

/// Reads them. What is wrong ends the process and is told, help and version too.
pub(super) fn read() -> Cli {
    parsed(std::env::args_os())
        .unwrap_or_else(|error| in_plain_words(of_shown(std::env::args_os(), error)).exit())
}

/// The same error, of arguments as they may be shown: it quotes them, and a file's name can be one of them (`sonomark *`).
fn of_shown(arguments: impl Iterator<Item = OsString>, error: clap::Error) -> clap::Error {
    let shown = arguments.map(|argument| OsString::from(shown(&argument.to_string_lossy())));
    parsed(shown).err().unwrap_or(error)
}

fn parsed(words: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let words = with_points_beside(with_their_numbers(words));
    Cli::try_parse_from(&words).map_err(|error| of_meant_command(&words, error))
}

/// Words of `segment` in which a point after `--outside` is one of `--beside`: a file of prompts and the screen's command
/// line call such points so. With any other value the option is the one of all commands.
fn with_points_beside(mut words: Vec<OsString>) -> Vec<OsString> {
    let Some(before) = words.iter().skip(1).position(|word| word == "segment") else {
        return words;
    };
    let is_point = |word: &OsStr| word.to_str().is_some_and(|text| point(text).is_ok());
    let options = words.iter().position(|word| word == "--").unwrap_or(words.len());
    // Before the command it is the one of all commands, whatever its value.
    for at in before + 1..options {
        let value = words[at].to_str().and_then(|word| word.strip_prefix("--outside="));
        if let Some(value) = value.filter(|value| is_point(OsStr::new(value))) {
            words[at] = OsString::from(format!("--beside={value}"));
        } else if words[at] == "--outside" && words.get(at + 1).is_some_and(|next| is_point(next)) {
            words[at] = OsString::from("--beside");
        }
    }
    words
}

/// The same error, or the command that was probably meant where a slip in its name made it a path: its own options are
/// unknown then, and clap proposes others.
fn of_meant_command(words: &[OsString], error: clap::Error) -> clap::Error {
    let first = words.get(1).and_then(|word| word.to_str()).filter(|word| !word.starts_with('-'));
    let meant = first.filter(|word| !Path::new(word).exists()).and_then(|word| {
        let command = meant_command(word).filter(|command| command != word)?;
        Some(format!("there is no {}; did you mean `sonomark {command}`?\n", shown(word)))
    });
    match meant {
        Some(told) if error.kind() == ErrorKind::UnknownArgument => {
            clap::Error::raw(error.kind(), told)
        }
        _ => error,
    }
}

/// Words of which a number below zero stands in one with the option before it (`--settle=-1`): else it would count as an
/// option itself, and nobody would be told what the option takes.
fn with_their_numbers(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut only_paths = false;
    for word in words {
        only_paths |= word == "--";
        match joined.last_mut().filter(|last| !only_paths && is_bare_option(last)) {
            Some(option) if is_below_zero(&word) => {
                option.push("=");
                option.push(word);
            }
            _ => joined.push(word),
        }
    }
    joined
}

/// `--option`, without a value.
fn is_bare_option(word: &OsStr) -> bool {
    let bytes = word.as_encoded_bytes();
    bytes.len() > 2 && bytes.starts_with(b"--") && !bytes.contains(&b'=')
}

/// `-3`, `-.5`, `-3,4`; no option has such a name.
fn is_below_zero(word: &OsStr) -> bool {
    matches!(word.as_encoded_bytes(), [b'-', b'0'..=b'9' | b'.', ..])
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
            (
                "evaluate clicks --data a --clicks -1",
                "--clicks <CLICKS> is \"-1\"; give a whole number from 1 to 20",
            ),
        ] {
            let told = in_plain_words(read_from(words).expect_err("no number")).to_string();
            assert!(told.contains(wanted), "{told}");
        }
    }

    fn read_from(words: &str) -> Result<Cli, clap::Error> {
        parsed(["sonomark"].into_iter().chain(words.split(' ')).map(OsString::from))
    }

    #[test]
    fn numbers_below_zero_belong_to_the_option_before_them() {
        assert!(read_from("watch f --settle -1.5").is_ok(), "what it may be the command says");
        assert!(read_from("segment f --out m.png --inside -3,4").is_ok());
        assert!(read_from("keys -1").is_err(), "without an option it is none's");
        let words = ["--a=1", "-2", "--", "--b", "-3"].map(OsString::from);
        assert_eq!(with_their_numbers(words.clone().into_iter()), words);
    }

    #[test]
    fn points_outside_a_structure_are_given_to_segment_under_either_name() {
        let read = |words: &str| {
            let words = words.split(' ').map(OsString::from).collect();
            with_points_beside(words).join(OsStr::new(" ")).into_string().expect("text")
        };
        assert_eq!(
            read("sonomark segment f --outside 1,2 --outside hide --outside=3,4 -- --outside 5,6"),
            "sonomark segment f --beside 1,2 --outside hide --beside=3,4 -- --outside 5,6"
        );
        for whole in [
            "sonomark doctor --outside 1,2",
            "sonomark segment f --outside box:1,2,3,4",
            "sonomark --outside 1,2 segment f",
        ] {
            assert_eq!(read(whole), whole);
        }
        let words = "--outside hide segment f --out m.png --outside 1,2 3,4 --outside -5,6";
        let read = read_from(words).expect("parses");
        assert_eq!(read.global.outside.as_deref(), Some("hide"), "what hides names stays");
    }

    #[test]
    fn a_mistyped_command_with_options_is_recognised() {
        let told = |words: &str| read_from(words).expect_err("no such option").to_string();
        let slip = told("segmnt a.png --boundary 1,2 --out m.png");
        assert!(slip.contains("there is no segmnt; did you mean `sonomark segment`?"), "{slip}");
        assert!(!slip.contains("--outside"), "{slip}");
        for other in ["clip.mp4 --bogus", "segment --bogus"] {
            assert!(told(other).contains("'--bogus'"), "{other}");
        }
    }
}

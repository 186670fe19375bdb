//! The arguments of this process.

use std::error::Error;
use std::num::{IntErrorKind, ParseFloatError, ParseIntError};

use clap::Parser;
use clap::error::ContextKind;

use super::Cli;

/// Reads them. What is wrong ends the process and is told, help and version too.
pub(super) fn read() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| in_plain_words(error).exit())
}

/// Why a number is none, without the words that the language has for it.
fn in_plain_words(error: clap::Error) -> clap::Error {
    let Some(cause) = error.source() else { return error };
    let wanted = if let Some(cause) = cause.downcast_ref::<ParseIntError>() {
        match cause.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "a smaller number",
            _ => "a whole number from 0 on",
        }
    } else if cause.is::<ParseFloatError>() {
        "a number"
    } else {
        return error;
    };
    let [value, flag] = [ContextKind::InvalidValue, ContextKind::InvalidArg]
        .map(|kind| error.get(kind).map_or_else(String::new, ToString::to_string));
    clap::Error::raw(error.kind(), format!("{flag} is \"{value}\"; give {wanted}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_are_told_in_plain_words() {
        for (words, wanted) in [
            (
                ["--series", "x", "keys"],
                "--series <NUMBER> is \"x\"; give a whole number from 0 on",
            ),
            (["watch", "f", "--settle=y"], "--settle <SECONDS> is \"y\"; give a number"),
            (["--slice", "99999999999999999999999", "keys"], "give a smaller number"),
        ] {
            let words = ["sonomark"].into_iter().chain(words);
            let error = Cli::try_parse_from(words).expect_err("no number");
            let told = in_plain_words(error).to_string();
            assert!(told.contains(wanted), "{told}");
        }
    }
}

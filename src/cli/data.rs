//! `sonomark data`: data sets as manifests.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::domain::{counted, shown};
use crate::learn::data::check::{CheckReport, NearPairs, check};
use crate::learn::data::import::import;
use crate::learn::data::layouts::{LAYOUTS, named};
use crate::learn::data::manifest::Manifest;

use super::{Done, Failure, path_shown, print, print_json, tell};

/// Near-duplicates that are told; up to a thousand are in the JSON.
const LISTED: usize = 20;

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Read a data set as its authors publish it into one manifest for train and evaluate
    Import {
        /// Which set
        #[arg(value_parser = kinds())]
        kind: String,
        /// Where it was unpacked
        path: PathBuf,
        /// Where KIND.yaml goes
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Look at every file of a manifest: hashes, sizes, labels, patients, near-duplicates
    Check {
        /// The manifest
        manifest: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

fn kinds() -> PossibleValuesParser {
    LAYOUTS.iter().map(|layout| PossibleValue::new(layout.kind).help(layout.about)).into()
}

/// Runs it.
pub(super) fn run(options: &Options) -> Done {
    match &options.what {
        What::Import { kind, path, out } => imported(kind, path, out),
        What::Check { manifest, json } => checked(manifest, *json),
    }
}

fn imported(kind: &str, path: &std::path::Path, out: &std::path::Path) -> Done {
    let layout = named(kind).ok_or_else(|| Failure::Input(format!("{kind} is no known set")))?;
    let found = import(layout, path, out).map_err(Failure::input)?;
    for note in &found.notes {
        tell(note);
    }
    if found.without_mask > 0 {
        tell(&format!("{} without a mask left out", counted(found.without_mask, "image")));
    }
    if found.torn > 0 {
        tell(&format!(
            "in two of the authors' splits: {}; each is now in the more careful one",
            counted(found.torn, "patient")
        ));
    }
    tell_near(&found.near);
    print(&found.sentence());
    for refused in &found.refused {
        tell(refused);
    }
    match found.refused.len() {
        0 => Ok(()),
        n => Err(Failure::Some(format!("{} left out that could not be read", counted(n, "item")))),
    }
}

fn checked(path: &std::path::Path, as_json: bool) -> Done {
    let manifest = Manifest::read(path).map_err(Failure::input)?;
    let report: CheckReport = check(&manifest);
    if as_json {
        print_json(
            &json!({ "name": manifest.name, "report": report, "across": report.near.across }),
        );
    } else {
        for (split, count) in &report.splits {
            print(&format!(
                "{split}: {}, {}, {}, {} without a label",
                counted(count.items, "item"),
                counted(count.structures, "structure"),
                counted(count.patients, "patient"),
                count.empty
            ));
        }
    }
    tell_near(&report.near);
    report.faults.iter().for_each(|fault| tell(fault));
    match report.faults.len() {
        0 => Ok(()),
        n => Err(Failure::Input(format!("{} has {}", path_shown(path), counted(n, "fault")))),
    }
}

fn tell_near(near: &NearPairs) {
    if near.count == 0 {
        return;
    }
    tell(&format!(
        "near-duplicates: {}, {} of them across splits",
        counted(near.count, "pair"),
        near.across
    ));
    for pair in near.listed.iter().take(LISTED) {
        let [a, b] = [0, 1].map(|i| format!("{} ({})", shown(&pair.files[i]), pair.splits[i]));
        tell(&format!("  {a} and {b}"));
    }
}

//! `sonomark models import`: a stranger's file of weights, read in a child that may take only so much.
//!
//! What decides whether this file is right: this process never reads a byte of the file; the child has limits on memory
//! and time before it opens it, answers in one line of JSON, and whatever else it does (a signal, a panic, silence) is a
//! refusal that leaves nothing behind; it ends with this process.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::codec::tool::limit;
use crate::config::{Origin, Settings};
use crate::domain::{counted, shown, shown_in_json};
use crate::engine::shipped_card;
use crate::net::cards;
use crate::net::config::{ModelCard, WeightsOrigin};
use crate::net::import::{Converted, convert};
use crate::net::library::{Held, Library, Staged};

use super::{Done, Failure, interrupt_flag, interrupted, path_shown, print, print_json, tell};

/// What the child may take beside twice the size of the file: the program, its tables, the largest tensor.
const CHILD_BYTES: u64 = 1 << 30;
/// CPU time after which the child is ended, s; the largest published file takes some ten.
const CHILD_CPU_S: u64 = 600;

/// Arguments of `models import`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Weights in SAM 2.1's layout: FILE.pt or FILE.safetensors
    file: PathBuf,
    /// Name to give it [default: that of the file]
    #[arg(long)]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of the child.
#[derive(Debug, Args)]
pub(super) struct ChildOptions {
    source: PathBuf,
    out: PathBuf,
}

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Converted(Converted),
    Refused(String),
}

/// Imports a file into `library`.
pub(super) fn run(settings: &Settings, library: &Library, options: &Options) -> Done {
    let card = flagged_card(settings);
    let bytes = file_bytes(&options.file)?;
    let name = match &options.name {
        Some(name) => name.clone(),
        None => name_of(&options.file),
    };
    library.check_vacant(&name).map_err(Failure::input)?;
    // Under its name another network would stand in for it everywhere, masks that say who drew them included.
    if name == shipped_card().map_err(Failure::ours)?.name {
        return Err(Failure::Input(format!(
            "{name} is the shipped network; choose another --name"
        )));
    }
    let wanted = card.map(card_named).transpose()?;
    let cancel = interrupt_flag()?;
    let staged = library.stage().map_err(Failure::input)?;
    let said = ask_child(&options.file, &staged, card, bytes);
    // The terminal tells the child, too.
    if interrupted(&cancel) {
        return Err(Failure::Interrupted("interrupted; nothing was imported".into()));
    }
    let converted = match said? {
        Said::Converted(converted) => converted,
        Said::Refused(why) => return Err(Failure::Input(shown_lines(&why))),
    };
    let guessed = wanted.is_none();
    let card = wanted.or_else(|| cards::known(&converted.card));
    let card = card.ok_or_else(|| Failure::ours("the child named a card that is unknown"))?;
    let file = options.file.file_name().unwrap_or_default().to_string_lossy();
    let (card, left_out) = card_of(card, name, &shown(&file), &converted);
    if left_out {
        tell(&match cards::known(&converted.card) {
            Some(_) => format!(
                "these are not the weights as published for {}: whose licence they have is not known here",
                converted.card
            ),
            None => "the card does not hold the hash of these weights: what it says of how weights were made and what they \
                     score is not taken over"
                .to_owned(),
        });
    }
    let held = library.install(staged, card).map_err(Failure::input)?;
    tell_imported(&held, &converted, options.json);
    if guessed && !options.json {
        let size = held.card.as_ref().map_or(0, |card| card.network.image_size);
        tell(&format!(
            "its input is {size} px; weights that learned at 512 px, as MedSAM2's, want --card {}-512",
            converted.card
        ));
    }
    Ok(())
}

/// The card of weights that were converted from `file`, and whether it leaves something out: what the one that was named
/// says of weights with another hash, or without one, is not known of these.
fn card_of(named: ModelCard, name: String, file: &str, converted: &Converted) -> (ModelCard, bool) {
    let pinned = named.weights.sha256.clone();
    // Where they lie and their hash are said anew in any case.
    let said = WeightsOrigin { file: String::new(), sha256: String::new(), ..named.weights };
    let mut card = ModelCard { name, weights: said.clone(), ..named };
    let (base, scored) = (named.name, !card.scores.is_empty());
    let hashes = [&converted.sha256, &converted.source_sha256];
    if !hashes.iter().any(|hash| hash.eq_ignore_ascii_case(&pinned)) {
        let WeightsOrigin { licence, lineage, .. } = said.clone();
        card.weights = WeightsOrigin { licence, lineage, ..WeightsOrigin::default() };
        card.scores.clear();
        if !pinned.is_empty() {
            // As SPDX says it.
            card.weights.licence = "NOASSERTION".to_owned();
            card.weights.lineage.clear();
            card.description = format!("weights of {file} in the network of {base}");
        }
    }
    let left_out = card.weights != said || card.scores.is_empty() == scored;
    card.weights.sha256 = converted.sha256.clone();
    let origin = format!("{file} (SHA-256 {})", converted.source_sha256);
    card.weights.lineage = match card.weights.lineage.as_str() {
        "" => origin,
        before => format!("{before}; {origin}"),
    };
    (card, left_out)
}

fn tell_imported(held: &Held, converted: &Converted, as_json: bool) {
    if as_json {
        return print_json(&json!({
            "name": held.name,
            "recognised": converted.card,
            "card": path_shown(&held.card_path),
            "weights": path_shown(&held.weights_path),
            "bytes": held.bytes,
            "sha256": converted.sha256,
            "source_sha256": converted.source_sha256,
            "tensors": converted.tensors,
            "parameters": converted.parameters,
        }));
    }
    print(&format!(
        "{}: {} with {}, {:.1} M parameters; use it with --card {}",
        held.name,
        converted.card,
        counted(converted.tensors, "tensor"),
        converted.parameters as f64 / 1e6,
        held.name
    ));
}

/// The child: limits first, then the file. Always one line on stdout.
pub(super) fn run_child(settings: &Settings, options: &ChildOptions) -> Done {
    let bytes = file_bytes(&options.source)?;
    limit(libc::RLIMIT_AS, memory_limit(bytes)).map_err(Failure::ours)?;
    limit(libc::RLIMIT_CPU, CHILD_CPU_S).map_err(Failure::ours)?;
    // SAFETY: the call takes numbers alone.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) };
    let wanted = flagged_card(settings).map(card_named).transpose()?;
    let said = match convert(&options.source, wanted.as_ref(), &options.out) {
        Ok(converted) => Said::Converted(converted),
        Err(error) => Said::Refused(error.to_string()),
    };
    // A name may hold what is never printed as it is.
    print(&shown_in_json(&serde_json::to_string(&said).map_err(Failure::ours)?));
    Ok(())
}

/// The card of the command line; the one of the environment or the configuration file is not meant for this file.
fn flagged_card(settings: &Settings) -> Option<&Path> {
    let flagged = matches!(settings.card.origin, Origin::Flag(_));
    settings.card.value.as_deref().filter(|_| flagged)
}

fn memory_limit(file_bytes: u64) -> u64 {
    CHILD_BYTES.saturating_add(file_bytes.saturating_mul(2))
}

fn ask_child(
    source: &Path,
    staged: &Staged,
    card: Option<&Path>,
    bytes: u64,
) -> Result<Said, Failure> {
    let program = std::env::current_exe().map_err(Failure::ours)?;
    let mut child = Command::new(program);
    child.args(["models", "convert"]);
    if let Some(card) = card {
        child.arg("--card").arg(card);
    }
    child.arg("--").arg(source).arg(staged.path());
    // Its last line is what became of it.
    child.env("RUST_BACKTRACE", "0");
    // Copies that the reader needs are as large as the file: they belong where there is room for the result, and go with it
    // where the reader is ended.
    child.env("TMPDIR", staged.folder());
    let output =
        child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output().map_err(
            |cause| Failure::Ours(format!("cannot start the reader of weights: {cause}")),
        )?;
    let said = serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success());
    said.ok_or_else(|| {
        let told = String::from_utf8_lossy(&output.stderr);
        // A note is advice on backtraces.
        let tells = |line: &&str| !line.trim().is_empty() && !line.starts_with("note:");
        let last = told.lines().rev().find(tells).unwrap_or("no word");
        Failure::Input(format!(
            "{} could not be read within {} MiB and {CHILD_CPU_S} s: the reader {} ({}); nothing was imported",
            path_shown(source),
            memory_limit(bytes) >> 20,
            ending(output.status),
            shown(last.trim())
        ))
    })
}

fn ending(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("was ended by signal {signal}"),
        None => format!("ended with {}", status.code().unwrap_or(-1)),
    }
}

/// Size of a regular file.
fn file_bytes(path: &Path) -> Result<u64, Failure> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(meta.len()),
        Ok(_) => Err(Failure::Input(format!(
            "{} is no file; give FILE.pt or FILE.safetensors",
            path_shown(path)
        ))),
        Err(cause) => Err(Failure::Input(format!(
            "cannot read {}: {cause}; check the path and the rights",
            path_shown(path)
        ))),
    }
}

/// The name of a file without its ending and without what no name may have.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '-' };
    stem.trim_start_matches('.').chars().map(plain).take(64).collect()
}

/// The card of that known name or path.
fn card_named(card: &Path) -> Result<ModelCard, Failure> {
    if let Some(known) = card.to_str().and_then(cards::known) {
        return Ok(known);
    }
    ModelCard::read_file(card).map_err(|error| {
        let known: Vec<&str> = cards::names().collect();
        Failure::Configuration(format!(
            "{}: {error}; --card is the path of a card or one of {}",
            path_shown(card),
            known.join(", ")
        ))
    })
}

/// Lines of a list that a screen still shows with its head.
const SCREENFUL: usize = 30;

/// A sentence of several lines without control characters in any. Below a long list stands again what it is a list of.
fn shown_lines(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(shown).collect();
    if lines.len() > SCREENFUL {
        lines.push(lines[0].trim_end_matches(':').to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::library::check_name;

    #[test]
    fn what_a_long_list_is_of_stands_below_it_too() {
        let list = |n: usize| "it differs:\n".to_owned() + &"a tensor\n".repeat(n);
        assert!(shown_lines(&list(200)).ends_with("a tensor\nit differs"));
        assert!(shown_lines(&list(3)).ends_with("a tensor"));
    }

    #[test]
    fn a_card_says_of_its_weights_what_is_known_of_them() {
        let shipped = crate::engine::shipped_card().expect("a card");
        let [own, other, source] = ["a", "b", "c"].map(|digit| digit.repeat(64));
        let converted = Converted {
            card: shipped.name.clone(),
            sha256: own.clone(),
            source_sha256: source.clone(),
            tensors: 359,
            parameters: 1_900_000,
        };
        let origin = format!("mine.pt (SHA-256 {source})");
        let pinned = |sha256: &str| {
            let mut card = shipped.clone();
            card.weights.sha256 = sha256.to_owned();
            card_of(card, "mine".to_owned(), "mine.pt", &converted)
        };
        for its_own in [own.to_uppercase(), source.clone()] {
            let (card, left_out) = pinned(&its_own);
            assert!(!left_out && card.name == "mine" && card.weights.sha256 == own);
            assert_eq!((&card.scores, card.weights.seed), (&shipped.scores, shipped.weights.seed));
            assert!(card.weights.command == shipped.weights.command);
            assert_eq!(card.weights.lineage, format!("{}; {origin}", shipped.weights.lineage));
        }
        // One with the hash of others tells of the network alone; one without a hash may name a licence.
        let (card, left_out) = pinned(&other);
        assert!(left_out && card.scores.is_empty() && card.network == shipped.network);
        let known = WeightsOrigin {
            sha256: own.clone(),
            licence: "NOASSERTION".to_owned(),
            lineage: origin.clone(),
            ..WeightsOrigin::default()
        };
        assert_eq!(card.weights, known);
        assert!(card.description.contains("mine.pt"), "{}", card.description);
        let (card, left_out) = pinned("");
        assert!(left_out && card.scores.is_empty() && card.weights.command.is_empty());
        assert_eq!(card.weights.licence, shipped.weights.licence);
        // A published card knows the published weights, and of fine-tuned ones no licence.
        let tiny = cards::known("sam2.1-tiny").expect("a card");
        let published =
            Converted { source_sha256: tiny.weights.sha256.clone(), ..converted.clone() };
        let origin = format!("mine.pt (SHA-256 {})", published.source_sha256);
        let (card, left_out) = card_of(tiny.clone(), "mine".to_owned(), "mine.pt", &published);
        assert!(!left_out && card.weights.licence == "Apache-2.0" && card.weights.sha256 == own);
        assert_eq!(card.description, tiny.description);
        assert_eq!(card.weights.lineage, format!("facebookresearch/sam2; {origin}"));
        let (card, left_out) = card_of(tiny, "mine".to_owned(), "mine.pt", &converted);
        assert!(left_out && card.weights == known, "{:?}", card.weights);
    }

    #[test]
    fn a_file_gives_a_name_that_is_allowed() {
        for (file, name) in [
            ("/x/sam2.1_hiera_tiny.pt", "sam2.1-hiera-tiny"),
            ("MedSAM2 latest.pt", "MedSAM2-latest"),
            ("..hidden.safetensors", "hidden"),
        ] {
            assert_eq!(name_of(Path::new(file)), name);
            assert!(check_name(name).is_ok());
        }
        assert!(check_name(&name_of(Path::new("/"))).is_err());
    }
}

//! `sonomark models`: the networks of this machine, and how others come in.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::config::Settings;
use crate::domain::{counted, shown};
use crate::engine::shipped_card;
use crate::net::cards;
use crate::net::config::{Fit, ModelCard};
use crate::net::import::keys_of;
use crate::net::library::{Held, Library, LibraryError};

use super::models_import as import;
use super::{Done, Failure, path_shown, print, print_json, tree};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Take in weights of SAM 2.1's layout; --card names their card where the size alone does not
    Import(import::Options),
    /// List the networks that are here, and the cards of those that could be
    List(Format),
    /// Show everything known of one network or card
    Info(Named),
    /// Compare weights with the hash on their card
    Verify(Chosen),
    /// Take an imported network away
    Remove(Named),
    /// Reads a file of weights within limits (the child of import)
    #[command(hide = true)]
    Convert(import::ChildOptions),
}

#[derive(Debug, Args)]
struct Format {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Named {
    /// Its name
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Chosen {
    /// Their names [default: all]
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    let library = Library::new(settings.models_dir.clone());
    match &options.what {
        What::Import(options) => import::run(settings, &library, options),
        What::List(options) => list(&library, options.json),
        What::Info(options) => info(&library, options),
        What::Verify(options) => verify(&library, options),
        What::Remove(options) => remove(&library, options),
        What::Convert(options) => import::run_child(settings, options),
    }
}

/// What a card says of its prompts.
fn prompts_of(card: &ModelCard) -> &'static str {
    match card.network.prompts.boundary_embedding {
        true => "boundary points understood",
        false => "boundary points bridged by a curve",
    }
}

fn list(library: &Library, as_json: bool) -> Done {
    let shipped = shipped_card().map_err(Failure::ours)?;
    // One that somebody takes away meanwhile is not here any more.
    let held: Vec<Held> =
        library.names().iter().filter_map(|name| library.find(name).ok()).collect();
    if as_json {
        let imported: Vec<Value> = held.iter().map(held_json).collect();
        let known: Vec<&str> = cards::names().collect();
        print_json(&json!({
            "shipped": card_json(&shipped),
            "imported": imported,
            "cards": known,
            "folder": path_shown(library.dir()),
        }));
        return Ok(());
    }
    print(&line(&shipped.name, "shipped", &shipped));
    for each in &held {
        match &each.card {
            Ok(card) if each.bytes.is_some() => print(&line(&each.name, "imported", card)),
            Ok(_) => print(&format!("{:<24} its weights are gone: remove it", each.name)),
            Err(error) => print(&format!("{:<24} {error}", each.name)),
        }
    }
    let is_here = |name: &str| held.iter().any(|each| each.name == name);
    for name in cards::names().filter(|name| !is_here(name)) {
        print(&format!(
            "{name:<24} card without weights: sonomark models import FILE --card {name}"
        ));
    }
    Ok(())
}

fn line(name: &str, what: &str, card: &ModelCard) -> String {
    let size = card.network.image_size;
    format!(
        "{name:<24} {what:<9} {size:>4} px  {}  {}",
        prompts_of(card),
        shown(&card.weights.licence)
    )
}

fn info(library: &Library, options: &Named) -> Done {
    let name = options.name.as_str();
    let shipped = shipped_card().map_err(Failure::ours)?;
    let mut gone = false;
    let (card, place) = match library.find(name) {
        Ok(held) => {
            gone = held.bytes.is_none();
            let place = path_shown(&held.weights_path);
            let card =
                held.card.map_err(|cause| LibraryError::Card { path: held.card_path, cause });
            (card.map_err(Failure::input)?, place)
        }
        Err(_) if name == shipped.name => (shipped, "in the program".to_owned()),
        Err(absent) => match cards::known(name) {
            Some(card) => (card, "not here; import weights for it".to_owned()),
            None => return Err(Failure::input(absent)),
        },
    };
    let keys = keys_of(&card.network);
    let parameters: usize = keys.values().map(|shape| shape.iter().product::<usize>()).sum();
    if options.json {
        let mut value = card_json(&card);
        value["weights"] = json!(place);
        value["tensors"] = json!(keys.len());
        value["parameters"] = json!(parameters);
        value["card"] = serde_json::to_value(&card).map_err(Failure::ours)?;
        print_json(&value);
        return Ok(());
    }
    let fit = match card.preprocess.fit {
        Fit::Letterbox => "aspect ratio kept",
        Fit::Stretch => "stretched to the square",
    };
    let size = card.network.image_size;
    print(&format!("{}: {}", shown(&card.name), shown(&card.description)));
    print(&format!("input     {size} x {size} px, {fit}"));
    print(&format!(
        "size      {}, {:.1} M parameters",
        counted(keys.len(), "tensor"),
        parameters as f64 / 1e6
    ));
    print(&format!("prompts   {}", prompts_of(&card)));
    let fault = if gone { "; gone: remove this network and import it again" } else { "" };
    print(&format!("weights   {place}{fault}"));
    if !card.weights.sha256.is_empty() {
        print(&format!("SHA-256   {}", card.weights.sha256));
    }
    print(&format!("licence   {}", shown(&card.weights.licence)));
    print(&format!("lineage   {}", shown(&card.weights.lineage)));
    if !card.scores.is_empty() {
        let scores = serde_json::to_value(&card.scores).map_err(Failure::ours)?;
        tree::lines("scores", &scores).iter().for_each(|line| print(&shown(line)));
    }
    Ok(())
}

fn verify(library: &Library, options: &Chosen) -> Done {
    let names = match options.names.is_empty() {
        true => library.names(),
        false => options.names.clone(),
    };
    if names.is_empty() && !options.json {
        print("no network was imported yet");
    }
    let mut rows = Vec::new();
    for name in &names {
        let found = library.find(name).and_then(|held| held.verify());
        let why = found.err().map(|error| error.to_string());
        if !options.json {
            print(&format!("{name:<24} {}", why.as_deref().unwrap_or("as imported")));
        }
        rows.push(json!({ "name": name, "ok": why.is_none(), "why": why }));
    }
    let bad = rows.iter().filter(|row| row["ok"] == json!(false)).count();
    if options.json {
        print_json(&Value::Array(rows));
    }
    match bad {
        0 => Ok(()),
        _ => Err(Failure::Some(format!(
            "{bad} of {} not as imported; remove what is not and import it again",
            counted(names.len(), "network")
        ))),
    }
}

fn remove(library: &Library, options: &Named) -> Done {
    let held = library.remove(&options.name).map_err(Failure::input)?;
    if options.json {
        print_json(&json!({ "removed": held.name, "bytes": held.bytes }));
    } else {
        print(&format!("{}: removed, {} MiB", held.name, held.bytes.unwrap_or(0) >> 20));
    }
    Ok(())
}

fn held_json(held: &Held) -> Value {
    let mut value = match &held.card {
        Ok(card) => card_json(card),
        Err(error) => json!({ "faults": error.faults }),
    };
    value["name"] = json!(held.name);
    value["card"] = json!(path_shown(&held.card_path));
    value["weights"] = json!(path_shown(&held.weights_path));
    value["bytes"] = json!(held.bytes);
    value
}

fn card_json(card: &ModelCard) -> Value {
    json!({
        "name": card.name,
        "image_size": card.network.image_size,
        "boundary": card.network.prompts.boundary_embedding,
        "licence": card.weights.licence,
        "sha256": card.weights.sha256,
    })
}

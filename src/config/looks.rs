//! Named looks, chosen by what a clip shows: `looks:` in `config.yaml`.
//!
//! ```yaml
//! look: auto                  # or a name: this one for every clip
//! looks:
//!   vessel: {gamma: 0.7}      # the rest of it stays as shipped
//!   mine: {gain: 1.3, level: -8, gamma: 0.9, automatic: true, clahe: false, colour: true, for: [tendon, volume]}
//! ```
//!
//! `for` names labels (of the clip's structures or of the schema), kinds of clips (still, cine,
//! volume) or words of the format (US). A look changes what is shown and nothing else.

use super::yaml::{Entries, Faults, Kind, Node};
use crate::domain::{ClipInfo, ClipKind, PictureLook, nearest_word, shown};

/// What `look` says when the clip decides.
pub const AUTOMATIC: &str = "auto";
/// The name of the look that changes nothing.
pub const RAW: &str = "raw";

/// A look with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// For people.
    pub name: String,
    /// What it does.
    pub look: PictureLook,
    /// Words of the clips that it is for, in lower case.
    pub of: Vec<String>,
}

/// The shipped looks. They are starting points by eye, not measured: dark lumens stay dark in
/// `vessel`, faint texture comes out in `nerve`, the middle of the range in `breast`.
#[must_use]
pub fn shipped() -> Vec<Preset> {
    let raw = PictureLook::default();
    let automatic = PictureLook { automatic: true, ..raw };
    let all: [(&str, PictureLook, &[&str]); 5] = [
        (RAW, raw, &[]),
        (
            "vessel",
            PictureLook { gamma: 0.8, ..automatic },
            &["vessel", "artery", "vein", "carotid", "aorta", "lumen", "plaque"],
        ),
        (
            "nerve",
            PictureLook { clahe: true, ..automatic },
            &["nerve", "nerves", "plexus", "fascicle", "muscle"],
        ),
        (
            "breast",
            PictureLook { gamma: 1.2, ..automatic },
            &["breast", "lesion", "tumor", "tumour", "benign", "malignant", "mass", "cyst"],
        ),
        (
            "heart",
            PictureLook { gain: 1.15, gamma: 0.9, ..automatic },
            &["heart", "ventricle", "atrium", "lv", "la", "endocardium", "myocardium"],
        ),
    ];
    let of = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    all.into_iter()
        .map(|(name, look, words)| Preset { name: name.to_owned(), look, of: of(words) })
        .collect()
}

/// The shipped looks with those of `node` laid over them leaf by leaf.
pub(super) fn read(node: &Node, faults: &mut Faults) -> Vec<Preset> {
    let mut all = shipped();
    let Kind::Map(entries) = &node.kind else {
        faults.add(node.line, "`looks` must be a mapping of names to looks");
        return all;
    };
    for (i, (name, node)) in entries.iter().enumerate() {
        let letters = name.chars().count();
        if !(1..=40).contains(&letters) || name.chars().any(char::is_whitespace) {
            faults.add(node.line, format!("`{}` is no name of a look: one word", shown(name)));
            continue;
        }
        if name == RAW || name == AUTOMATIC || entries[..i].iter().any(|(known, _)| known == name) {
            let why = if name == RAW || name == AUTOMATIC {
                "has a meaning already; take another name"
            } else {
                "is set twice"
            };
            faults.add(node.line, format!("`looks.{}` {why}", shown(name)));
            continue;
        }
        let at = all.iter().position(|each| each.name == *name).unwrap_or_else(|| {
            let look = PictureLook::default();
            all.push(Preset { name: name.clone(), look, of: Vec::new() });
            all.len() - 1
        });
        fill(&mut all[at], node, faults);
    }
    all
}

fn fill(preset: &mut Preset, node: &Node, faults: &mut Faults) {
    const KNOWN: &[&str] = &["gain", "level", "gamma", "automatic", "clahe", "colour", "for"];
    let path = format!("looks.{}", shown(&preset.name));
    let Some(entries) = Entries::of(node, &path, KNOWN, faults) else { return };
    let look = &mut preset.look;
    number(&entries, "gain", &mut look.gain, faults);
    number(&entries, "level", &mut look.level, faults);
    number(&entries, "gamma", &mut look.gamma, faults);
    flag(&entries, "automatic", &mut look.automatic, faults);
    flag(&entries, "clahe", &mut look.clahe, faults);
    flag(&entries, "colour", &mut look.colour, faults);
    if entries.get("for").is_some() {
        let words = entries.list("for", faults);
        preset.of = words
            .into_iter()
            .filter_map(|(path, node)| {
                let word = node.kind.word().map(|word| word.to_lowercase());
                if word.is_none() {
                    faults.add(node.line, format!("`{path}` must be a word"));
                }
                word
            })
            .collect();
    }
    let limited = look.limited();
    if limited != *look {
        let what =
            "gain lies between 0.25 and 32, level between -255 and 255, gamma between 0.2 and 5";
        faults.add(node.line, format!("`{path}`: {what}"));
    }
}

fn number(entries: &Entries<'_>, key: &str, into: &mut f32, faults: &mut Faults) {
    match entries.get(key) {
        Some((_, Node { kind: Kind::Number(value, _), .. })) => *into = *value as f32,
        Some((path, node)) => {
            let what = format!("`{path}` must be a number, it is {}", node.kind.name());
            faults.add(node.line, what);
        }
        None => {}
    }
}

fn flag(entries: &Entries<'_>, key: &str, into: &mut bool, faults: &mut Faults) {
    let Some((path, node)) = entries.get(key) else { return };
    match node.kind.word().as_deref() {
        Some("true" | "on") => *into = true,
        Some("false" | "off") => *into = false,
        _ => faults.add(node.line, format!("`{path}` must be true or false")),
    }
}

/// What is wrong with `look: NAME`, if anything.
pub(super) fn name_fault(name: &str, all: &[Preset]) -> Option<String> {
    if name == AUTOMATIC || all.iter().any(|each| each.name == name) {
        return None;
    }
    Some(no_such(name, all))
}

/// The sentence for a look that is not there.
#[must_use]
pub fn no_such(name: &str, all: &[Preset]) -> String {
    let names: Vec<&str> = all.iter().map(|each| each.name.as_str()).collect();
    let meant = nearest_word(name, names.iter().copied())
        .map_or(String::new(), |near| format!(", did you mean {}?", shown(near)));
    format!("no look is called `{}`; there are {}{meant}", shown(name), shown(&names.join(", ")))
}

/// The look for a clip: the first whose words fit, of its `labels` first, in their order, then of
/// its kind and format; else raw.
#[must_use]
pub fn fitting<'a>(
    all: &'a [Preset],
    labels: impl Iterator<Item = &'a str>,
    clip: &ClipInfo,
) -> Option<&'a Preset> {
    let kind = match clip.kind {
        ClipKind::Still => "still",
        ClipKind::Cine => "cine",
        ClipKind::Volume => "volume",
    };
    let texts = labels.map(str::to_lowercase).chain([kind.to_owned(), clip.format.to_lowercase()]);
    let mut found = None;
    for text in texts {
        let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
        let fits = |each: &&Preset| {
            each.of.iter().any(|word| *word == text || words.contains(&word.as_str()))
        };
        found = found.or_else(|| all.iter().find(fits));
    }
    found.or_else(|| all.iter().find(|each| each.name == RAW))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::parse;
    use crate::domain::ContentHash;

    fn clip(kind: ClipKind) -> ClipInfo {
        ClipInfo {
            name: "nerve.png".into(),
            format: "DICOM US, JPEG baseline".into(),
            ..ClipInfo::new(ContentHash(String::new()), kind, (1, 1), 1)
        }
    }

    #[test]
    fn labels_choose_before_kind_and_format_and_a_persons_file_goes_over_the_shipped() {
        let text = "vessel: {gamma: 0.5}\nmine: {gain: 1.5, clahe: on, for: [volume, US]}\n";
        let mut faults = Faults::new("c");
        let all = read(&parse("c", text).expect("yaml"), &mut faults);
        assert!(faults.list.is_empty(), "{faults}");
        let of = |labels: &[&'static str], kind| {
            fitting(&all, labels.iter().copied(), &clip(kind)).map(|each| each.name.clone())
        };
        assert_eq!(of(&["ring", "left Vagus Nerve"], ClipKind::Cine), Some("nerve".into()));
        assert_eq!(of(&["vessel", "nerve"], ClipKind::Cine), Some("vessel".into()));
        assert_eq!(of(&["ring"], ClipKind::Volume), Some("mine".into()));
        assert_eq!(of(&[], ClipKind::Still), Some("mine".into()), "by the format");
        let vessel = &all.iter().find(|each| each.name == "vessel").expect("shipped");
        assert!(vessel.look.gamma == 0.5 && vessel.look.automatic, "the rest stays");
        let raw = fitting(&shipped(), [].into_iter(), &clip(ClipKind::Cine)).map(|p| p.look);
        assert_eq!(raw, Some(PictureLook::default()));
    }

    #[test]
    fn all_faults_are_told() {
        let text = "vessel: {gama: 1}\nx: {gain: 99}\nraw: {gain: 2}\nq: {clahe: 3, level: a}\n\"a b\": {}\n";
        let mut faults = Faults::new("c");
        read(&parse("c", text).expect("yaml"), &mut faults);
        let told = faults.to_string();
        for part in [
            "`looks.vessel.gama` is unknown; did you mean `gamma`?",
            "line 2: `looks.x`: gain lies between",
            "`looks.raw` has a meaning already",
            "`looks.q.clahe` must be true or false",
            "`looks.q.level` must be a number",
            "`a b` is no name of a look",
        ] {
            assert!(told.contains(part), "{part} is missing in\n{told}");
        }
    }
}

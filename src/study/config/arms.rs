//! The arms of a study: what answers points on stills, and what propagates through clips.
//!
//! What decides whether this file is right: a key that means nothing for an arm is a fault, not ignored.

use super::{Arm, ArmKind, ClipArm, ClipArmKind, NetworkSource, Reader};
use crate::config::yaml::{Entries, Node, listed};
use crate::learn::baselines::Baseline;
use crate::learn::evaluate::Placing;
use crate::learn::evaluate_video::ClipBaseline;
use crate::learn::loss::{BoundaryTerm, ClickMass};

const ARM: [&str; 13] = [
    "name",
    "prompt",
    "train",
    "card",
    "trained_on",
    "cards",
    "baseline",
    "contour_step",
    "curve",
    "closer_look",
    "boundary_loss",
    "lambda",
    "click_mass",
];
/// Keys that say how an arm learns.
const LEARNING: [&str; 3] = ["boundary_loss", "lambda", "click_mass"];
/// How the clicks of Eq. 1 weigh: together 1, or each 1.
const MASSES: [&str; 2] = ["unit", "each"];
const CLIP_ARM: [&str; 7] = ["name", "prompt", "train", "card", "baseline", "windows", "motion"];
const CARD: [&str; 2] = ["card", "trained_on"];

impl Reader<'_> {
    pub(super) fn arm(&mut self, path: &str, node: &Node) -> Option<Arm> {
        let entries = Entries::of(node, path, &ARM, &mut self.faults)?;
        let name = self.needed(&entries, path, "name");
        let from = self.one_of(path, node, &entries, &["train", "card", "cards", "baseline"])?;
        for (path, node) in
            LEARNING.iter().filter(|_| from != "train").filter_map(|key| entries.get(key))
        {
            self.fault(node, &path, "says how an arm learns; it belongs beside `train: true`");
        }
        let kind = match from {
            "baseline" => {
                for key in ["prompt", "trained_on", "contour_step", "curve", "closer_look"] {
                    if let Some((path, node)) = entries.get(key) {
                        self.fault(node, &path, "means nothing for a baseline; leave it out");
                    }
                }
                let (word, line) = entries.text("baseline", &mut self.faults)?;
                let found = Baseline::named(word);
                if found.is_none() {
                    self.choice(line, &format!("{path}.baseline"), word, &Baseline::NAMES);
                }
                ArmKind::Baseline(found?)
            }
            from => {
                let source = self.network(path, &entries, from);
                let placing = self.placing(path, &entries);
                let boundary = placing != Some(Placing::Region);
                for key in ["contour_step", "curve"].into_iter().chain(LEARNING) {
                    if let (false, Some((path, node))) = (boundary, entries.get(key)) {
                        self.fault(
                            node,
                            &path,
                            "needs boundary points; region points are not on the contour",
                        );
                    }
                }
                let contour_step = self.flag(&entries, "contour_step", boundary);
                let curve = self.flag(&entries, "curve", boundary);
                let closer_look = self.flag(&entries, "closer_look", true);
                let (placing, source) = (placing?, source?);
                ArmKind::Network { placing, contour_step, curve, closer_look, source }
            }
        };
        Some(Arm { name: name?, kind })
    }

    fn placing(&mut self, path: &str, entries: &Entries<'_>) -> Option<Placing> {
        let word = self.needed(entries, path, "prompt")?;
        match word.as_str() {
            "boundary" => Some(Placing::Boundary),
            "region" => Some(Placing::Region),
            other => {
                let line = entries.get("prompt").map_or(0, |(_, node)| node.line);
                self.choice(line, &format!("{path}.prompt"), other, &["boundary", "region"]);
                None
            }
        }
    }

    fn network(&mut self, path: &str, entries: &Entries<'_>, from: &str) -> Option<NetworkSource> {
        if let (true, Some((path, node))) = (from != "card", entries.get("trained_on")) {
            self.fault(node, &path, "belongs beside `card`");
        }
        match from {
            "train" => {
                if !self.flag(entries, "train", true) {
                    self.faults
                        .add(entries.line(), format!("`{path}.train` is false; give a `card`"));
                }
                Some(NetworkSource::Trained(self.boundary_term(path, entries)))
            }
            "card" => Some(NetworkSource::Cards(vec![self.known_card(path, entries)?])),
            _ => {
                let mut cards = Vec::new();
                for (path, node) in entries.list("cards", &mut self.faults) {
                    let entries = Entries::of(node, &path, &CARD, &mut self.faults);
                    cards.extend(entries.and_then(|e| self.known_card(&path, &e)));
                }
                if cards.is_empty() {
                    self.faults.add(entries.line(), format!("`{path}.cards` is empty"));
                }
                Some(NetworkSource::Cards(cards))
            }
        }
    }

    /// Eq. 1 as an arm learns with it.
    fn boundary_term(&mut self, path: &str, entries: &Entries<'_>) -> BoundaryTerm {
        let mut term = BoundaryTerm::default();
        if let Some((word, line)) = entries.text("boundary_loss", &mut self.faults) {
            match BoundaryTerm::named(word) {
                Some(named) => term = named,
                None => {
                    let path = format!("{path}.boundary_loss");
                    self.choice(line, &path, word, &BoundaryTerm::NAMES);
                }
            }
        }
        term.lambda = self.number(entries, "lambda", term.lambda, (0.0, 1e3), false);
        if let Some((word, line)) = entries.text("click_mass", &mut self.faults) {
            match word {
                "unit" => term.mass = ClickMass::Unit,
                "each" => term.mass = ClickMass::Amp1,
                _ => self.choice(line, &format!("{path}.click_mass"), word, &MASSES),
            }
        }
        term
    }

    /// A card and the sets that its network was trained on; all of them when nothing is said.
    fn known_card(&mut self, path: &str, entries: &Entries<'_>) -> Option<(String, Vec<usize>)> {
        let card = self.needed(entries, path, "card")?;
        if entries.get("trained_on").is_none() {
            return Some((self.card(&card), (0..self.sets.len()).collect()));
        }
        let mut sets = Vec::new();
        for (path, node) in entries.list("trained_on", &mut self.faults) {
            let word = node.kind.word().unwrap_or_default();
            match self.sets.iter().position(|set| *set == word) {
                Some(at) => sets.push(at),
                None => {
                    let names = self.sets.clone();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    self.choice(node.line, &path, &word, &names);
                }
            }
        }
        Some((self.card(&card), sets))
    }

    /// The two arms of the paper's claims: as written, or the first of each kind.
    pub(super) fn compare(&mut self, top: &Entries<'_>, arms: &[Arm]) -> Option<[usize; 2]> {
        if top.get("compare").is_none() {
            let first = |wanted: Placing| {
                arms.iter().position(
                    |a| matches!(&a.kind, ArmKind::Network { placing, .. } if *placing == wanted),
                )
            };
            return Some([first(Placing::Boundary)?, first(Placing::Region)?]);
        }
        let mut found = Vec::new();
        for (path, node) in top.list("compare", &mut self.faults) {
            let word = node.kind.word().unwrap_or_default();
            match arms.iter().position(|a| a.name == word) {
                Some(at) => found.push(at),
                None => {
                    let names: Vec<&str> = arms.iter().map(|a| a.name.as_str()).collect();
                    self.choice(node.line, &path, &word, &names);
                }
            }
        }
        let two = <[usize; 2]>::try_from(found).ok();
        if two.is_none() {
            let line = top.get("compare").map_or(0, |(_, node)| node.line);
            self.faults.add(
                line,
                "`compare` must name two arms: [with boundary points, with region points]",
            );
        }
        two
    }

    /// The arms on clips; there must be some where there are clips, and none without.
    pub(super) fn clip_arms(&mut self, top: &Entries<'_>) -> Vec<ClipArm> {
        let mut arms: Vec<ClipArm> = Vec::new();
        for (path, node) in top.list("clip_arms", &mut self.faults) {
            let Some(arm) = self.clip_arm(&path, node) else { continue };
            if arms.iter().any(|a| a.name == arm.name) {
                self.fault(node, &format!("{path}.name"), "is used twice");
            }
            arms.push(arm);
        }
        for [key, other] in [["clips", "clip_arms"], ["clip_arms", "clips"]] {
            if top.get(key).is_none() && top.get(other).is_some() {
                self.faults.add(top.line(), format!("`{key}` is missing, `{other}` needs it"));
            }
        }
        arms
    }

    fn clip_arm(&mut self, path: &str, node: &Node) -> Option<ClipArm> {
        let entries = Entries::of(node, path, &CLIP_ARM, &mut self.faults)?;
        let name = self.needed(&entries, path, "name");
        let from = self.one_of(path, node, &entries, &["train", "card", "baseline"])?;
        if from == "baseline" {
            for key in ["prompt", "windows", "motion"] {
                if let Some((path, node)) = entries.get(key) {
                    self.fault(node, &path, "means nothing for a baseline; leave it out");
                }
            }
            let (word, line) = entries.text("baseline", &mut self.faults)?;
            let found = ClipBaseline::named(word);
            if found.is_none() {
                self.choice(line, &format!("{path}.baseline"), word, &ClipBaseline::NAMES);
            }
            return Some(ClipArm { name: name?, kind: ClipArmKind::Baseline(found?) });
        }
        if from == "train" && !self.flag(&entries, "train", true) {
            self.faults.add(entries.line(), format!("`{path}.train` is false; give a `card`"));
        }
        let card = entries.text("card", &mut self.faults).map(|(card, _)| self.card(card));
        let placing = self.placing(path, &entries);
        let windows = self.flag(&entries, "windows", true);
        let motion = self.flag(&entries, "motion", true);
        Some(ClipArm {
            name: name?,
            kind: ClipArmKind::Network { placing: placing?, windows, motion, card },
        })
    }

    /// The one key of `keys` that is given.
    fn one_of(
        &mut self,
        path: &str,
        node: &Node,
        entries: &Entries<'_>,
        keys: &[&'static str],
    ) -> Option<&'static str> {
        let given: Vec<&'static str> =
            keys.iter().copied().filter(|k| entries.get(k).is_some()).collect();
        if let [one] = given[..] {
            return Some(one);
        }
        self.fault(node, path, &format!("needs exactly one of {}", listed(keys)));
        None
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{ArmKind, NetworkSource, from_text};
    use crate::learn::loss::{BoundaryTerm, ClickMass, Reading};

    #[test]
    fn arms_learn_with_the_form_of_eq_1_that_they_name() {
        let text = "data: [{name: a, train: a, test: b}]\narms:\n  - {name: plain, prompt: boundary, train: true}\n  - {name: \
                    printed, prompt: boundary, train: true, boundary_loss: literal, lambda: 5, click_mass: each}\n  - {name: \
                    none, prompt: boundary, train: true, boundary_loss: off}\n";
        let study = from_text("s.yaml", text, Path::new("/")).expect("no fault");
        let terms: Vec<BoundaryTerm> = study
            .arms
            .iter()
            .map(|arm| match arm.kind {
                ArmKind::Network { source: NetworkSource::Trained(term), .. } => term,
                ref other => panic!("{other:?}"),
            })
            .collect();
        let printed =
            BoundaryTerm { reading: Reading::Literal, mass: ClickMass::Amp1, lambda: 5.0 };
        assert_eq!(terms[..2], [BoundaryTerm::default(), printed]);
        assert_eq!(terms[2].lambda, 0.0);
        let names: Vec<&str> = terms.iter().map(BoundaryTerm::name).collect();
        assert_eq!(names, ["ridge", "literal", "off"]);
    }
}

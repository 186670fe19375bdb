//! The video protocol of a simulated study (Table 5 and Figure 3 of the paper): five points on the first frame,
//! propagation, a correction where IoU first falls below .75, up to seven times.
//!
//! What decides whether this file is right: all arms meet the same structures with the same seed; frames that were
//! prompted do not count; a clip is one piece of evidence however many structures it holds.

mod known;
pub(super) mod report;

use serde_json::json;

use super::StudyError;
use super::config::{ClipArm, ClipArmKind, StudyConfig};
use super::networks::Network;
use super::simulate::{Outcome, Run, edition};
use super::stats::{Interval, Tested, bootstrap, compared, mean};
use crate::domain::{counted, shown};
use crate::engine::load_network;
use crate::export::write_atomic;
use crate::learn::dataset::LabelledClips;
use crate::learn::evaluate::Placing;
use crate::learn::evaluate_video::{
    ClipBaseline, ClipJudged, ClipTrace, Tracking, VideoOptions, trace_clips,
};
use crate::learn::loss::BoundaryTerm;
use crate::net::follow::FollowOptions;
use known::Glance;

/// Changes whenever the same clips would be followed otherwise by the same network; 2: patches at the edges of a frame are
/// registered with the last pixels repeated.
const FOLLOWING: u32 = 2;

/// What an arm did on a set of clips.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipCell {
    /// Which of the arms on clips.
    pub arm: usize,
    /// Which set of clips.
    pub set: usize,
    /// What propagated, for people.
    pub network: String,
    /// Every structure, in the order of the set.
    pub traces: Vec<ClipTrace>,
}

impl ClipCell {
    /// The values of the structures, clip by clip.
    fn per_clip(&self, of: impl Fn(&ClipTrace) -> f64) -> Vec<Vec<f64>> {
        let clips = self.traces.chunk_by(|a, b| a.clip == b.clip);
        clips.map(|structures| structures.iter().map(&of).collect()).collect()
    }

    /// How many clips there are.
    #[must_use]
    pub fn clips(&self) -> usize {
        self.traces.chunk_by(|a, b| a.clip == b.clip).count()
    }

    /// Mean over the structures.
    #[must_use]
    pub fn mean(&self, of: impl Fn(&ClipTrace) -> f64) -> f64 {
        mean(&self.traces.iter().map(of).collect::<Vec<_>>())
    }

    /// Mean over the structures with its interval, for which clips are drawn: the structures of one move together.
    #[must_use]
    pub fn interval(&self, config: &StudyConfig, of: impl Fn(&ClipTrace) -> f64) -> Interval {
        bootstrap(&[self.per_clip(of)], config.bootstrap, config.seed)
    }
}

/// Mean IoU of a structure over its propagations, the figure of Table 5.
#[must_use]
pub fn mean_iou(trace: &ClipTrace) -> f64 {
    mean(&trace.rounds.iter().map(|s| s.iou).collect::<Vec<_>>())
}

/// One arm against another on a set of clips, IoU over all propagations: the mean difference of the structures, and
/// Wilcoxon's test of the means of the clips.
#[must_use]
pub fn against(config: &StudyConfig, a: &ClipCell, b: &ClipCell) -> (Interval, Option<Tested>) {
    let [a, b] = [a, b].map(|cell| [cell.per_clip(mean_iou)]);
    compared(&a, &b, config.bootstrap, config.seed)
}

/// What an arm propagates with.
enum Means {
    Network(Network),
    Baseline(ClipBaseline),
}

impl Run<'_> {
    /// Every arm on every set of clips, the hashes of the sets, and what of them arms have learned.
    pub(super) fn clips(&mut self, outcome: &mut Outcome) -> Result<(), StudyError> {
        for set in 0..self.config.clips.len() {
            let of = &self.config.clips[set];
            let (stills, mut glances) = (self.learned_for_clips()?, Vec::new());
            let clips = LabelledClips::open(&of.path, &of.veil, &mut |clip| {
                if !stills.is_empty() {
                    glances.push(Glance::of(clip));
                }
            })?;
            outcome.clip_notes.extend(known::sentence(&of.name, &glances, &stills));
            for arm in 0..self.config.clip_arms.len() {
                outcome.clips.push(self.clip_arm(arm, set, &clips)?);
            }
            outcome.clip_hashes.push(clips.sha256().to_owned());
        }
        Ok(())
    }

    /// The stills that arms on clips learn from; none where no such arm learns.
    fn learned_for_clips(&mut self) -> Result<Vec<(String, u64)>, StudyError> {
        let learns = |arm: &ClipArm| matches!(arm.kind, ClipArmKind::Network { card: None, .. });
        if !self.config.clip_arms.iter().any(learns) {
            return Ok(Vec::new());
        }
        Ok(self.learned()?.iter().flat_map(|set| set.stills.clone()).collect())
    }

    fn clip_arm(
        &mut self,
        arm: usize,
        set: usize,
        clips: &LabelledClips,
    ) -> Result<ClipCell, StudyError> {
        let c = self.config;
        let mut options = VideoOptions::new(&c.clips[set].path);
        (options.noise_px, options.seed, options.limit) = (c.noise_px, c.seed, c.limit);
        let kind = &c.clip_arms[arm].kind;
        let means = match kind {
            ClipArmKind::Baseline(baseline) => Means::Baseline(*baseline),
            ClipArmKind::Network { placing, windows, motion, card } => {
                (options.placing, options.windowed) = (*placing, *windows);
                options.follow = FollowOptions { motion: *motion, ..FollowOptions::default() };
                Means::Network(match card {
                    Some(card) => self.named(card)?,
                    None => self.trained(
                        *placing,
                        BoundaryTerm::default(),
                        &(0..c.data.len()).collect::<Vec<_>>(),
                    )?,
                })
            }
        };
        let (identity, name) = match &means {
            Means::Network(network) => (network.identity.clone(), network.name.clone()),
            Means::Baseline(baseline) => (format!("{baseline:?}"), "none".into()),
        };
        let key = self.keeping(&json!({
            "edition": edition(options.placing), "following": FOLLOWING,
            "version": env!("CARGO_PKG_VERSION"), "clips": clips.sha256(),
            "about": identity, "region": options.placing == Placing::Region,
            "windows": options.windowed, "motion": options.follow.motion,
            "correction": options.follow.correction, "noise": c.noise_px, "seed": c.seed,
            "limit": c.limit,
        }));
        if let Some(traces) = self.kept(&key) {
            return Ok(ClipCell { arm, set, network: name, traces });
        }
        let what = format!("{} on {}", shown(&c.clip_arms[arm].name), shown(&c.clips[set].name));
        let whole = clips.structures().min(c.limit.unwrap_or(usize::MAX));
        let (tell, cancel) = (&mut *self.tell, self.cancel);
        let mut done =
            |count: usize| tell(&format!("{what}: {count} of {}", counted(whole, "structure")));
        let traces = match means {
            Means::Network(network) => {
                let (card, sam) = load_network(network.card.as_deref(), self.place.picked)?;
                let device = &self.place.picked.device;
                let tracking = Tracking { sam: &sam, preprocess: &card.preprocess, device };
                let judged = ClipJudged::Network(tracking);
                trace_clips(&judged, clips, &options, cancel, &mut done)?
            }
            Means::Baseline(baseline) => {
                trace_clips(&ClipJudged::Baseline(baseline), clips, &options, cancel, &mut done)?
            }
        };
        let text = serde_json::to_vec(&traces).map_err(|e| StudyError::io(&key, e))?;
        write_atomic(&key, &text)?;
        Ok(ClipCell { arm, set, network: name, traces })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::learn::evaluate::Score;
    use crate::study::config::from_text;

    #[test]
    fn structures_of_one_clip_are_one_piece_of_evidence() {
        let text =
            "data: [{name: a, test: x}]\narms: [{name: s, baseline: spline}]\nbootstrap: 500\n";
        let config = from_text("t", text, Path::new("/")).expect("no fault");
        let cell = |each: usize, up: f64| {
            let trace = |i: usize| ClipTrace {
                clip: (i / each).to_string(),
                rounds: vec![Score { iou: 0.5 + up * (1 + i / each) as f64, dice: 0.0 }],
                ..ClipTrace::default()
            };
            let traces = (0..3 * each).map(trace).collect();
            ClipCell { arm: 0, set: 0, network: String::new(), traces }
        };
        let found = [1, 2].map(|each| against(&config, &cell(each, 0.1), &cell(each, 0.0)));
        // Three clips, all in favour, whether a clip holds one structure or two: 2 of 8 assignments of signs.
        assert_eq!(found[1].1.map(|t| (t.pairs, t.p)), Some((3, 0.25)));
        assert!((found[1].0.mean - 0.2).abs() < 1e-12 && found[0].0.range == found[1].0.range);
        assert_eq!(cell(2, 0.0).clips(), 3);
        // One clip is no evidence of how clips differ.
        let one = ClipCell { traces: cell(2, 0.1).traces[..2].to_vec(), ..cell(2, 0.1) };
        assert_eq!(one.interval(&config, mean_iou).range, None);
    }
}

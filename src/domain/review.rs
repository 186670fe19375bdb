//! Which frames of a track deserve a look: disagreement, score, jumps of area, speed of contour.
//!
//! Each sign is turned into a doubt between 0 and 1; the largest counts. All from masks as runs,
//! so that a clip of thousands of frames is judged at once; afterwards only what changes is judged
//! again.
//! What decides whether this file is right: what a person decided is never doubted, and judging again what changed finds
//! what judging everything would.

use std::collections::{BTreeMap, BTreeSet};

use super::{FrameIndex, Mask, MaskSource, Track};

/// From this doubt on a frame is flagged for the person.
pub const FLAGGED: f32 = 0.5;
/// IoU of two passes at which the doubt is one half: what annotators agree to among themselves.
const AGREEMENT_HALF: f32 = 0.75;
/// Score at which the doubt is one half.
const SCORE_HALF: f32 = 0.6;
/// Change of area from frame to frame, as a share, and move of the contour, as a share of the
/// structure's radius, at which the doubt is one half, when the clip is otherwise at rest.
const JUMP_HALF: f32 = 0.15;
const SPEED_HALF: f32 = 0.15;
/// And at least so many times what is usual in this clip.
const TIMES_USUAL: f32 = 3.0;

/// What speaks against the mask of one frame, each 0 (nothing) to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Doubt {
    /// The passes from the anchors before and behind disagree.
    pub disagreement: f32,
    /// The network itself is not sure.
    pub score: f32,
    /// The area jumps.
    pub jump: f32,
    /// The contour moves fast.
    pub speed: f32,
}

impl Doubt {
    /// The largest of them.
    #[must_use]
    pub fn worst(self) -> f32 {
        self.disagreement.max(self.score).max(self.jump).max(self.speed)
    }

    /// What it is, for people.
    #[must_use]
    pub fn reason(self) -> &'static str {
        let all = [
            (self.disagreement, "what comes from either side disagrees"),
            (self.score, "the network is not sure"),
            (self.jump, "the area jumps"),
            (self.speed, "the contour moves fast"),
        ];
        let worst = all.iter().max_by(|a, b| a.0.total_cmp(&b.0));
        worst.filter(|(doubt, _)| *doubt > 0.0).map_or("nothing", |(_, reason)| reason)
    }
}

/// What is doubtful about the masks of a track inside its windows, kept up to date frame by frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Doubts {
    /// What changed to each frame with a mask from the one before it, and from the one before that
    /// where no frame is missing between them.
    steps: BTreeMap<FrameIndex, [Option<Step>; 2]>,
    /// What the first of these are in the whole clip: it tells what is usual.
    jumps: Ordered,
    speeds: Ordered,
    judged: usize,
}

impl Doubts {
    /// About all masks of a track.
    #[must_use]
    pub fn of(track: &Track) -> Self {
        let judged = |&frame: &FrameIndex| Some((frame, Step::to(track, frame)?));
        let steps: BTreeMap<_, _> = track.masks.keys().filter_map(judged).collect();
        // Sorted once: putting each in its place would move the others for every frame of a long clip.
        let ordered = |value: fn(&Step) -> f32| {
            Ordered::of(steps.values().filter_map(|[one, _]| one.as_ref()).map(value))
        };
        Self {
            jumps: ordered(|step| step.jump),
            speeds: ordered(|step| step.speed),
            judged: track.masks.len(),
            steps,
        }
    }

    /// Judges frames again whose masks changed, and the two behind each, which are compared with it.
    pub fn judge(&mut self, track: &Track, changed: impl IntoIterator<Item = FrameIndex>) {
        let behind = |frame: FrameIndex| frame..=frame.saturating_add(2);
        let due: BTreeSet<FrameIndex> = changed.into_iter().flat_map(behind).collect();
        for frame in due {
            self.judged += 1;
            self.forget(frame);
            if let Some(steps) = Step::to(track, frame) {
                self.keep(frame, steps);
            }
        }
    }

    /// How many frames were judged so far, each as often as it was: what tests count.
    #[must_use]
    pub fn judged(&self) -> usize {
        self.judged
    }

    fn forget(&mut self, frame: FrameIndex) {
        if let Some([Some(step), _]) = self.steps.remove(&frame) {
            self.jumps.remove(step.jump);
            self.speeds.remove(step.speed);
        }
    }

    fn keep(&mut self, frame: FrameIndex, steps: [Option<Step>; 2]) {
        if let [Some(step), _] = steps {
            self.jumps.insert(step.jump);
            self.speeds.insert(step.speed);
        }
        self.steps.insert(frame, steps);
    }

    /// About the mask of one frame of that track; `None` where there is none, or a person accepted or
    /// prompted it. `agreement` is the overlap (IoU) of the masks that the passes from both sides
    /// gave, where they were compared.
    #[must_use]
    pub fn about(&self, track: &Track, frame: FrameIndex, agreement: Option<f32>) -> Option<Doubt> {
        let steps = self.steps.get(&frame)?;
        let held = track.masks.get(&frame).filter(|held| held.source == MaskSource::Tracked)?;
        // The frame behind an outlier is where the one before it was, and no outlier itself.
        let step = match *steps {
            [Some(a), Some(b)] => Step { jump: a.jump.min(b.jump), speed: a.speed.min(b.speed) },
            [one, other] => one.or(other).unwrap_or_default(),
        };
        let half = |least: f32, usual: f32| least.max(TIMES_USUAL * usual);
        Some(Doubt {
            disagreement: agreement.map_or(0.0, |iou| rising(1.0 - iou, 1.0 - AGREEMENT_HALF)),
            // A score of 0 is "not told": no doubt of its own.
            score: if held.score > 0.0 { rising(1.0 - held.score, 1.0 - SCORE_HALF) } else { 0.0 },
            jump: rising(step.jump, half(JUMP_HALF, self.jumps.median())),
            speed: rising(step.speed, half(SPEED_HALF, self.speeds.median())),
        })
    }
}

/// 0 at nothing, one half at `half`, towards 1 beyond.
fn rising(value: f32, half: f32) -> f32 {
    let square = (value.max(0.0) / half.max(1e-6)).powi(2);
    square / (1.0 + square)
}

/// What changes from one mask to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Step {
    /// Change of area as a share of the larger one.
    jump: f32,
    /// Mean move of the contour as a share of the structure's radius.
    speed: f32,
}

impl Step {
    /// From the frame before, and from the one before that; `None` where no mask is shown.
    fn to(track: &Track, frame: FrameIndex) -> Option<[Option<Self>; 2]> {
        let shown = |frame: FrameIndex| {
            track.masks.get(&frame).filter(|_| track.visible(frame)).map(|held| &held.mask)
        };
        let mask = shown(frame)?;
        let before = |back: usize| frame.checked_sub(back).and_then(shown);
        let one = before(1);
        let other = one.and_then(|_| before(2));
        Some([one, other].map(|from| from.map(|from| Self::between(from, mask))))
    }

    fn between(before: &Mask, after: &Mask) -> Self {
        let (a, b) = (before.area_px() as f32, after.area_px() as f32);
        let larger = a.max(b);
        if larger <= 0.0 {
            return Self::default();
        }
        let both = before.shared_px(after) as f32;
        // The area between the contours over the length of one: a circle's, of that area.
        let radius = (larger / std::f32::consts::PI).sqrt();
        let moved = (a + b - 2.0 * both) / (std::f32::consts::TAU * radius);
        Self { jump: (a - b).abs() / larger, speed: moved / radius }
    }
}

/// Values in their order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ordered(Vec<f32>);

impl Ordered {
    fn of(values: impl Iterator<Item = f32>) -> Self {
        let mut values: Vec<f32> = values.collect();
        values.sort_unstable_by(f32::total_cmp);
        Self(values)
    }

    /// How many are less.
    fn below(&self, value: f32) -> usize {
        self.0.partition_point(|held| held.total_cmp(&value).is_lt())
    }

    fn insert(&mut self, value: f32) {
        self.0.insert(self.below(value), value);
    }

    /// Takes away one that is there.
    fn remove(&mut self, value: f32) {
        self.0.remove(self.below(value));
    }

    fn median(&self) -> f32 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bitmap, FrameMask};

    fn disc(cx: f32, r: f32) -> Mask {
        Bitmap::from_fn(100, 60, |x, y| (x as f32 - cx).hypot(y as f32 - 30.0) <= r).to_mask()
    }

    fn track(masks: &[Mask]) -> Track {
        let mut track = Track::new("t", 0);
        for (frame, mask) in masks.iter().enumerate() {
            let held = FrameMask { mask: mask.clone(), source: MaskSource::Tracked, score: 0.95 };
            track.masks.insert(frame, held);
        }
        track
    }

    /// About every frame that is in doubt at all.
    fn doubts(track: &Track, agreement: &BTreeMap<FrameIndex, f32>) -> BTreeMap<FrameIndex, Doubt> {
        all(&Doubts::of(track), track, agreement)
    }

    fn all(
        doubts: &Doubts,
        track: &Track,
        agreement: &BTreeMap<FrameIndex, f32>,
    ) -> BTreeMap<FrameIndex, Doubt> {
        let about = |&frame: &FrameIndex| {
            Some((frame, doubts.about(track, frame, agreement.get(&frame).copied())?))
        };
        track.masks.keys().filter_map(about).collect()
    }

    /// The same of all frames at once, the plain way.
    fn plain(track: &Track, agreement: &BTreeMap<FrameIndex, f32>) -> BTreeMap<FrameIndex, Doubt> {
        let shown: Vec<(FrameIndex, &Mask, MaskSource, f32)> = track
            .masks
            .iter()
            .filter(|(frame, _)| track.visible(**frame))
            .map(|(frame, held)| (*frame, &held.mask, held.source, held.score))
            .collect();
        // From the frame `back` places before, where no frame is missing between them.
        let step = |i: usize, back: usize| {
            let before = &shown[i.checked_sub(back)?];
            (before.0 + back == shown[i].0).then(|| Step::between(before.1, shown[i].1))
        };
        let steps: Vec<Option<Step>> = (0..shown.len()).map(|i| step(i, 1)).collect();
        let usual = Step {
            jump: median(steps.iter().flatten().map(|step| step.jump)),
            speed: median(steps.iter().flatten().map(|step| step.speed)),
        };
        let half = |least: f32, usual: f32| least.max(TIMES_USUAL * usual);
        let mut found = BTreeMap::new();
        for (i, &(frame, _, source, score)) in shown.iter().enumerate() {
            if source != MaskSource::Tracked {
                continue;
            }
            // The frame behind an outlier is where the one before it was, and no outlier itself.
            let step = match (steps[i], step(i, 2)) {
                (Some(a), Some(b)) => {
                    Step { jump: a.jump.min(b.jump), speed: a.speed.min(b.speed) }
                }
                (one, other) => one.or(other).unwrap_or_default(),
            };
            let doubt = Doubt {
                disagreement: agreement
                    .get(&frame)
                    .map_or(0.0, |iou| rising(1.0 - iou, 1.0 - AGREEMENT_HALF)),
                // A score of 0 is "not told": no doubt of its own.
                score: if score > 0.0 { rising(1.0 - score, 1.0 - SCORE_HALF) } else { 0.0 },
                jump: rising(step.jump, half(JUMP_HALF, usual.jump)),
                speed: rising(step.speed, half(SPEED_HALF, usual.speed)),
            };
            found.insert(frame, doubt);
        }
        found
    }

    fn median(values: impl Iterator<Item = f32>) -> f32 {
        let mut values: Vec<f32> = values.collect();
        values.sort_by(f32::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    }

    #[test]
    fn what_is_judged_frame_by_frame_is_what_is_judged_at_once() {
        let mut number = 7_u64;
        let mut below = |most: usize| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (number >> 33) as usize % most
        };
        let sources = [MaskSource::Tracked, MaskSource::Tracked, MaskSource::Accepted];
        for _ in 0..20 {
            let (mut track, mut kept) = (Track::new("t", 0), Doubts::default());
            for _ in 0..60 {
                let frame = below(14);
                if below(5) == 0 {
                    track.masks.remove(&frame);
                } else {
                    let mask = disc(30.0 + below(20) as f32, 8.0 + below(8) as f32);
                    let (source, score) = (sources[below(3)], below(10) as f32 / 10.0);
                    track.masks.insert(frame, FrameMask { mask, source, score });
                }
                kept.judge(&track, [frame]);
                if below(20) == 0 {
                    let first = below(10);
                    let last = first + below(6);
                    track.windows = vec![crate::domain::Window { first, last }];
                    kept = Doubts::of(&track);
                }
                let agreement = BTreeMap::from([(below(14), 0.7), (below(14), 0.2)]);
                assert_eq!(all(&kept, &track, &agreement), plain(&track, &agreement));
                assert_eq!(
                    Doubts { judged: 0, ..kept.clone() },
                    Doubts { judged: 0, ..Doubts::of(&track) }
                );
            }
        }
    }

    #[test]
    fn a_change_of_one_mask_judges_it_and_the_two_behind() {
        let mut track = track(&vec![disc(40.0, 12.0); 50]);
        let mut doubts = Doubts::of(&track);
        assert_eq!(doubts.judged(), 50, "each once");
        track.masks.get_mut(&9).expect("there").mask = disc(40.0, 20.0);
        doubts.judge(&track, [9]);
        assert_eq!(doubts.judged(), 50 + 3);
        assert_eq!(all(&doubts, &track, &BTreeMap::new()), plain(&track, &BTreeMap::new()));
    }

    #[test]
    fn an_outlier_is_found_and_steady_motion_is_not() {
        let mut masks: Vec<Mask> = (0..20).map(|i| disc(30.0 + i as f32, 15.0)).collect();
        let steady = doubts(&track(&masks), &BTreeMap::new());
        assert!(steady.values().all(|doubt| doubt.worst() < 0.3), "{steady:?}");
        masks[9] = disc(39.0, 22.0);
        let doubts = doubts(&track(&masks), &BTreeMap::new());
        let worst =
            doubts.iter().max_by(|a, b| a.1.worst().total_cmp(&b.1.worst())).expect("there");
        assert_eq!(*worst.0, 9);
        assert!(worst.1.worst() > FLAGGED && worst.1.reason().contains("area"), "{worst:?}");
        assert!(doubts.iter().filter(|(f, d)| **f != 9 && d.worst() >= FLAGGED).count() == 0);
        // A jump to another place that stays there is found where it happens.
        for (i, mask) in masks.iter_mut().enumerate().skip(9) {
            *mask = disc(55.0 + i as f32, 15.0);
        }
        let moved = self::doubts(&track(&masks), &BTreeMap::new());
        let flagged: Vec<_> =
            moved.iter().filter(|(_, d)| d.worst() >= FLAGGED).map(|(f, _)| *f).collect();
        assert_eq!(flagged, [9]);
    }

    #[test]
    fn disagreement_and_scores_count_and_a_persons_masks_do_not() {
        let mut track = track(&vec![disc(40.0, 12.0); 6]);
        track.masks.get_mut(&2).expect("there").score = 0.2;
        track.masks.get_mut(&4).expect("there").source = MaskSource::Accepted;
        let agreement = BTreeMap::from([(1, 0.97), (3, 0.4), (4, 0.1)]);
        let doubts = doubts(&track, &agreement);
        let flagged: Vec<_> =
            doubts.iter().filter(|(_, d)| d.worst() >= FLAGGED).map(|(f, _)| *f).collect();
        assert_eq!(flagged, [2, 3]);
        assert!(doubts[&3].reason().contains("disagree") && doubts[&2].reason().contains("sure"));
        assert!(!doubts.contains_key(&4));
        assert_eq!(doubts[&0].reason(), "the network is not sure");
    }

    #[test]
    fn a_gap_between_windows_is_no_jump() {
        let mut track = track(&[disc(30.0, 15.0), disc(31.0, 15.0)]);
        let far = FrameMask { mask: disc(70.0, 25.0), source: MaskSource::Tracked, score: 0.9 };
        track.masks.insert(9, far);
        assert!(doubts(&track, &BTreeMap::new())[&9].worst() < 0.2);
    }
}

//! Steps on clips: which frames are prompted and by what, what the others read of them, and what is judged.
//!
//! Two ways to prompt. By masks, as the workstation's anchors are: the first frame and now and then a later one get what
//! a person leaves there. By clicks, as SAM 2 learns ([`ClipPrompt`]): frames are decided from clicks as stills are, and
//! followed frames are corrected on what the memory says of them, with their logits as mask prompt.
//!
//! What decides whether this file is right: what a frame reads is what [`recall`] lists in a walk forwards, prompted
//! frames conditioning the others; the memory of a clicked frame is made of the network's own soft mask and carries
//! gradient to its clicks, the mask prompt of a correction does not; steps on masks draw what they drew before there were
//! clicks.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::{ClipPrompt, Desk, Judged, Marks, Plan, Subject, rows_of, tremor};
use crate::domain::{Bitmap, PointPx};
use crate::learn::annotator::SimulatedUser;
use crate::learn::augment::ClipLesson;
use crate::learn::optimise::numbers;
use crate::learn::pupil::{Pupil, anchors};
use crate::net::blocks::constant;
use crate::net::memory_bank::{BankRules, Direction, recall};
use crate::net::prompt_encoder::PointBatch;
use crate::net::resize::{Kernel, resize};
use crate::net::sam2::{ImageFeatures, PREVIOUS_LOGIT_MAX, Prompts, Sam2, wants_multimask};
use crate::net::tracker::{Decided, MaskMemory, MaskScale, PointerMemory, Presence};

/// Pointers of clips of this length or more are scaled alike; training clips stand for such clips.
const LONG_CLIP: usize = 16;
/// How often a second frame is prompted by clicks without a look at what the network makes of it.
const SECOND: f32 = 0.3;
/// How often no frame, and how often at most one, is corrected by clicks.
const CORRECTED: [f32; 2] = [0.5, 0.85];
/// How often inside and outside points begin with a box.
const BOXED: f32 = 0.5;

/// What a frame is told before it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nothing: it is followed.
    Nothing,
    /// A mask, as a person leaves it on an anchor frame.
    Mask,
    /// Clicks, before anything is known of it.
    Clicks,
    /// Clicks where it was followed wrongly.
    Corrections,
}

/// A batch of clips of one length, and their features, all clips of a frame together.
struct Reel<'a> {
    net: &'a Sam2,
    plan: &'a Plan,
    clips: &'a [ClipLesson],
    features: ImageFeatures,
}

/// One frame of each clip.
struct Frame<'a> {
    at: usize,
    masks: Vec<&'a Bitmap>,
    present: Vec<f32>,
    here: ImageFeatures,
    truth: Tensor<4>,
}

/// A frame's loss so far and its last answer.
struct Answered {
    decided: Decided,
    loss: Tensor<1>,
    passes: usize,
}

impl Desk {
    /// The loss of a step on clips; see [`Desk::teach`].
    pub(super) fn clips(
        &mut self,
        net: &Sam2,
        plan: &Plan,
        clips: &[ClipLesson],
    ) -> (Tensor<1>, Marks) {
        let (b, t) = (clips.len(), clips[0].frames.len());
        let frames: Vec<&[f32]> =
            (0..t).flat_map(|f| clips.iter().map(move |c| &c.frames[f][..])).collect();
        let features = net.encode_image(self.images(&frames, plan.side));
        let reel = Reel { net, plan, clips, features };
        let (course, user) = course(plan, clips);
        let (total, iou) = self.walk(&reel, &course, user, &mut Bank::new(net));
        let loss = total.unwrap_or_else(|| Tensor::zeros([1], &self.device)) / t as f64;
        let marks = Marks { loss: numbers(loss.clone())[0], iou, images: b * t, structures: b };
        (loss, marks)
    }

    /// Decides the frames in the order of `course`: the sum of their losses, and the mean IoU on the first and on the
    /// later frames that were followed.
    fn walk(
        &mut self,
        reel: &Reel<'_>,
        course: &[(usize, Told)],
        mut user: SimulatedUser,
        bank: &mut Bank,
    ) -> (Option<Tensor<1>>, [f32; 2]) {
        let (mut total, mut iou, mut judged_frames) = (None, [0.0f32; 2], [0.0f32; 2]);
        for &(at, told) in course {
            let frame = self.frame(reel, at);
            let mut loss = None;
            let decided = match told {
                Told::Mask => self.given(reel, &frame, &mut user),
                Told::Clicks => {
                    let answered = self.clicked(reel, &frame, &mut user);
                    loss = Some(answered.loss / answered.passes as f64);
                    answered.decided
                }
                Told::Nothing | Told::Corrections => {
                    let (read, decided, judged) = self.followed(reel, &frame, bank);
                    if frame.present.contains(&1.0) {
                        judged_frames[usize::from(at > 1)] += 1.0;
                        iou[usize::from(at > 1)] += judged.iou;
                    }
                    let mut answered = Answered { decided, loss: judged.loss, passes: 1 };
                    if told == Told::Corrections {
                        answered = self.corrected(reel, &frame, &read, answered, &mut user);
                        answered.loss = answered.loss / answered.passes as f64;
                    }
                    loss = Some(answered.loss);
                    answered.decided
                }
            };
            if let Some(loss) = loss {
                total = Some(total.map_or(loss.clone(), |sum: Tensor<1>| sum + loss));
            }
            let remembered = self.remembered(reel.net, &frame, &decided, told);
            bank.keep(at, remembered, told != Told::Nothing);
        }
        (total, [0, 1].map(|k| iou[k] / judged_frames[k].max(1.0)))
    }

    fn frame<'a>(&self, reel: &Reel<'a>, at: usize) -> Frame<'a> {
        let (clips, b) = (reel.clips, reel.clips.len());
        let masks: Vec<&Bitmap> = clips.iter().map(|c| &c.masks[at]).collect();
        let present = masks.iter().map(|m| f32::from(u8::from(m.pixels.contains(&true)))).collect();
        let here = rows_of(&reel.features, at * b, b);
        let truth = self.truth(masks.iter().copied(), reel.plan.side / 2);
        Frame { at, masks, present, here, truth }
    }

    /// A frame that a person decided: nothing is judged.
    fn given(&self, reel: &Reel<'_>, frame: &Frame<'_>, user: &mut SimulatedUser) -> Decided {
        let (net, side) = (reel.net, reel.plan.side);
        let given = anchors(&frame.masks, reel.plan, user);
        let given = constant(given, [frame.masks.len(), 1, side, side], &self.device);
        let ImageFeatures { pix_feat, high_res, .. } = &frame.here;
        net.decide_from_mask(pix_feat.clone(), high_res, given, Presence::Given)
    }

    /// A frame without a prompt: its features as the memory conditions them, and the answer.
    fn followed(
        &mut self,
        reel: &Reel<'_>,
        frame: &Frame<'_>,
        bank: &Bank,
    ) -> (Tensor<4>, Decided, Judged) {
        let (memories, pointers) = bank.recall(frame.at);
        let ImageFeatures { pix_feat, high_res, .. } = &frame.here;
        let read = reel.net.condition(pix_feat.clone(), &memories, &pointers, LONG_CLIP).pix_feat;
        let carried = self.carried(reel.clips, frame.at);
        let none = Prompts { points: PointBatch::none(frame.masks.len()), mask: None };
        let (given, alone) = (Presence::Given, carried.is_none());
        let decided =
            reel.net.decide_with_prior(read.clone(), high_res, &none, carried, alone, given);
        let judged = self.judge(&decided.raw, &frame.truth, reel.plan, &[], &frame.present);
        (read, decided, judged)
    }

    /// A frame that is decided from clicks without a memory, and up to twice corrected by one more.
    fn clicked(
        &mut self,
        reel: &Reel<'_>,
        frame: &Frame<'_>,
        user: &mut SimulatedUser,
    ) -> Answered {
        let (plan, rng) = (reel.plan, user.rng());
        let (boxed, opening) = (rng.f32() < BOXED, rng.usize(2..=6));
        let rounds = rng.usize(..=2);
        let noise = tremor(user, plan.side);
        let mut pupils = pupils(frame, plan, user);
        for pupil in &mut pupils {
            match (plan.subject.by_region(), boxed) {
                (true, true) => pupil.frame_it(plan.side as f32 * 0.05),
                (true, false) => pupil.region(1),
                (false, _) => pupil.boundary(opening, noise),
            }
        }
        let read = reel.net.without_memory(frame.here.pix_feat.clone());
        let (decided, loss) = self.pass(reel, frame, &read, &pupils, None);
        let mut answered = Answered { decided, loss, passes: 1 };
        for _ in 0..rounds {
            saw(&mut pupils, &answered.decided, plan);
            more(&mut pupils, 1, noise, plan);
            // As on stills: only region points come with the answer that they correct.
            let before = plan.subject.by_region().then(|| previous(&answered.decided));
            answered.take(self.pass(reel, frame, &read, &pupils, before));
        }
        answered
    }

    /// Corrects a followed frame on its conditioned features `read`: clicks where it is wrong, twice at most.
    fn corrected(
        &mut self,
        reel: &Reel<'_>,
        frame: &Frame<'_>,
        read: &Tensor<4>,
        mut answered: Answered,
        user: &mut SimulatedUser,
    ) -> Answered {
        let plan = reel.plan;
        let (rounds, leap) = (user.rng().usize(1..=2), user.rng().usize(1..=4));
        let noise = tremor(user, plan.side);
        let mut pupils = pupils(frame, plan, user);
        for round in 0..rounds {
            let count = if round == 0 && !plan.subject.by_region() { leap } else { 1 };
            saw(&mut pupils, &answered.decided, plan);
            more(&mut pupils, count, noise, plan);
            let before = previous(&answered.decided);
            answered.take(self.pass(reel, frame, read, &pupils, Some(before)));
        }
        answered
    }

    /// One decoder pass over all clicks so far.
    fn pass(
        &mut self,
        reel: &Reel<'_>,
        frame: &Frame<'_>,
        read: &Tensor<4>,
        pupils: &[Pupil<'_>],
        mask: Option<Tensor<4>>,
    ) -> (Decided, Tensor<1>) {
        let points: Vec<_> = pupils.iter().map(|p| p.points.clone()).collect();
        let multimask = wants_multimask(points.iter().map(Vec::len).max().unwrap_or(0));
        let prompts = Prompts { points: PointBatch::new(&points), mask };
        let high_res = &frame.here.high_res;
        let decided = reel.net.decide(read.clone(), high_res, &prompts, multimask, Presence::Given);
        let clicks: Vec<Vec<PointPx>> = pupils.iter().map(Pupil::clean_on_half).collect();
        let judged = self.judge(&decided.raw, &frame.truth, reel.plan, &clicks, &frame.present);
        (decided, judged.loss)
    }

    /// What a decided frame leaves behind; an absent structure leaves an empty mask, whatever was decided.
    fn remembered(
        &self,
        net: &Sam2,
        frame: &Frame<'_>,
        decided: &Decided,
        told: Told,
    ) -> Remembered {
        let b = frame.present.len();
        let shown = constant(frame.present.clone(), [b, 1], &self.device);
        let absent = shown.clone().neg() + 1.0;
        let low_res = decided.low_res_masks.clone();
        let side4 = low_res.dims()[2];
        let gone = absent.clone().reshape([b, 1, 1, 1]).expand([b, 1, side4, side4]);
        let scale = if told == Told::Mask { MaskScale::Binary } else { MaskScale::Soft };
        let mask = net.memory_mask(low_res - gone * 1024.0, scale);
        let features = net.remember(frame.here.pix_feat.clone(), mask, shown.clone());
        let pointer = decided.obj_ptr.clone() * shown + absent * net.no_obj_ptr.val();
        Remembered { features, pointer }
    }

    /// The carried contours of frame `f`, where every clip of the batch has one.
    fn carried(&self, clips: &[ClipLesson], f: usize) -> Option<Tensor<4>> {
        let all: Option<Vec<&[f32]>> = clips.iter().map(|c| c.carried[f].as_deref()).collect();
        let all = all?;
        let side = all.first()?.len().isqrt();
        Some(constant(all.concat(), [clips.len(), 1, side, side], &self.device))
    }
}

impl Answered {
    /// One more pass over the same frame.
    fn take(&mut self, (decided, loss): (Decided, Tensor<1>)) {
        self.decided = decided;
        self.loss = self.loss.clone() + loss;
        self.passes += 1;
    }
}

/// The frames in the order in which they are decided, what each is told, and the person who tells it.
fn course(plan: &Plan, clips: &[ClipLesson]) -> (Vec<(usize, Told)>, SimulatedUser) {
    let t = clips[0].frames.len();
    let visible = |f: &usize| clips.iter().all(|c| c.masks[*f].pixels.contains(&true));
    if matches!(plan.subject, Subject::Clip { prompt: ClipPrompt::Masks, .. }) {
        let mut user = SimulatedUser::new(plan.seed ^ 0xc11b);
        let again = if t > 2 && user.rng().f32() < 0.3 { user.rng().usize(2..t) } else { t };
        let told = |f: usize| f == 0 || (f == again && visible(&f));
        let told = |f: usize| if told(f) { Told::Mask } else { Told::Nothing };
        return ((0..t).map(|f| (f, told(f))).collect(), user);
    }
    let mut user = SimulatedUser::new(plan.seed ^ 0xc11c);
    let rng = user.rng();
    let mut later: Vec<usize> = (1..t).filter(visible).collect();
    rng.shuffle(&mut later);
    // As in SAM 2, all prompted frames are decided before any other, so that what lies between two reads both.
    let second = (rng.f32() < SECOND && t > 2).then(|| later.pop()).flatten();
    let (drawn, [none, one]) = (rng.f32(), CORRECTED);
    later.truncate(usize::from(drawn >= none) + usize::from(drawn >= one));
    let opened = [Some(0), second].into_iter().flatten().map(|f| (f, Told::Clicks));
    let others = (1..t).filter(|f| Some(*f) != second).map(|f| {
        let told = if later.contains(&f) { Told::Corrections } else { Told::Nothing };
        (f, told)
    });
    (opened.chain(others).collect(), user)
}

/// Somebody for each structure of a frame.
fn pupils<'a>(frame: &Frame<'a>, plan: &Plan, user: &mut SimulatedUser) -> Vec<Pupil<'a>> {
    let own = |mask: &&'a Bitmap| Pupil::new(mask, plan, SimulatedUser::new(user.rng().u64(..)));
    frame.masks.iter().map(own).collect()
}

/// More clicks where the answer that was seen is wrong.
fn more(pupils: &mut [Pupil<'_>], count: usize, noise: f32, plan: &Plan) {
    for pupil in pupils {
        match plan.subject.by_region() {
            true => pupil.region(count),
            false => pupil.boundary(count, noise),
        }
    }
}

/// Everybody sees their answer.
fn saw(pupils: &mut [Pupil<'_>], decided: &Decided, plan: &Plan) {
    let grid = plan.side / 2;
    let best = decided.low_res_masks.clone().detach();
    let seen = numbers(resize(best, [grid; 2], Kernel::Bilinear));
    for (pupil, logits) in pupils.iter_mut().zip(seen.chunks(grid * grid)) {
        pupil.saw(logits, plan);
    }
}

/// An answer as the mask prompt of its correction.
fn previous(decided: &Decided) -> Tensor<4> {
    decided.low_res_masks.clone().detach().clamp(-PREVIOUS_LOGIT_MAX, PREVIOUS_LOGIT_MAX)
}

/// A training clip's memory.
struct Bank {
    rules: BankRules,
    /// Frames that condition the others, in the order in which they were decided.
    conditioning: Vec<usize>,
    kept: BTreeMap<usize, Remembered>,
}

struct Remembered {
    features: Tensor<4>,
    pointer: Tensor<2>,
}

impl Bank {
    fn new(net: &Sam2) -> Self {
        let num_maskmem = net.config().memory.num_maskmem;
        // Pointers from the future, which SAM 2 learns with, are nothing that the workstation ever shows.
        let rules = BankRules { num_maskmem, max_obj_ptrs: LONG_CLIP, ..BankRules::default() };
        Self { rules, conditioning: Vec::new(), kept: BTreeMap::new() }
    }

    fn keep(&mut self, frame: usize, remembered: Remembered, conditioning: bool) {
        self.kept.insert(frame, remembered);
        self.conditioning.extend(conditioning.then_some(frame));
    }

    fn recall(&self, frame: usize) -> (Vec<MaskMemory>, Vec<PointerMemory>) {
        let recent = |f: usize| self.kept.contains_key(&f) && !self.conditioning.contains(&f);
        let forward = Direction::Forward;
        let found = recall(&self.rules, &self.conditioning, recent, frame, forward, LONG_CLIP);
        let masks = found.spatial.iter().map(|s| {
            let features = self.kept[&s.frame].features.clone();
            MaskMemory { features, t_pos: s.t_pos }
        });
        let pointers = found.pointers.iter().map(|p| {
            let obj_ptr = self.kept[&p.frame].pointer.clone();
            PointerMemory { obj_ptr, distance: p.distance }
        });
        (masks.collect(), pointers.collect())
    }
}

#[cfg(test)]
#[path = "clips_tests.rs"]
mod tests;

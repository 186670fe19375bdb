//! The real segmenter: plain questions in, plain answers out, tensors in between.
//!
//! Frames are encoded once and their features kept while there is room; a refresh decodes the
//! frame's own prompts, a walk follows the structure by memory and motion. What decides whether
//! this is right: a mask that a person gave is handed back untouched, boundary points lie on the
//! contour of the answer, nothing of one walk reaches the next, and the answer to region points,
//! of which each corrects the one before, depends on the points alone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::time::Instant;

use crate::domain::{
    Between, Bitmap, FrameIndex, FramePrompts, GrayFrame, Lru, Tissue, moved_through, tidied,
};
use crate::net::config::ModelCard;
use crate::net::device::{DeviceWant, Picked, cpu, pick};
use crate::net::follow::{FollowOptions, Followed, Follower, Seen};
use crate::net::gpu_memory::GpuMemory;
use crate::net::letterbox::Letterbox;
use crate::net::memory_bank;
use crate::net::predict::{Predictor, View};
use crate::net::sam2::{ImageFeatures, Sam2};
use crate::net::threads::{SMALL_PX, Threads};
use crate::net::tracker::TrackError;

use super::corrected::{Corrected, corrected};
use super::retrace::{Retraced, retrace};
use super::shipped::load_with_room;
use super::{Anchor, Decided, Direction, Image, SegmentError, Segmenter, SegmenterInfo, WalkId};

/// Features kept by default: two thousand frames of the shipped network, 120 of SAM 2's at 512 px, 30 at 1024 px.
const FEATURES_MIB: usize = 512;

/// What is kept of a frame.
#[derive(Clone)]
struct Encoded {
    features: ImageFeatures,
    letterbox: Letterbox,
    tissue: Tissue,
}

impl Encoded {
    fn new(features: ImageFeatures, letterbox: Letterbox) -> Self {
        Self { features, letterbox, tissue: Tissue::default() }
    }
}

/// A network at work on one clip.
pub struct NetSegmenter {
    card: ModelCard,
    sam: Sam2,
    picked: Picked,
    threads: Threads,
    cache: Lru<FrameIndex, Encoded>,
    /// A frame that was encoded beside the one before it, until it is asked for.
    ahead: Option<(FrameIndex, (Encoded, f32))>,
    retraced: Option<Retraced>,
    /// What the machine has left for features.
    room_bytes: usize,
    frames: usize,
    /// The frame at hand, with what the tracks on it share besides its features.
    at_hand: Option<(FrameIndex, Encoded)>,
    followers: HashMap<WalkId, Follower>,
    walk: WalkId,
    follow_options: FollowOptions,
}

impl NetSegmenter {
    /// Loads a network from a card file, or the shipped one, onto `device` (`auto`, `gpu`,
    /// `gpu:N` or `cpu`).
    ///
    /// # Errors
    /// A sentence: what is wrong with card, weights or device, and what to do.
    pub fn load(card: Option<&Path>, device: &str) -> Result<Self, String> {
        let want: DeviceWant = device.parse().map_err(|error| format!("{error}"))?;
        let picked = pick(want).map_err(|error| error.to_string())?;
        let may_move = want == DeviceWant::Auto && picked.gpu;
        match Self::load_on(card, picked) {
            // A GPU that others fill is no reason to fail where the device was left to the program.
            Err(why) if may_move => {
                // What to do about it is done.
                let why = why.strip_suffix("; use --device cpu").unwrap_or(&why);
                Self::load_on(card, cpu(why))
            }
            loaded => loaded,
        }
    }

    /// The same onto a device that is picked already.
    ///
    /// # Errors
    /// A sentence: what is wrong with card, weights or memory, and what to do.
    pub fn load_on(card: Option<&Path>, picked: Picked) -> Result<Self, String> {
        let (card, sam, room_bytes) =
            load_with_room(card, &picked).map_err(|fault| fault.to_string())?;
        let mut network = Self { room_bytes, ..Self::new(card, sam, picked) };
        network.set_feature_budget(FEATURES_MIB);
        Ok(network)
    }

    /// A network that is already there.
    #[must_use]
    pub fn new(card: ModelCard, sam: Sam2, picked: Picked) -> Self {
        let follow_options =
            FollowOptions { motion: card.tracking.motion, ..FollowOptions::default() };
        Self {
            card,
            sam,
            threads: Threads::of(&picked.device),
            picked,
            cache: Lru::new(FEATURES_MIB << 20),
            ahead: None,
            retraced: None,
            room_bytes: usize::MAX,
            frames: 1,
            at_hand: None,
            followers: HashMap::new(),
            walk: 0,
            follow_options,
        }
    }

    /// Keeps features of at most `mib` MiB, and of no more than the machine has room for; those of the frames visited
    /// last.
    pub fn set_feature_budget(&mut self, mib: usize) {
        self.cache = Lru::new((mib << 20).min(self.room_bytes));
    }

    /// Keeps the features of at most `frames` frames like `image`.
    ///
    /// # Errors
    /// A failing network.
    pub fn keep_features_of(
        &mut self,
        frames: usize,
        image: Image<'_>,
    ) -> Result<(), SegmentError> {
        let (encoded, _) = self.encoded(image)?;
        self.cache = Lru::new(frames * encoded.features.bytes());
        Ok(())
    }

    /// Follows with other options than the usual ones; for measuring.
    pub fn set_follow_options(&mut self, options: FollowOptions) {
        self.follow_options = options;
    }

    /// The memory of the GPU at work; `None` on the CPU and where the driver does not tell.
    #[must_use]
    pub fn gpu_memory(&self) -> Option<GpuMemory> {
        self.picked.gpu_memory()
    }

    /// The features of a frame and how long it took to make them, ms (0: they were there).
    fn encoded(&mut self, image: Image<'_>) -> Result<(Encoded, f32), SegmentError> {
        if let Some((_, held)) = self.at_hand.as_ref().filter(|(frame, _)| *frame == image.frame) {
            return Ok((held.clone(), 0.0));
        }
        let (encoded, encode_ms) = match self.cache.get(image.frame) {
            Some(held) => (held.clone(), 0.0),
            None => {
                let made = self.ahead.take().filter(|(frame, _)| *frame == image.frame);
                let (encoded, encode_ms) = match made {
                    Some((_, made)) => made,
                    None => encode(&self.card, &self.sam, &self.picked, image.pixels),
                };
                let bytes = encoded.features.bytes();
                self.cache.insert(image.frame, encoded.clone(), bytes);
                (encoded, encode_ms)
            }
        };
        // What is shared besides goes with the frame: the cache keeps another copy.
        let at_hand = Encoded::new(encoded.features.at_rest(), encoded.letterbox);
        self.at_hand = Some((image.frame, at_hand.clone()));
        Ok((at_hand, encode_ms))
    }

    /// Runs a piece of work on the threads that compute for this device.
    fn at_work<R: Send>(&mut self, work: impl FnOnce(&mut Self) -> R + Send) -> R {
        let threads = self.threads;
        threads.run(|| work(self))
    }

    /// Decides a frame from its prompts alone.
    fn decide(
        &mut self,
        image: Image<'_>,
        prompts: &FramePrompts,
    ) -> Result<Decided, SegmentError> {
        if prompts.is_empty() {
            return Err(SegmentError::NothingToFollow(image.frame));
        }
        if let (Some(mask), true, None) =
            (&prompts.mask, prompts.points.is_empty(), prompts.bounding_box)
        {
            return Ok(given(mask.to_bitmap()));
        }
        match corrected(image, prompts) {
            Some(Corrected::Moved(bitmap)) => Ok(given(bitmap)),
            Some(Corrected::Lost(moved)) => {
                let points = prompts.boundary_points();
                let alone = FramePrompts { mask: None, ..prompts.clone() };
                let mut decided = self.ask(image, &alone)?;
                // Two points say little; what the mask knows still counts for half.
                if points.len() <= 2 && decided.bitmap.area_px() > 0 {
                    let middle = Between::new(&moved, &decided.bitmap).at(0.5);
                    decided.bitmap = moved_through(&middle, &points);
                }
                Ok(decided)
            }
            None => self.ask(image, prompts),
        }
    }

    /// Asks the network about a frame.
    fn ask(&mut self, image: Image<'_>, prompts: &FramePrompts) -> Result<Decided, SegmentError> {
        let (encoded, encode_ms) = self.encoded(image)?;
        let begun = Instant::now();
        let Encoded { features, letterbox, .. } = &encoded;
        let (preprocess, device) = (&self.card.preprocess, &self.picked.device);
        let view = View { frame: image.pixels, preprocess, device, features, letterbox };
        let answer = match prompts.mask.is_none() && prompts.boundary_points().is_empty() {
            true => retrace(&self.sam, &mut self.retraced, image.frame, view, prompts),
            false => Predictor::new(&self.sam).predict(view, prompts),
        };
        let answer = answer.map_err(SegmentError::Network)?;
        let numbers: [&[f32]; 3] =
            [&answer.low_res, &answer.logits, &[answer.score, answer.object_score_logit]];
        must_be_sound(numbers.iter().flat_map(|part| *part).all(|v| v.is_finite()), image.frame)?;
        Ok(Decided {
            bitmap: tidied(answer.bitmap, prompts),
            score: answer.score,
            object_score_logit: answer.object_score_logit,
            encode_ms,
            decode_ms: millis(begun),
        })
    }

    /// Conditions the walk at hand on `mask`.
    fn condition(&mut self, image: Image<'_>, mask: &Bitmap) -> Result<(), SegmentError> {
        let (encoded, _) = self.encoded(image)?;
        let seen = seen(image, &encoded);
        let follower =
            follower(self.followers.entry(self.walk), &self.sam, self.frames, &self.follow_options);
        follower.anchor(&self.sam, seen, mask).map_err(|error| refused(image.frame, &error))
    }

    /// Whether the walk is conditioned on the points themselves, as SAM 2's video predictor does: weights as published,
    /// and prompts that they understand without a bridge.
    fn conditions_on(&self, prompts: &FramePrompts) -> bool {
        let understood = prompts.mask.is_none() && prompts.boundary_points().is_empty();
        self.sam.bridges() && understood && !prompts.is_empty()
    }

    /// Conditions the walk at hand on the points and the box of `prompts`, and decides the frame.
    fn prompt(
        &mut self,
        image: Image<'_>,
        prompts: &FramePrompts,
    ) -> Result<Decided, SegmentError> {
        let (encoded, encode_ms) = self.encoded(image)?;
        let begun = Instant::now();
        let points = encoded.letterbox.network_points(prompts);
        let seen = seen(image, &encoded);
        let follower =
            follower(self.followers.entry(self.walk), &self.sam, self.frames, &self.follow_options);
        let found = follower
            .prompt(&self.sam, seen, &points)
            .map_err(|error| refused(image.frame, &error))?;
        must_be_sound(found.sound, image.frame)?;
        Ok(decided(found, encode_ms, begun))
    }

    /// Conditions the walk at hand on a person's prompts or mask, and tells what they decide.
    fn set_anchor(&mut self, image: Image<'_>, anchor: &Anchor) -> Result<Decided, SegmentError> {
        let mut decided = match anchor {
            Anchor::Prompts(prompts) if self.conditions_on(prompts) => {
                return self.prompt(image, prompts);
            }
            Anchor::Prompts(prompts) => self.decide(image, prompts)?,
            Anchor::Mask(mask) => given(mask.to_bitmap()),
        };
        if !fits(&decided.bitmap, image.pixels) {
            return Err(SegmentError::Network(format!(
                "the mask of frame {} has another size than the frame",
                image.frame + 1
            )));
        }
        let begun = Instant::now();
        self.condition(image, &decided.bitmap)?;
        decided.decode_ms += millis(begun);
        Ok(decided)
    }

    /// Follows the structure of the walk at hand onto a frame. A network whose frame is too little work for all cores
    /// encodes the `next` one meanwhile.
    fn step(
        &mut self,
        image: Image<'_>,
        direction: Direction,
        next: Option<Image<'_>>,
    ) -> Result<Decided, SegmentError> {
        let (encoded, encode_ms) = self.encoded(image)?;
        let begun = Instant::now();
        let both = self.threads == Threads::Crew && self.card.network.image_size <= SMALL_PX;
        let next = next.filter(|next| both && !self.cache.contains(next.frame));
        let Self { card, sam, picked, followers, walk, ahead, .. } = self;
        let Some(follower) = followers.get_mut(walk) else {
            return Err(SegmentError::NothingToFollow(image.frame));
        };
        let direction = match direction {
            Direction::Forward => memory_bank::Direction::Forward,
            Direction::Backward => memory_bank::Direction::Reverse,
        };
        let mut follow = || follower.follow(sam, seen(image, &encoded), direction);
        let followed = match next {
            Some(next) => {
                let (followed, encoded) =
                    rayon::join(follow, || encode(card, sam, picked, next.pixels));
                *ahead = Some((next.frame, encoded));
                followed
            }
            None => follow(),
        };
        let followed = followed.map_err(|error| refused(image.frame, &error))?;
        must_be_sound(followed.sound, image.frame)?;
        Ok(decided(followed, encode_ms, begun))
    }
}

/// The features of a frame, and how long it took to make them, ms.
fn encode(card: &ModelCard, sam: &Sam2, picked: &Picked, pixels: &GrayFrame) -> (Encoded, f32) {
    let begun = Instant::now();
    let (input, letterbox) = card.preprocess.frame(pixels, card.network.image_size, &picked.device);
    let features = sam.encode_image(input);
    (Encoded::new(features, letterbox), millis(begun))
}

impl Segmenter for NetSegmenter {
    fn info(&self) -> SegmenterInfo {
        SegmenterInfo {
            model: self.card.name.clone(),
            device: match self.sam.half() {
                Some(half) => format!("{}; {half}", self.picked.description),
                None => self.picked.description.clone(),
            },
            bridged: self.sam.bridges(),
        }
    }

    fn open_clip(&mut self, frames: usize) {
        self.cache.clear();
        self.ahead = None;
        self.retraced = None;
        self.at_hand = None;
        self.followers.clear();
        self.walk = 0;
        self.frames = frames.max(1);
    }

    fn refresh(
        &mut self,
        image: Image<'_>,
        prompts: &FramePrompts,
    ) -> Result<Decided, SegmentError> {
        self.at_work(|network| network.decide(image, prompts))
    }

    fn turn_to(&mut self, walk: WalkId) {
        self.walk = walk;
    }

    fn end_walk(&mut self, walk: WalkId) {
        self.followers.remove(&walk);
    }

    fn begin_walk(&mut self, windowed: bool) {
        let options = self.follow_options.clone();
        let follower = Follower::new(&self.sam, self.frames, windowed, options);
        self.followers.insert(self.walk, follower);
    }

    fn anchor(&mut self, image: Image<'_>, anchor: &Anchor) -> Result<Decided, SegmentError> {
        self.at_work(|network| network.set_anchor(image, anchor))
    }

    fn follow(
        &mut self,
        image: Image<'_>,
        direction: Direction,
        next: Option<Image<'_>>,
    ) -> Result<Decided, SegmentError> {
        self.at_work(|network| network.step(image, direction, next))
    }

    fn encode_ahead(&mut self, image: Image<'_>) -> Result<(), SegmentError> {
        self.at_work(|network| network.encoded(image).map(|_| ()))?;
        // Nothing is read back here: without this a GPU would be given one frame after the other, and a point would wait
        // for all of them.
        self.picked.device.sync().map_err(|error| SegmentError::Network(error.to_string()))
    }

    fn has_room(&self) -> bool {
        self.cache.has_room()
    }
}

/// The follower of the walk at hand; one begins where none was begun.
fn follower<'a>(
    held: Entry<'a, WalkId, Follower>,
    sam: &Sam2,
    frames: usize,
    options: &FollowOptions,
) -> &'a mut Follower {
    held.or_insert_with(|| Follower::new(sam, frames, false, options.clone()))
}

fn decided(found: Followed, encode_ms: f32, begun: Instant) -> Decided {
    Decided {
        bitmap: found.bitmap,
        score: found.score,
        object_score_logit: found.object_score_logit,
        encode_ms,
        decode_ms: millis(begun),
    }
}

/// Refuses what is no answer: numbers that overflowed, in half precision or in a faulty driver, look like an empty mask.
fn must_be_sound(sound: bool, frame: FrameIndex) -> Result<(), SegmentError> {
    let why = || format!("its answer for frame {} is no number", frame + 1);
    if sound { Ok(()) } else { Err(SegmentError::Network(why())) }
}

/// A person's own mask, as it is or moved through their points: certain, and no network judged it.
fn given(bitmap: Bitmap) -> Decided {
    let object_score_logit = if bitmap.area_px() > 0 { 10.0 } else { -10.0 };
    Decided { bitmap, score: 0.0, object_score_logit, encode_ms: 0.0, decode_ms: 0.0 }
}

fn seen<'a>(image: Image<'a>, encoded: &'a Encoded) -> Seen<'a> {
    Seen {
        frame: image.frame,
        pixels: image.pixels,
        features: &encoded.features,
        letterbox: &encoded.letterbox,
        tissue: Some(&encoded.tissue),
    }
}

pub(super) fn fits(bitmap: &Bitmap, pixels: &GrayFrame) -> bool {
    (bitmap.width_px, bitmap.height_px) == (pixels.width_px, pixels.height_px)
}

fn refused(frame: FrameIndex, error: &TrackError) -> SegmentError {
    match error {
        TrackError::NothingToFollow | TrackError::NoPrompt(_) => {
            SegmentError::NothingToFollow(frame)
        }
        other => SegmentError::Network(other.to_string()),
    }
}

fn millis(since: Instant) -> f32 {
    since.elapsed().as_secs_f32() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_that_a_person_drew_has_no_score() {
        let drawn = Bitmap::from_fn(8, 8, |x, _| x < 4);
        let decided = given(drawn.clone());
        assert_eq!((decided.bitmap, decided.score), (drawn, 0.0));
        assert!(decided.object_score_logit > 0.0, "it is there all the same");
    }
}

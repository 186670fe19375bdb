//! Which masks are older than the points they should follow.
//!
//! A prompted or accepted mask follows the prompts of its frame. A propagated one follows those
//! of its span: from the accepted frame before it to the one behind it, both included, since
//! accepted frames are barriers. Of each mask it is known which prompts it was made from, so that
//! undoing a point also makes the masks valid again that it had outdated, and that accepting a frame
//! outdates nothing. That comes of the steps of the journal alone ([`MaskOrigins`]): a clip that is
//! opened again says the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    Agreement, Annotation, FrameIndex, Mask, MaskOrigins, MaskSource, Step, Track, TrackId,
};

/// Which masks are out of date, by track.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    origins: MaskOrigins,
    tracks: BTreeMap<TrackId, TrackMarks>,
}

#[derive(Clone, Debug, Default)]
struct TrackMarks {
    /// The frames whose mask a person accepted, when the whole track was looked at.
    barriers: Vec<FrameIndex>,
    stale: BTreeSet<FrameIndex>,
    looks: usize,
}

impl Marks {
    /// Of a clip whose masks have these origins. A track of which those tell nothing counts as new.
    #[must_use]
    pub fn of(annotation: &Annotation, origins: MaskOrigins) -> Self {
        let mut marks = Self { origins, tracks: BTreeMap::new() };
        annotation.tracks.iter().for_each(|(id, track)| marks.learn(*id, track));
        marks
    }

    /// Notes a step that was applied and is journaled. The frames that it changes have to be looked at again:
    /// [`learn`](Self::learn), [`learn_frame`](Self::learn_frame).
    pub fn note(&mut self, step: &Step) {
        self.origins.note(step.mark, step.made_from, &step.edits);
    }

    /// Takes over the `origins` as all sessions together say. Their tracks have to be looked at again.
    pub fn follow(&mut self, origins: MaskOrigins) {
        self.origins.replace(origins);
    }

    /// Looks at every frame of a track again: prompts or accepted frames changed, or it is new.
    pub fn learn(&mut self, id: TrackId, track: &Track) {
        self.origins.know(id, track);
        let marks = self.tracks.entry(id).or_default();
        marks.barriers = track.barriers();
        marks.stale.clear();
        self.look(id, track, track.masks.keys().copied());
    }

    /// Looks at one frame again whose mask changed, and nothing else since [`learn`](Self::learn).
    pub fn learn_frame(&mut self, id: TrackId, track: &Track, frame: FrameIndex) {
        self.look(id, track, [frame]);
    }

    fn look(&mut self, id: TrackId, track: &Track, frames: impl IntoIterator<Item = FrameIndex>) {
        let Some(origins) = self.origins.of(id) else { return };
        let marks = self.tracks.entry(id).or_default();
        let now = origins.now();
        let mut agreement = Agreement::with(&now);
        for frame in frames {
            marks.looks += 1;
            let span = Track::span_between(&marks.barriers, frame);
            let held = track.masks.get(&frame);
            if held.is_some_and(|held| origins.is_older(frame, held, span, &mut agreement)) {
                marks.stale.insert(frame);
            } else {
                marks.stale.remove(&frame);
            }
        }
    }

    /// How many masks of a track were looked at so far, each as often as it was: what tests count.
    #[must_use]
    pub fn looks(&self, id: TrackId) -> usize {
        self.tracks.get(&id).map_or(0, |marks| marks.looks)
    }

    /// Who made `mask` of a frame, and its score then; `None` where only points of the frame did, or nothing is known of it.
    #[must_use]
    pub fn made_by(
        &self,
        id: TrackId,
        frame: FrameIndex,
        mask: &Mask,
    ) -> Option<(MaskSource, f32)> {
        self.origins.of(id)?.made_by(frame, mask)
    }

    /// Forgets which masks of a track are stale that is gone.
    pub fn forget(&mut self, id: TrackId) {
        if let Some(marks) = self.tracks.get_mut(&id) {
            marks.stale.clear();
        }
    }

    /// Whether the mask of a frame is older than the points.
    #[must_use]
    pub fn is_stale(&self, id: TrackId, frame: FrameIndex) -> bool {
        self.stale(id).is_some_and(|stale| stale.contains(&frame))
    }

    /// All stale frames of a track.
    #[must_use]
    pub fn stale(&self, id: TrackId) -> Option<&BTreeSet<FrameIndex>> {
        self.tracks.get(&id).map(|marks| &marks.stale)
    }
}

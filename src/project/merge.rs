//! From many journals to one annotation: the same whatever the order in which they were read.
//!
//! Steps are ordered by (Lamport time, session, position) and each edit is fitted to the state it
//! meets ([`Edit::rebased`]): a person's mask is never replaced by a network's that did not know
//! of it, and what another annotator removed is not edited any more. The journals keep it all.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::domain::{
    Annotation, Edit, FrameIndex, FrameMask, MaskOrigins, MaskSource, PlacedPrompt, Step, Track,
    TrackId, shown,
};

/// The newest steps stay in memory, so that a step of another session can still be put in its
/// place; twice as many are held before the older half is folded. More stay where one came later than that.
const TAIL: usize = 2048;

/// A step and its place in the order of all sessions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Lamport time.
    pub(super) lam: u64,
    /// Session that wrote it.
    pub(super) session: Arc<str>,
    /// Position within the session.
    pub(super) n: u64,
    /// When, ms since 1970 by the annotator's clock: for people alone, no order comes of it.
    pub(super) t: u64,
    /// What it does.
    pub(super) step: Step,
}

impl Entry {
    fn order(&self, other: &Self) -> Ordering {
        let this = (self.lam, &self.session, self.n);
        this.cmp(&(other.lam, &other.session, other.n))
    }
}

/// All steps known so far, and the state they make.
#[derive(Debug, Default)]
pub(super) struct Merged {
    base: Annotation,
    /// What the masks were made from, as far as `base` goes.
    origins: MaskOrigins,
    /// The newest entry inside `base`; nothing may be put before it.
    folded: Option<Entry>,
    tail: Vec<Entry>,
    /// How many of the newest stay in `tail`, at least.
    reach: usize,
    now: Annotation,
}

/// What other sessions did.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// The edits that bring the annotation up to date, each exact for the state it meets.
    pub edits: Vec<Edit>,
    /// What the masks of the structures that they concern were made from, as all journals together tell it: where steps of
    /// others took their places before own ones it is not what was known before. Also where no edit is left.
    pub origins: MaskOrigins,
}

/// One of these steps belongs before what was already folded: everything has to be read again.
#[derive(Debug)]
pub(super) struct TooOld(pub(super) Vec<Entry>);

impl Merged {
    /// Replays `entries`, given in any order. `visit` sees each with the edits that took effect
    /// and the state before them. Also tells what the masks were made from. Who wrote `late` is that far behind and may
    /// stay so: what comes after it stays in memory, and as much again before, so that not everything is read again for
    /// each of their steps.
    pub(super) fn replay(
        mut entries: Vec<Entry>,
        late: Option<&Entry>,
        mut visit: impl FnMut(&Entry, &[Edit]),
    ) -> (Self, MaskOrigins) {
        entries.sort_by(Entry::order);
        let behind = late.map_or(0, |late| {
            let before = entries.partition_point(|entry| entry.order(late) == Ordering::Less);
            entries.len() - before
        });
        let mut merged = Self { reach: TAIL.max(2 * behind), ..Self::default() };
        merged.tail = entries.split_off(entries.len().saturating_sub(merged.reach));
        // Given back one by one: of what is folded only the state is needed.
        for entry in entries {
            let effect = apply(&mut merged.now, &entry.step);
            visit(&entry, &effect);
            note(&mut merged.origins, &entry.step, &effect);
            merged.folded = Some(entry);
        }
        merged.base = merged.now.clone();
        let mut origins = merged.origins.clone();
        for entry in &merged.tail {
            let effect = apply(&mut merged.now, &entry.step);
            visit(entry, &effect);
            note(&mut origins, &entry.step, &effect);
        }
        (merged, origins)
    }

    /// The state.
    pub(super) fn now(&self) -> &Annotation {
        &self.now
    }

    /// Adds a step that is newer than all known ones (an own one).
    pub(super) fn push(&mut self, entry: Entry) {
        apply(&mut self.now, &entry.step);
        self.tail.push(entry);
        self.fold();
    }

    /// Puts steps of other sessions in their places. Returns the edits that turn the state before
    /// into the state after.
    pub(super) fn insert(&mut self, mut new: Vec<Entry>) -> Result<Others, TooOld> {
        new.sort_by(Entry::order);
        let Some(first) = new.first() else {
            return Ok(Others::default());
        };
        let too_old = |folded: &Entry| first.order(folded) != Ordering::Greater;
        if self.folded.as_ref().is_some_and(too_old) {
            return Err(TooOld(new));
        }
        let touched: Touched =
            new.iter().flat_map(|entry| &entry.step.edits).map(Edit::track).collect();
        if self.tail.last().is_none_or(|last| first.order(last) == Ordering::Greater) {
            let edits = new.iter().flat_map(|entry| apply(&mut self.now, &entry.step)).collect();
            self.tail.extend(new);
            let (_, origins) = self.replayed(&touched);
            self.fold();
            return Ok(Others { edits, origins });
        }
        self.tail.extend(new);
        self.tail.sort_by(Entry::order);
        let (after, origins) = self.replayed(&touched);
        let edits = difference(&part(&self.now, &touched), &after);
        self.now.tracks.retain(|id, _| !touched.contains(&Some(*id)));
        self.now.tracks.extend(after.tracks);
        if touched.contains(&None) {
            self.now.places = after.places;
        }
        self.fold();
        Ok(Others { edits, origins })
    }

    /// What all steps together make of `touched`, and what the masks of these were made from. No edit looks at another
    /// structure than its own: all others stay as they are.
    fn replayed(&self, touched: &Touched) -> (Annotation, MaskOrigins) {
        let mut after = part(&self.base, touched);
        let mut origins = self.origins.only(touched.iter().copied().flatten());
        for entry in &self.tail {
            let edits = entry.step.edits.iter().filter(|edit| touched.contains(&edit.track()));
            let effect: Vec<Edit> = edits.filter_map(|edit| take(&mut after, edit)).collect();
            note(&mut origins, &entry.step, &effect);
        }
        (after, origins)
    }

    fn fold(&mut self) {
        let reach = self.reach.max(TAIL);
        if self.tail.len() < 2 * reach {
            return;
        }
        let older = self.tail.len() - reach;
        for entry in self.tail.drain(..older) {
            let effect = apply(&mut self.base, &entry.step);
            note(&mut self.origins, &entry.step, &effect);
            self.folded = Some(entry);
        }
    }
}

/// Structures that steps concern; none stands for the clip's places.
type Touched = BTreeSet<Option<TrackId>>;

/// What of an annotation `touched` names.
fn part(of: &Annotation, touched: &Touched) -> Annotation {
    let held = |id: &TrackId| Some((*id, of.tracks.get(id)?.clone()));
    let mut part = Annotation::default();
    part.tracks.extend(touched.iter().flatten().filter_map(held));
    if touched.contains(&None) {
        part.places.clone_from(&of.places);
    }
    part
}

/// Notes what the masks of `step` were made from, of which `effect` took effect.
fn note(origins: &mut MaskOrigins, step: &Step, effect: &[Edit]) {
    origins.note(step.mark, step.made_from, effect);
}

/// Applies what of `step` still fits; returns the edits that took effect.
fn apply(now: &mut Annotation, step: &Step) -> Vec<Edit> {
    step.edits.iter().filter_map(|edit| take(now, edit)).collect()
}

/// Applies `edit` where it still fits; returns it as it took effect.
fn take(now: &mut Annotation, edit: &Edit) -> Option<Edit> {
    let edit = edit.rebased(now)?;
    now.apply(&edit).is_ok().then_some(edit)
}

/// What one person did without having seen what another did, in words; a number by which it is known in every session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Known by the step, the structure and the words.
    pub id: u64,
    /// Ready to show.
    pub note: String,
}

impl Conflict {
    fn new(entry: &Entry, track: TrackId, note: String) -> Self {
        let named = format!("{} {} {} {note}", entry.session, entry.n, track.0);
        let digest = Sha256::digest(named.as_bytes());
        let id = digest.iter().take(8).fold(0, |id, &byte| (id << 8) | u64::from(byte));
        Self { id, note }
    }
}

/// Who decided which mask, to name everything of a person that another person replaced or took away
/// without having seen it.
#[derive(Debug, Default)]
pub(super) struct Authors(HashMap<(TrackId, FrameIndex), String>);

impl Authors {
    /// Notes what `user` did; returns what there is to tell.
    pub(super) fn note(&mut self, entry: &Entry, effect: &[Edit], user: &str) -> Vec<Conflict> {
        // What took effect stands in the order in which it was asked for.
        let mut asked = entry.step.edits.iter();
        let told = effect.iter().filter_map(|edit| {
            let note = match edit {
                Edit::SetMask { .. } => {
                    self.replaced(asked.find(|asked| is_same_mask(asked, edit)), edit, user)
                }
                Edit::RemoveTrack { track, content } => removed(&entry.step, *track, content, user),
                _ => None,
            };
            Some(Conflict::new(entry, edit.track()?, note?))
        });
        told.collect()
    }

    /// What there is to tell of a mask that `user` set or took away, who had `asked` for that.
    fn replaced(&mut self, asked: Option<&Edit>, edit: &Edit, user: &str) -> Option<String> {
        let Edit::SetMask { track, frame, before: met, after } = edit else {
            return None;
        };
        let seen = asked.and_then(|asked| match asked {
            Edit::SetMask { before, .. } => Some(before),
            _ => None,
        });
        let earlier = self.0.insert((*track, *frame), user.to_owned());
        let earlier = earlier.filter(|earlier| earlier != user)?;
        if seen == Some(met) || !by_person(met) {
            return None;
        }
        let (frame, earlier, user) = (frame.saturating_add(1), shown(&earlier), shown(user));
        let end = match after {
            Some(_) => format!("the one of {user} is shown"),
            None => format!("{user} took it away"),
        };
        Some(format!(
            "frame {frame}: {earlier} and {user} decided the same mask at the same time; {end}, \
             both are kept in the project"
        ))
    }
}

/// Whether two edits set the mask of one frame to the same.
fn is_same_mask(one: &Edit, other: &Edit) -> bool {
    match (one, other) {
        (
            Edit::SetMask { track, frame, after, .. },
            Edit::SetMask { track: other_track, frame: other_frame, after: other_after, .. },
        ) => (track, frame, after) == (other_track, other_frame, other_after),
        _ => false,
    }
}

/// What there is to tell of a structure that `user` removed, which held `met` by then.
fn removed(step: &Step, track: TrackId, met: &Track, user: &str) -> Option<String> {
    let unseen = step.edits.iter().any(|asked| match asked {
        Edit::RemoveTrack { track: t, content } => *t == track && content != met,
        _ => false,
    });
    unseen.then(|| {
        let (user, label) = (shown(user), shown(&met.info.label));
        format!(
            "{user} removed the structure {label} while somebody else changed it; what it held is \
             kept in the project"
        )
    })
}

fn by_person(mask: &Option<FrameMask>) -> bool {
    mask.as_ref().is_some_and(|mask| mask.source != MaskSource::Tracked)
}

/// The edits that turn `from` into `to`.
pub fn difference(from: &Annotation, to: &Annotation) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (&track, content) in &from.tracks {
        if !to.tracks.contains_key(&track) {
            edits.push(Edit::RemoveTrack { track, content: content.clone() });
        }
    }
    for (&track, wanted) in &to.tracks {
        match from.tracks.get(&track) {
            None => edits.push(Edit::AddTrack { track, content: wanted.clone() }),
            Some(held) if held != wanted => track_difference(track, held, wanted, &mut edits),
            Some(_) => {}
        }
    }
    for &letter in from.places.keys().chain(to.places.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (from.places.get(&letter).copied(), to.places.get(&letter).copied());
        if before != after {
            edits.push(Edit::SetPlace { letter, before, after });
        }
    }
    edits
}

fn track_difference(track: TrackId, held: &Track, wanted: &Track, edits: &mut Vec<Edit>) {
    if held.info != wanted.info {
        let (before, after) = (held.info.clone(), wanted.info.clone());
        edits.push(Edit::SetTrackInfo { track, before, after });
    }
    if held.windows != wanted.windows {
        let (before, after) = (held.windows.clone(), wanted.windows.clone());
        edits.push(Edit::SetWindows { track, before, after });
    }
    let frames: BTreeSet<_> = held.prompts.keys().chain(wanted.prompts.keys()).copied().collect();
    for frame in frames {
        let list = |of: &Track| of.prompts.get(&frame).cloned().unwrap_or_default();
        prompt_difference(track, frame, list(held), &list(wanted), edits);
    }
    let frames: BTreeSet<_> = held.masks.keys().chain(wanted.masks.keys()).copied().collect();
    for frame in frames {
        let (before, after) = (held.masks.get(&frame), wanted.masks.get(&frame));
        if before != after {
            let (before, after) = (before.cloned(), after.cloned());
            edits.push(Edit::SetMask { track, frame, before, after });
        }
    }
    attribute_difference(track, held, wanted, edits);
    for &frame in held.flags.symmetric_difference(&wanted.flags) {
        let before = held.flags.contains(&frame);
        edits.push(Edit::SetFlag { track, frame, before, after: !before });
    }
}

fn attribute_difference(track: TrackId, held: &Track, wanted: &Track, edits: &mut Vec<Edit>) {
    let places = |of: &Track| -> BTreeSet<(Option<FrameIndex>, String)> {
        let whole = of.attributes.keys().map(|name| (None, name.clone()));
        let frames = of.frame_attributes.iter();
        let frames = frames.flat_map(|(&f, all)| all.keys().map(move |n| (Some(f), n.clone())));
        whole.chain(frames).collect()
    };
    for (frame, name) in places(held).union(&places(wanted)) {
        let value = |of: &Track| of.attribute(*frame, name).map(str::to_owned);
        let (before, after) = (value(held), value(wanted));
        if before != after {
            edits.push(Edit::SetAttribute {
                track,
                frame: *frame,
                name: name.clone(),
                before,
                after,
            });
        }
    }
}

fn prompt_difference(
    track: TrackId,
    frame: FrameIndex,
    mut list: Vec<PlacedPrompt>,
    wanted: &[PlacedPrompt],
    edits: &mut Vec<Edit>,
) {
    for (at, placed) in wanted.iter().enumerate() {
        if list.get(at) == Some(placed) {
            continue;
        }
        if let Some(held) = list.get_mut(at).filter(|held| held.id == placed.id) {
            let (before, after) = (held.prompt.clone(), placed.prompt.clone());
            edits.push(Edit::MovePrompt { track, frame, id: placed.id, before, after });
            held.prompt = placed.prompt.clone();
            continue;
        }
        if let Some(later) = list.iter().position(|held| held.id == placed.id) {
            let moved = list.remove(later);
            edits.push(Edit::RemovePrompt { track, frame, at: later, placed: moved });
        }
        list.insert(at, placed.clone());
        edits.push(Edit::AddPrompt { track, frame, at, placed: placed.clone() });
    }
    while list.len() > wanted.len() {
        let at = list.len() - 1;
        edits.push(Edit::RemovePrompt { track, frame, at, placed: list.remove(at) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bitmap, Mark};

    #[test]
    fn what_somebody_took_away_without_having_seen_it_is_named() {
        let track = TrackId(1);
        let mask = |side: u32| {
            let mask = Bitmap::from_fn(8, 8, |x, y| x < side && y < side).to_mask();
            Some(FrameMask { mask, source: MaskSource::Accepted, score: 1.0 })
        };
        let content = Track::new("nerve", 0);
        let set = |before, after| Edit::SetMask { track, frame: 4, before, after };
        let edits = [
            ("anna", 1, Edit::AddTrack { track, content: content.clone() }),
            ("anna", 2, set(None, mask(2))),
            // Ben has seen the first mask alone.
            ("anna", 3, set(mask(2), mask(3))),
            ("ben", 3, set(mask(2), None)),
            ("anna", 4, set(None, mask(4))),
            ("ben", 4, Edit::RemoveTrack { track, content }),
        ];
        let entry = |(n, (user, lam, edit)): (usize, (&str, u64, Edit))| {
            let step = Step { group: 0, mark: Mark::Do, edits: vec![edit], made_from: None };
            Entry { lam, session: user.into(), n: n as u64, t: 0, step }
        };
        let entries = edits.into_iter().enumerate().map(entry).collect();
        let (mut authors, mut notes) = (Authors::default(), Vec::new());
        let (merged, _) = Merged::replay(entries, None, |entry, effect| {
            let told = authors.note(entry, effect, &entry.session);
            notes.extend(told.into_iter().map(|conflict| conflict.note));
        });
        assert!(merged.now().tracks.is_empty());
        assert_eq!(
            notes,
            [
                "frame 5: anna and ben decided the same mask at the same time; ben took it away, \
                 both are kept in the project",
                "ben removed the structure nerve while somebody else changed it; what it held is \
                 kept in the project",
            ]
        );
    }
}

//! The queue of clips: the next, the one before, the next that is not finished.

use crate::domain::{Cut, PointPx};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model, Saved};

/// Opens the clip so many places further on.
pub(super) fn step(model: &mut Model, fx: &mut Vec<Effect>, by: isize) {
    let to = model.at.checked_add_signed(by).filter(|&to| to < model.queue.len());
    match to {
        None => model.say(if by > 0 { "this is the last clip" } else { "this is the first clip" }),
        Some(to) if may_leave(model) => open(model, fx, to, model.queue[to].cut),
        Some(_) => {}
    }
}

fn open(model: &mut Model, fx: &mut Vec<Effect>, to: usize, cut: Cut) {
    fx.push(Effect::JournalView(model.view()));
    fx.push(Effect::OpenClip(to, cut));
    model.opening = Some((to, cut));
}

/// Opens another part of the volume at hand.
pub(super) fn cut(model: &mut Model, fx: &mut Vec<Effect>, asked: Cut) {
    let Some(clip) = model.queue.get(model.at) else {
        let flags = "--axis, --slice and --time to the command";
        return model.warn(format!("a script keeps its clip as it was opened; give {flags}"));
    };
    let cut = clip.cut.then(asked);
    if may_leave(model) {
        open(model, fx, model.at, cut);
    }
}

/// Goes to the place of the cursor in another part of the same volume, where the file tells how both lie.
pub(super) fn keep_place(model: &mut Model, from: &Model) {
    let (Some(old), Some(new)) = (from.clip.placement, model.clip.placement) else { return };
    let Some(way) = old.grid_in(&new) else { return };
    // Frames of a slice over time all lie in one place.
    let depth = if from.clip.is_plane_over_time() { 0 } else { from.frame };
    let at = way.voxel([from.cursor.x as usize, from.cursor.y as usize, depth]);
    let [x, y, frame] = at.map(|i| usize::try_from(i).unwrap_or(0));
    model.cursor = model.inside_image(PointPx::new(x as f32 + 0.5, y as f32 + 0.5));
    if !model.clip.is_plane_over_time() {
        model.frame = frame.min(model.clip.frames - 1);
    } else if from.clip.is_plane_over_time() {
        model.frame = from.frame.min(model.clip.frames - 1);
    }
}

/// Calls the clip finished and opens the next one that is not. What is still open is told first;
/// again finishes all the same.
pub(super) fn finish(model: &mut Model, fx: &mut Vec<Effect>) {
    if !model.leave_asked
        && let Some(open) = still_open(model)
    {
        model.leave_asked = true;
        return model.warn(format!("not finished: {open}; again finishes all the same"));
    }
    if !may_leave(model) {
        return;
    }
    model.finished = true;
    if let Some(clip) = model.queue.get_mut(model.at) {
        clip.finished = true;
    }
    let count = model.queue.len();
    let mut after = (1..count).map(|by| (model.at + by) % count);
    match after.find(|&at| !model.queue[at].finished) {
        Some(to) => open(model, fx, to, model.queue[to].cut),
        None => {
            let view = model.view();
            fx.push(Effect::JournalView(view));
            model.noted_view = Some(view);
            model.say(match count {
                0 | 1 => format!("finished; {} leaves", model.key(Action::Quit)),
                _ => format!(
                    "finished, as are all {count} clips; {} leaves",
                    model.key(Action::Quit)
                ),
            });
        }
    }
}

/// What of the clip a person has not decided.
fn still_open(model: &Model) -> Option<String> {
    let (mut bare, mut stale, mut doubtful) = (0, 0, 0);
    for (id, track) in &model.annotation.tracks {
        let windows = track.windows.iter().flat_map(|w| w.first..=w.last);
        bare += windows.filter(|frame| !track.masks.contains_key(frame)).count();
        for frame in track.masks.keys().filter(|&&frame| track.visible(frame)) {
            stale += usize::from(model.marks.is_stale(*id, *frame));
            doubtful += usize::from(track.flags.contains(frame));
        }
    }
    let unsaid = unsaid(model);
    let parts = [
        (model.annotation.tracks.is_empty(), "no structure".to_owned()),
        (bare > 0, format!("{bare} frames in windows without a mask")),
        (
            stale > 0,
            format!("{stale} masks older than their points ({})", model.key(Action::NextStale)),
        ),
        (doubtful > 0, format!("{doubtful} frames flagged ({})", model.key(Action::WorstFrame))),
        (unsaid.is_some(), unsaid.unwrap_or_default()),
    ];
    let told: Vec<String> = parts.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// An attribute of a whole structure that the schema asks for and nobody set.
fn unsaid(model: &Model) -> Option<String> {
    use crate::config::schema::Of;
    model.annotation.tracks.values().find_map(|track| {
        let mut asked = model.schema.attributes_of(&track.info.label);
        let open = asked.find(|a| a.of == Of::Track && track.attribute(None, &a.name).is_none())?;
        let (name, label) = (&open.name, &track.info.label);
        Some(format!("{} of {} not set", crate::domain::shown(name), crate::domain::shown(label)))
    })
}

/// Whether leaving this clip loses nothing, or the person asked twice.
pub(super) fn may_leave(model: &mut Model) -> bool {
    if model.leave_asked {
        return true;
    }
    if let Saved::Failed(why) = &model.saved {
        let sentence =
            format!("the newest edits are NOT saved ({why}); again leaves and loses them");
        model.warn(sentence);
        model.leave_asked = true;
        return false;
    }
    if model.propagating() {
        model
            .warn("a propagation is running; again leaves and stops it (what is decided is saved)");
        model.leave_asked = true;
        return false;
    }
    true
}

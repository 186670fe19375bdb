//! What comes into a watched folder.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use crate::domain::shown;
use crate::tui::model::{Effect, Model, Queued};

use super::queue::{cause, open};

/// So many of the things that are refused at once are told one by one.
const REFUSED: usize = 5;

/// Clips came into the watched folder, or other contents in the place of ones that are known. Told in one sentence for all
/// that are alike: there may be a hundred thousand, and what else was said must not be lost among them.
pub(super) fn arrived(model: &mut Model, fx: &mut Vec<Effect>, paths: Vec<PathBuf>) {
    // One look through the queue for all of them: one for each would take their square.
    let came: HashSet<&OsStr> = paths.iter().map(|path| path.as_os_str()).collect();
    let places = model.queue.iter().enumerate();
    let places = places.filter(|(_, clip)| came.contains(clip.path.as_os_str()));
    let mut known = HashMap::new();
    for (at, clip) in places {
        known.entry(clip.path.clone()).or_insert(at);
    }
    let (mut new, mut changed) = (Vec::new(), BTreeSet::new());
    for path in paths {
        match known.get(&path) {
            Some(&at) => {
                changed.insert(at);
            }
            None => {
                let at = model.queue.len();
                known.insert(path.clone(), at);
                new.push(at);
                model.queue.push(Queued::new(path));
            }
        }
    }
    match new[..] {
        [] => {}
        [at] => {
            let name = shown(&model.queue[at].name);
            model.say(format!("{name} arrived; it waits in the queue"));
        }
        _ => model.say(format!("{} clips arrived; they wait in the queue", new.len())),
    }
    has_changed(model, fx, &changed);
}

/// Other contents came in the place of these clips of the queue.
fn has_changed(model: &mut Model, fx: &mut Vec<Effect>, changed: &BTreeSet<usize>) {
    for &at in changed {
        let clip = &mut model.queue[at];
        (clip.finished, clip.changed) = (false, true);
    }
    // What concerns the person now is told last, and stands there.
    let opening = model.opening.map(|opening| opening.at);
    let (now, waiting): (Vec<usize>, Vec<usize>) =
        changed.iter().copied().partition(|&at| at == model.at || opening == Some(at));
    match waiting[..] {
        [] => {}
        [at] => tell_changed(model, fx, at),
        _ => {
            let count = waiting.len();
            model.say(format!("{count} clips have changed on the disk; they wait in their places"));
        }
    }
    now.into_iter().for_each(|at| tell_changed(model, fx, at));
}

fn tell_changed(model: &mut Model, fx: &mut Vec<Effect>, at: usize) {
    let (name_shown, number) = (shown(&model.queue[at].name), at + 1);
    if let Some(opening) = model.opening.filter(|opening| opening.at == at) {
        // What is being read of it is old, or half of each.
        let seeking = model.seeking;
        open(model, fx, at, opening.cut);
        model.seeking = seeking;
        model.say(format!("{name_shown} has changed on the disk and is opened anew"));
    } else if at == model.at {
        model.warn(format!("{name_shown} has changed on the disk; :clip {number} opens it again"));
    } else {
        model.say(format!("{name_shown} has changed on the disk; it waits as clip {number}"));
    }
}

/// Things came into the watched folder that are no clips: the first ones are told one by one.
pub(super) fn refused(model: &mut Model, refused: &[(PathBuf, String)]) {
    if let Some(more) = refused.len().checked_sub(REFUSED).filter(|more| *more > 0) {
        let them = if more == 1 { "file was" } else { "files were" };
        model.note(format!(
            "{more} more {them} refused; `sonomark watch --headless` tells of each one why"
        ));
    }
    for (path, why) in refused.iter().take(REFUSED) {
        let why = cause(path, why);
        model.warn(format!("{} refused: {why}", shown(&path.display().to_string())));
    }
}

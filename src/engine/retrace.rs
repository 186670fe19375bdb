//! Region points, one after the other, as the network learned them.
//!
//! What decides whether this file is right: each point meets the answer that it corrects, so the last answer depends on the
//! points alone, whether they came one by one or from a project.

use crate::domain::{FrameIndex, FramePrompts};
use crate::net::predict::{Answer, Predictor, Shown, View};
use crate::net::sam2::Sam2;

/// What a frame showed after region points: the next point corrects it in one pass.
pub(super) struct Retraced {
    frame: FrameIndex,
    prompts: FramePrompts,
    answer: Answer,
}

/// The answer to region points, given one after the other (the box first) as the network learned them: each meets the
/// answer that it corrects. What is `held` of the same points is not asked again.
pub(super) fn retrace(
    sam: &Sam2,
    held: &mut Option<Retraced>,
    frame: FrameIndex,
    view: View<'_>,
    prompts: &FramePrompts,
) -> Result<Answer, String> {
    let begins = |held: &Retraced| {
        let (before, now) = (&held.prompts, prompts);
        held.frame == frame
            && before.bounding_box == now.bounding_box
            && now.points.starts_with(&before.points)
    };
    let first = usize::from(prompts.bounding_box.is_none());
    let (next, mut answer) = match held.take().filter(begins) {
        Some(held) => (held.prompts.points.len() + 1, Some(held.answer)),
        None => (first, None),
    };
    let predictor = Predictor::new(sam);
    for count in next..=prompts.points.len() {
        let part = FramePrompts { points: prompts.points[..count].to_vec(), ..prompts.clone() };
        answer = Some(predictor.correct(view, &part, answer.as_ref().map(Shown::Answer))?);
    }
    let answer = match answer {
        Some(answer) => answer,
        None => predictor.predict(view, prompts)?,
    };
    *held = Some(Retraced { frame, prompts: prompts.clone(), answer: answer.clone() });
    Ok(answer)
}

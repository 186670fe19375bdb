//! Actions and commands to what does them: one table, no work of its own.

use std::path::PathBuf;

use crate::domain::{PointKind, TrackInfo, shown};
use crate::engine::Span;
use crate::tui::action::{Action, Group};
use crate::tui::command::{COLOURS, Command, LinkAsked};
use crate::tui::line::Line;
use crate::tui::model::{Effect, HelpPage, Mode, Model, Saved};
use crate::tui::tools::Beside;

use super::motion::{self, Way};
use super::{
    batch, edits, keys, labels, language, look, masks, network, overlay, prompts, questions, queue,
    ranges, rays, region, review, strip, tracks, windows,
};

/// Does `action`, `count` times or by `count` where that makes sense.
pub(super) fn act(model: &mut Model, fx: &mut Vec<Effect>, action: Action, count: Option<u32>) {
    use Action as A;
    let n = count.unwrap_or(1);
    let from = model.cursor;
    if acts_on_many(action, n) {
        batch::finish(model, fx);
    }
    match action {
        A::CursorLeft => motion::cursor(model, Way::Left, n as f32),
        A::CursorDown => motion::cursor(model, Way::Down, n as f32),
        A::CursorUp => motion::cursor(model, Way::Up, n as f32),
        A::CursorRight => motion::cursor(model, Way::Right, n as f32),
        A::CursorFarLeft => motion::cursor(model, Way::Left, 8.0 * n as f32),
        A::CursorFarDown => motion::cursor(model, Way::Down, 8.0 * n as f32),
        A::CursorFarUp => motion::cursor(model, Way::Up, 8.0 * n as f32),
        A::CursorFarRight => motion::cursor(model, Way::Right, 8.0 * n as f32),
        A::CursorCellLeft => motion::cursor_cells(model, Way::Left, n),
        A::CursorCellDown => motion::cursor_cells(model, Way::Down, n),
        A::CursorCellUp => motion::cursor_cells(model, Way::Up, n),
        A::CursorCellRight => motion::cursor_cells(model, Way::Right, n),
        A::CursorCentre => motion::cursor_to_centre(model),
        A::AddBoundary => prompts::add_point(model, fx, PointKind::Boundary),
        A::AddInside => prompts::add_point(model, fx, PointKind::Inside),
        A::AddOutside => prompts::add_point(model, fx, PointKind::Outside),
        A::AddBox => prompts::add_corner(model, fx),
        A::ChooseNext => prompts::choose(model, n as isize),
        A::ChoosePrevious => prompts::choose(model, -(n as isize)),
        A::NudgeLeft => prompts::nudge(model, fx, Way::Left, n as f32),
        A::NudgeDown => prompts::nudge(model, fx, Way::Down, n as f32),
        A::NudgeUp => prompts::nudge(model, fx, Way::Up, n as f32),
        A::NudgeRight => prompts::nudge(model, fx, Way::Right, n as f32),
        A::DeletePoint => prompts::delete(model, fx),
        A::ClearPoints => prompts::clear(model, fx),
        A::AcceptFrame => prompts::accept(model, fx, n as usize),
        A::DiscardMask => prompts::discard(model, fx),
        A::Undo => edits::travel(model, fx, true, n),
        A::Redo => edits::travel(model, fx, false, n),
        A::WindowStart => windows::start(model, fx),
        A::WindowEnd => windows::end(model, fx),
        A::WindowNew => windows::new(model, fx),
        A::WindowClear => windows::clear(model, fx),
        A::WindowsClear => windows::clear_all(model, fx),
        A::WindowBisect => questions::begin(model, fx),
        A::Refresh => network::refresh(model, fx),
        A::PropagateBoth => network::propagate(model, fx, Span::Both),
        A::PropagateAll => network::propagate_all(model, fx),
        A::PropagateForward => network::propagate(model, fx, Span::Forward),
        A::PropagateBackward => network::propagate(model, fx, Span::Backward),
        A::PropagateWindow => network::propagate(model, fx, Span::ThisWindow),
        A::PropagateAnew => network::propagate_anew(model, fx),
        A::PropagateCheck => network::check(model, fx),
        A::Cancel => cancel(model, fx),
        _ if action.group() == Group::Rays => rays::act(model, fx, action),
        _ if action.group() == Group::Masks => masks::act(model, fx, action, count),
        _ if action.group() == Group::Windows => questions::act(model, fx, action),
        A::RepeatCorrection => review::act(model, fx, action, count),
        _ if action.group() == Group::Review => review::act(model, fx, action, count),
        _ if action.group() == Group::Language => language::act(model, fx, action, count),
        _ if action.group() == Group::Frames => frames(model, fx, action, count),
        _ if action.group() == Group::Tracks => structure(model, fx, action, n),
        _ if action.group() == Group::View => picture(model, fx, action, n),
        _ if action.group() == Group::Dialogs => keys::dialog(model, fx, action),
        _ => program(model, fx, action, n),
    }
    if action.group() == Group::Cursor {
        masks::stroke(model, fx, from);
    }
}

fn frames(model: &mut Model, fx: &mut Vec<Effect>, action: Action, count: Option<u32>) {
    let n = count.unwrap_or(1) as isize;
    let jump = count.map_or(10, |count| count as isize);
    match action {
        Action::NextFrame => motion::step(model, fx, n),
        Action::PreviousFrame => motion::step(model, fx, -n),
        Action::JumpForward => motion::step(model, fx, jump),
        Action::JumpBackward => motion::step(model, fx, -jump),
        Action::FirstFrame => motion::go_to(model, fx, 0),
        Action::LastFrame => {
            let frame = count.map_or(usize::MAX, |count| (count as usize).saturating_sub(1));
            motion::go_to(model, fx, frame);
        }
        Action::NextAnchor => motion::anchor(model, fx, n),
        Action::PreviousAnchor => motion::anchor(model, fx, -n),
        Action::MiddleFrame => motion::middle(model, fx),
        Action::NextStale => motion::next_stale(model, fx),
        Action::NextMissing => motion::next_missing(model, fx),
        Action::PlayPause => motion::play_pause(model),
        Action::PlayFaster => motion::faster(model, true),
        Action::PlaySlower => motion::faster(model, false),
        _ => {}
    }
}

fn structure(model: &mut Model, fx: &mut Vec<Effect>, action: Action, n: u32) {
    match action {
        Action::NewTrack => tracks::new(model, fx, None),
        Action::NextTrack => tracks::next(model, n as isize),
        Action::PreviousTrack => tracks::next(model, -(n as isize)),
        Action::RenameTrack => {
            let Some((_, track)) = model.current() else { return tracks::say_none(model) };
            let told = format!("a new name for {}", shown(&track.info.label));
            keys::open_line(model, "rename ");
            model.say_passing(told);
        }
        Action::RecolourTrack => tracks::set_info(model, fx, |info| TrackInfo {
            colour: info.colour.wrapping_add(n as u8) % COLOURS,
            ..info
        }),
        Action::HideTrack => tracks::hide(model),
        Action::DeleteTrack => tracks::delete(model, fx),
        Action::ChooseLabel | Action::SetLabel | Action::SetAttribute => labels::act(model, action),
        _ => {}
    }
}

/// A path as a shell would take it: `~/` is the person's own folder.
pub(super) fn at_home(path: String) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path.into(),
    }
}

/// One end of a distance, the other, or neither any more.
fn caliper(model: &mut Model) {
    let at = model.cursor;
    model.tools.caliper = match model.tools.caliper {
        None => {
            model.say("first end of the distance; go to the other one and press again");
            Some((at, None))
        }
        Some((from, None)) => {
            let sentence = format!("distance {}", model.distance(from, at));
            model.say(sentence);
            Some((from, Some(at)))
        }
        Some((_, Some(_))) => {
            model.say("no distance any more");
            None
        }
    };
}

/// The frame at hand is kept beside those that are gone to, or not any more.
fn beside(model: &mut Model) {
    let frame = model.frame;
    let whole = motion::shows_all(model);
    model.tools.beside = match (model.tools.beside.take(), model.pixels().cloned()) {
        (None, Some(pixels)) => {
            model.say(format!("frame {} stays on the right; go to another one", frame + 1));
            Some(Beside { frame, pixels })
        }
        (None, None) => return model.say("this frame is still being read; try again"),
        (Some(_), _) => {
            model.say("one frame at a time");
            None
        }
    };
    // Who has zoomed in compares what they zoomed in on.
    if whole {
        model.picture.viewport = None;
    }
    model.fit_viewport();
}

fn picture(model: &mut Model, fx: &mut Vec<Effect>, action: Action, n: u32) {
    if look::act(model, action, n) || strip::act(model, fx, action, n) {
        return;
    }
    match action {
        Action::Caliper => return caliper(model),
        Action::ToggleBeside => return beside(model),
        Action::AcceptRegion => return region::accept(model, fx),
        Action::RejectRegion => return region::reject(model, fx),
        _ => {}
    }
    match action {
        Action::ZoomIn => motion::zoom(model, 1.5f32.powi(n.min(12) as i32)),
        Action::ZoomOut => motion::zoom(model, 1.5f32.powi(-(n.min(12) as i32))),
        Action::ZoomFit => motion::zoom_fit(model),
        Action::ZoomCursor => motion::centre_on_cursor(model),
        Action::PanLeft => motion::pan(model, Way::Left, n),
        Action::PanDown => motion::pan(model, Way::Down, n),
        Action::PanUp => motion::pan(model, Way::Up, n),
        Action::PanRight => motion::pan(model, Way::Right, n),
        Action::ToggleOverlay => overlay::toggle(model),
        Action::Redraw => fx.push(Effect::Redraw),
        _ => switch(model, action),
    }
}

/// What is drawn and what is not.
fn switch(model: &mut Model, action: Action) {
    let picture = &mut model.picture;
    let (switch, on, off) = match action {
        Action::ToggleMasks => (&mut picture.masks, "masks are drawn", "masks are not drawn"),
        Action::ToggleTint => (&mut picture.tint, "the mask is tinted", "the mask is not tinted"),
        Action::ToggleSmooth => {
            (&mut picture.smooth, "enlarged pixels are smoothed", "enlarged pixels are square")
        }
        Action::TogglePoints => {
            (&mut picture.points, "points and cursor are drawn", "points and cursor are not drawn")
        }
        Action::ToggleArea => (
            &mut picture.area,
            "the area over time, under the timeline",
            "doubts under the timeline instead of the area",
        ),
        _ => return,
    };
    *switch = !*switch;
    let said = if *switch { on } else { off };
    model.say(said);
    model.fit_viewport();
}

fn program(model: &mut Model, fx: &mut Vec<Effect>, action: Action, n: u32) {
    match action {
        Action::Export => keys::open_line(model, "export "),
        Action::NextClip => queue::step(model, fx, n as isize),
        Action::PreviousClip => queue::step(model, fx, -(n as isize)),
        Action::FinishClip => queue::finish(model, fx),
        Action::Help => model.open_dialog(Mode::Help(HelpPage::default())),
        Action::Messages => model.open_dialog(Mode::Messages(0)),
        Action::CommandLine => keys::open_line(model, ""),
        Action::Palette => model.open_dialog(Mode::Command(Line::search())),
        Action::Suspend => fx.push(Effect::Suspend),
        Action::Quit if queue::may_leave(model) => leave(model, fx),
        _ => {}
    }
}

fn leave(model: &mut Model, fx: &mut Vec<Effect>) {
    model.tools.to_play.clear();
    batch::finish(model, fx);
    fx.push(Effect::JournalView(model.view()));
    fx.push(Effect::Quit);
}

/// Whether what was asked before leaving stays asked through `command`.
fn keeps_asking(command: &Command) -> bool {
    match command {
        Command::Act(action, _) => keys::keeps_asking(*action),
        // Keys tell by themselves.
        Command::Nothing | Command::Keys(_) => true,
        Command::LeaveAtOnce | Command::Clip(_) | Command::Cut(_) => true,
        _ => false,
    }
}

/// Whether an action looks at masks of other frames or changes them, which a change under way may not have reached yet.
fn acts_on_many(action: Action, count: u32) -> bool {
    use Action as A;
    match action {
        A::AcceptFrame => count > 1,
        A::AcceptQuiet | A::RepeatCorrection | A::Interpolate | A::PropagateBoth => true,
        A::PropagateAll | A::PropagateForward | A::PropagateBackward => true,
        A::PropagateWindow | A::PropagateAnew | A::PropagateCheck => true,
        _ => false,
    }
}

/// The same of a command.
fn looks_at_many(command: &Command) -> bool {
    use Command as C;
    matches!(command, C::Over(..) | C::Where(..) | C::Export(..) | C::Picture(..))
}

/// Does a command of the `:` line.
pub(super) fn command(model: &mut Model, fx: &mut Vec<Effect>, command: Command) {
    if !keeps_asking(&command) {
        model.leave_asked.clear();
    }
    if looks_at_many(&command) {
        batch::finish(model, fx);
    }
    match command {
        Command::LeaveAtOnce => {
            if queue::may_lose(model) {
                leave(model, fx);
            }
        }
        Command::Clip(number) => queue::go(model, fx, number),
        Command::Nothing => {}
        Command::Act(action, count) => act(model, fx, action, count),
        Command::Goto(frame) => motion::go_to(model, fx, frame),
        Command::NewTrack(label) => tracks::new(model, fx, Some(label)),
        Command::Rename(label) => tracks::set_info(model, fx, |info| TrackInfo { label, ..info }),
        Command::Attribute(name, value) => labels::by_name(model, fx, &name, value),
        Command::Colour(colour) => {
            tracks::set_info(model, fx, |info| TrackInfo { colour, ..info });
        }
        Command::Window(first, last) => windows::add(model, fx, first, last),
        Command::Speed(speed) => {
            model.cine.speed = speed;
            model.say(format!("plays {speed} times as fast as recorded"));
        }
        Command::Tone(gain, level, gamma) => look::set_tone(model, gain, level, gamma),
        Command::Look(name) => look::by_name(model, name.as_deref()),
        Command::Export(format, path) => {
            model.say(format!("exporting {format}"));
            fx.push(Effect::Export { format, path: path.map(at_home) });
        }
        Command::Picture(figure, path) => {
            let frame = figure.then_some(model.frame);
            let colours = model.schema.colours;
            model.say(if figure { "drawing the figure" } else { "drawing the report" });
            fx.push(Effect::Picture { frame, path: path.map(at_home), colours });
        }
        Command::Overlay(path) => overlay::open(model, fx, path),
        Command::Point(_, at) | Command::Cursor(at) if !model.holds(at) => {
            let (width, height) = (model.clip.width_px, model.clip.height_px);
            model.warn(format!(
                "{},{} lies outside the image of {width} x {height} px; give px from its top left corner",
                at.x, at.y
            ));
        }
        Command::Point(kind, at) => {
            motion::put_cursor(model, at);
            // The line of an M-mode may lie elsewhere.
            prompts::add_point_at(model, fx, kind, model.cursor);
        }
        Command::Cursor(at) => {
            let from = model.cursor;
            motion::put_cursor(model, at);
            masks::stroke(model, fx, from);
        }
        Command::Keys(keys) => language::to_play(model, keys.into_iter()),
        Command::Reaction(time) => questions::set_by_hand(model, fx, time),
        Command::Windows(label, change) => ranges::windows_of(model, fx, &label, change),
        Command::Over(range, what) => ranges::over(model, fx, range, what),
        Command::Where(condition, what) => ranges::matching(model, fx, condition, what),
        Command::Link(asked) => {
            let set = match asked {
                LinkAsked::Tell => Ok(()),
                LinkAsked::Levels(levels) => model.link.set_levels(levels),
                LinkAsked::Scale(scale) => {
                    model.link.set_scale(scale);
                    Ok(())
                }
            };
            match set {
                Ok(()) => model.say(model.link.told()),
                Err(why) => model.warn(why),
            }
        }
        Command::Cut(asked) => queue::cut(model, fx, asked),
        Command::Write => model.say(match &model.saved {
            Saved::Failed(why) => format!("not saved: {why}"),
            Saved::Solid | Saved::Unsynced(_) => "everything is already saved".to_owned(),
        }),
    }
}

/// Lets go of what is held, then stops what runs.
fn cancel(model: &mut Model, fx: &mut Vec<Effect>) {
    if model.corner.take().is_some() {
        return model.say("the box is given up");
    }
    if model.tools.cut.take().is_some() {
        return model.say("the cut is given up");
    }
    if model.tools.caliper.take().is_some() {
        return model.say("no distance any more");
    }
    if model.tools.brush.take().is_some() {
        return model.say("brush put away");
    }
    if model.tools.taps.onset.take().is_some() {
        return model.say("tap forgotten");
    }
    if model.tools.repeat_when_seen.take().is_some() {
        return model.say("the correction is not repeated any more");
    }
    if batch::stop(model) {
        return;
    }
    let held = model.chosen.take().is_some() || std::mem::take(&mut model.cine.playing);
    model.nudging = None;
    if !network::cancel(model, fx) && !held {
        // Who pressed Ctrl-C may want to leave.
        let quit = model.key(Action::Quit);
        model.say(format!("nothing is running; {quit} leaves"));
    }
}

//! Rays, masks by hand, questions, taps, review, repeats, registers, macros, ranges: keys to
//! edits through the pure `update`.

use std::sync::Arc;
use std::time::Duration;

use sonomark::config::person::{Learned, Person};
use sonomark::domain::{
    Annotation, Bitmap, Edit, GrayFrame, MaskSource, PointKind, PointPx, Prompt, Track, Window,
};
use sonomark::engine::{Decided, Event};
use sonomark::project::{ClipStore, load_read_only};
use sonomark::tui::action::Action;
use sonomark::tui::graphics::Grid;
use sonomark::tui::key::{Code, Key};
use sonomark::tui::keymap::{Keymap, shipped_layer};
use sonomark::tui::marks::Marks;
use sonomark::tui::model::{Effect, Mode, Model, Msg};
use sonomark::tui::theme::Theme;
use sonomark::tui::update;
use sonomark::tui::view::{Canvas, palette};

use crate::project::as_user;
use crate::update::{
    kind, model, opened, press, propagation, refresh_of, steps, tell, track, with_a_mask,
};

const FRAMES: usize = 40;
const CENTRE: PointPx = PointPx { x: 32.5, y: 24.5 };

/// A dark disc of radius 10 with a bright ring from 16 to 18 round it.
fn see(model: &mut Model, frame: usize) -> Vec<Effect> {
    let pixels = (0..64 * 48u32)
        .map(|i| {
            let r = PointPx::pixel_centre(i % 64, i / 64).distance(CENTRE);
            if r < 10.0 {
                30
            } else if (16.0..18.0).contains(&r) {
                160
            } else {
                120
            }
        })
        .collect();
    let pixels = Arc::new(GrayFrame::new(64, 48, pixels).unwrap());
    tell(model, Event::Frame { frame, pixels })
}

fn points(model: &Model) -> Vec<PointPx> {
    let placed = model.current().and_then(|(_, track)| track.prompts.get(&model.frame));
    let at = |prompt: &Prompt| match prompt {
        Prompt::Point { kind: PointKind::Boundary, at } => Some(*at),
        _ => None,
    };
    placed.into_iter().flatten().filter_map(|each| at(&each.prompt)).collect()
}

fn near(at: PointPx, x: f32, y: f32) -> bool {
    at.distance(PointPx::new(x, y)) <= 2.0
}

fn run(model: &mut Model, line: &str) -> Vec<Effect> {
    update(model, Msg::Line(line.to_owned()))
}

fn disc(x: f32, r: f32) -> Bitmap {
    Bitmap::from_fn(64, 48, |i, j| PointPx::pixel_centre(i, j).distance(PointPx::new(x, 24.5)) <= r)
}

fn answer(bitmap: Bitmap, score: f32) -> Decided {
    Decided { bitmap, score, object_score_logit: 5.0, encode_ms: 0.0, decode_ms: 1.0 }
}

/// Points on frame 0 and masks propagated to all others, of the given radius.
fn propagated(model: &mut Model, radius: impl Fn(usize) -> f32) {
    let (ticket, frame) = refresh_of(&press(model, "b")).unwrap();
    tell(model, Event::Refreshed { ticket, frame, decided: answer(disc(32.5, 10.0), 0.9) });
    let (ticket, frames) = propagation(model, "p p");
    for frame in frames {
        let decided = answer(disc(32.5, radius(frame)), 0.9);
        tell(model, Event::Tracked { ticket, frame, decided });
    }
    tell(model, Event::Finished { ticket, cancelled: false });
}

#[test]
fn a_key_per_boundary_point_and_the_same_key_again_for_the_next_edge() {
    let mut m = model(FRAMES);
    press(&mut m, "enter");
    assert!(
        m.mode == Mode::Normal && m.message.text.contains("still being read"),
        "{:?}",
        m.message
    );
    see(&mut m, 0);
    let effects = press(&mut m, "enter 3");
    assert!(refresh_of(&effects).is_some(), "the mask follows at once");
    press(&mut m, "9 6 =");
    let four = points(&m);
    assert_eq!(four.len(), 4, "one key each");
    let right = [(42.0, 24.5), (23.0, 24.5), (32.5, 34.0), (32.5, 15.0)];
    assert!(four.iter().zip(right).all(|(at, (x, y))| near(*at, x, y)), "{four:?}");

    // The same hour again is the next edge, inwards comes back; one undo for both.
    press(&mut m, "=");
    assert!(points(&m)[3].y < 10.5, "{:?}", points(&m));
    press(&mut m, "[");
    assert!(near(points(&m)[3], 32.5, 15.0));
    press(&mut m, "up");
    assert!((points(&m)[3].y - 14.0).abs() < 1.1);
    press(&mut m, "pageup pagedown S-up");
    let fine = points(&m)[3].y;
    press(&mut m, "S-down");
    assert!((points(&m)[3].y - fine - 0.2).abs() < 1e-3, "0.1 mm is 0.2 px here");
    press(&mut m, "u");
    assert_eq!(points(&m).len(), 3);
    press(&mut m, "esc");
    assert_eq!(m.mode, Mode::Normal);
}

#[test]
fn leaps_say_where_rays_start_and_letters_where_a_point_lies() {
    let mut m = model(FRAMES);
    update(&mut m, Msg::Resized(Grid { columns: 100, rows: 40, cell_px: (8, 16) }));
    see(&mut m, 0);
    press(&mut m, "enter w");
    assert!(near(m.cursor, 32.0, 8.0), "the upper ninth: {:?}", m.cursor);
    press(&mut m, "c");
    assert!(near(m.cursor, 39.0, 13.0), "the lower right ninth of that: {:?}", m.cursor);
    press(&mut m, "C s 3");
    assert!(near(points(&m)[0], 42.0, 24.5), "{:?}", points(&m));
    // The letters, from the innermost mark on: a b d e f, then i m n o r.
    let x = points(&m)[0].x;
    press(&mut m, "i");
    assert!((points(&m)[0].x - x - 1.25).abs() < 0.6, "one step out: {:?}", points(&m));
    press(&mut m, "f");
    assert!((points(&m)[0].x - x).abs() < 0.6, "and back: {:?}", points(&m));
    press(&mut m, "o");
    assert!((points(&m)[0].x - 48.0).abs() < 1.1, "onto the ring: {:?}", points(&m));
    press(&mut m, "9 3");
    assert_eq!(points(&m).len(), 2, "a ray that has a point takes it up again");
    let x = points(&m)[0].x;
    press(&mut m, "f");
    assert!(points(&m)[0].x < x, "{:?}", points(&m));
    press(&mut m, "u u u");
    assert_eq!(points(&m).len(), 0, "a point and what moved it at once are one undo");
    // A letter that names no mark does nothing else either.
    press(&mut m, "3 a");
    assert!(m.message.text.contains("no mark") && !m.propagating(), "{:?}", m.message);
}

#[test]
fn a_point_of_a_ray_leaves_one_message_and_sequences_go_on_as_before() {
    let mut m = model(FRAMES);
    see(&mut m, 0);
    press(&mut m, "enter");
    let told = m.log.len();
    press(&mut m, "3");
    assert_eq!(m.log.len(), told + 1, "{:?}", m.log);
    let placed = points(&m);
    press(&mut m, "w s");
    assert_eq!(track(&m).windows, [Window { first: 0, last: FRAMES - 1 }]);
    propagation(&mut m, "p p");
    assert_eq!((m.mode.clone(), points(&m)), (Mode::Rays, placed));
    press(&mut m, "g n");
    assert!(m.pending.keys.is_empty());
    // What the marks take is told behind the key that leaves them.
    assert_eq!((m.key(Action::AcceptFrame), m.key(Action::Undo)), ("`esc a`".into(), "`u`".into()));
}

#[test]
fn hours_are_told_as_digits_in_every_keymap_that_has_them() {
    let mut m = model(FRAMES);
    for name in ["default", "vim", "colemak"] {
        m.keymap = Keymap::layered(shipped_layer(name).as_slice()).0;
        assert_eq!(m.hours(), "1..9 0 - =", "{name}");
    }
}

#[test]
fn the_left_hand_alone_puts_points_and_is_told_its_own_keys() {
    let left = "123456!@#$%^~`qwertasdfgzxcvb";
    let mut m = model(FRAMES);
    m.keymap = Keymap::layered(shipped_layer("left-hand").as_slice()).0;
    let by_left = |key: &Key| match key.code {
        Code::Char(c) => left.contains(c.to_ascii_lowercase()),
        Code::Named(name) => ["tab", "backtab", "esc", "space"].contains(&name),
    };
    use Action as A;
    let others = [A::RaySuggested, A::EdgeOuter, A::EdgeInner, A::RayOut, A::RayIn, A::RayCentre];
    let rest = [A::ClockRays, A::Leap, A::RayClockwise, A::RayCounter, A::Close];
    for action in A::HOURS.into_iter().chain(A::LEAPS).chain(others).chain(rest) {
        let mut keys = m.keymap.keys_of(action).into_iter();
        let typed = |keys: &String| keys.split(' ').all(|key| by_left(&key.parse().unwrap()));
        assert!(keys.any(|keys| typed(&keys)), "{action:?}");
    }
    assert!(m.keymap.mark_letters().iter().all(|c| left.contains(c.to_ascii_lowercase())));

    press(&mut m, "R");
    assert!(m.message.text.contains("`f` puts its first"), "{:?}", m.message);
    see(&mut m, 0);
    press(&mut m, "`");
    assert!(m.message.text.contains("1..6 A-1..A-6"), "{:?}", m.message);
    press(&mut m, "3 A-3 A-6 6");
    let right = [(42.0, 24.5), (23.0, 24.5), (32.5, 15.0), (32.5, 34.0)];
    assert!(points(&m).iter().zip(right).all(|(at, (x, y))| near(*at, x, y)), "{:?}", points(&m));
    let y = points(&m)[3].y;
    press(&mut m, "r");
    assert!(points(&m)[3].y > y, "outwards");
    press(&mut m, "R R");
    assert!(points(&m)[3].y < y, "inwards");
    // Windows and masks by hand begin with e and c, as outside the rays.
    press(&mut m, "e s");
    assert_eq!(track(&m).windows.len(), 1);
    assert!(
        m.key(A::Brush) == "`c b`" && m.key(A::AddBoundary) == "`esc f`",
        "{}",
        m.key(A::Brush)
    );
}

#[test]
fn rays_start_in_the_structure_that_is_chosen() {
    let mut m = model(FRAMES);
    see(&mut m, 0);
    for x in [16.0, 48.0] {
        let (ticket, frame) = refresh_of(&press(&mut m, "t n b")).unwrap();
        tell(&mut m, Event::Refreshed { ticket, frame, decided: answer(disc(x, 6.0), 0.9) });
    }
    let centre = |m: &Model| m.tools.rays.as_ref().unwrap().centre;
    press(&mut m, "enter");
    assert!(near(centre(&m), 48.0, 24.5), "{:?}", centre(&m));
    press(&mut m, "N");
    assert!(near(centre(&m), 16.0, 24.5), "{:?}", centre(&m));
    // Where nothing of a structure is known they stay, and its first point is at hand.
    press(&mut m, "t n 3");
    assert!(near(centre(&m), 16.0, 24.5), "{:?}", centre(&m));
    assert!(m.tools.rays.as_ref().unwrap().last.is_some() && points(&m).len() == 1);
}

#[test]
fn a_frame_with_an_inside_point_alone_is_a_persons_and_stays() {
    let mut m = model(FRAMES);
    propagated(&mut m, |_| 10.0);
    let (ticket, frame) = refresh_of(&press(&mut m, ". i")).unwrap();
    tell(&mut m, Event::Refreshed { ticket, frame, decided: answer(disc(20.0, 5.0), 0.9) });
    let (ticket, frames) = propagation(&mut m, "p a");
    assert!(!frames.contains(&1), "{frames:?}");
    let stale = answer(disc(32.5, 10.0), 0.9);
    tell(&mut m, Event::Tracked { ticket, frame: 1, decided: stale });
    let held = &track(&m).masks[&1];
    assert_eq!((held.source, held.mask.to_bitmap()), (MaskSource::Prompted, disc(20.0, 5.0)));
}

#[test]
fn a_frame_stays_beside_the_others_at_the_same_zoom() {
    let mut m = model(FRAMES);
    update(&mut m, Msg::Resized(Grid { columns: 100, rows: 40, cell_px: (8, 16) }));
    for (frame, gray) in [(0, 0), (1, 255)] {
        let pixels = Arc::new(GrayFrame::new(64, 48, vec![gray; 64 * 48]).unwrap());
        tell(&mut m, Event::Frame { frame, pixels });
    }
    let palette = palette(&Theme::shipped("dark").unwrap(), 256, 32, false);
    press(&mut m, "v b .");
    let picture = Canvas::default().compose(&m, &palette, 4).unwrap();
    let (width, height) = m.areas().unwrap().picture_px(m.grid);
    assert_eq!((picture.width_px, picture.height_px), (width, height));
    let at = |share: usize| picture.row(height * 2 / 5)[width * share / 16];
    assert!(at(3) == 31 && at(13) == 0, "{} beside {}", at(3), at(13));
    press(&mut m, "v b");
    assert_eq!(m.picture.viewport.unwrap().width_px, width);
}

#[test]
fn the_suggestion_comes_from_the_mask_and_goes_where_points_are_missing() {
    let mut m = model(FRAMES);
    see(&mut m, 0);
    press(&mut m, "enter 3");
    // The network fills the disc, but for a bite on the left.
    let bitten = Bitmap::from_fn(64, 48, |x, y| disc(32.5, 10.0).get(x.into(), y.into()) && x > 27);
    let asked = m.jobs.asked[0];
    let decided = answer(bitten, 0.9);
    tell(&mut m, Event::Refreshed { ticket: asked.ticket, frame: 0, decided });
    let (ray, at) = m.tools.rays.as_ref().unwrap().suggested.expect("a suggestion");
    assert!((7.0..=11.0).contains(&ray.hour) && at.x < 32.0, "{ray:?}");
    press(&mut m, "enter");
    // Near the contour that there is: the bite is beyond it.
    assert!((points(&m)[1].x - 28.0).abs() <= 1.5, "{:?}", points(&m));
    // Where keys are not bound they are as in normal: the next frame, undo.
    press(&mut m, ".");
    assert_eq!((m.frame, m.mode.clone()), (1, Mode::Rays));
    press(&mut m, "6");
    assert!(m.message.text.contains("still being read"), "{:?}", m.message);
}

#[test]
fn without_spacing_mm_are_refused_with_the_reason() {
    let mut m = model(FRAMES);
    m.clip.pixel_spacing_mm = None;
    see(&mut m, 0);
    press(&mut m, "enter 3");
    let before = points(&m);
    press(&mut m, "S-up");
    assert_eq!(points(&m), before);
    assert!(m.message.text.contains("no spacing"), "{:?}", m.message);
    press(&mut m, "up");
    assert!(m.message.text.ends_with(" px from the centre"), "{:?}", m.message);
    // Where there are mm, they are what a step is told in.
    m.clip.pixel_spacing_mm = Some([0.5, 0.5]);
    press(&mut m, "S-up");
    assert!(m.message.text.ends_with(" mm from the centre"), "{:?}", m.message);
}

#[test]
fn a_drawn_mask_is_accepted_journaled_conditions_the_others_and_is_one_undo() {
    let mut m = model(FRAMES);
    propagated(&mut m, |_| 10.0);
    let id = m.track.unwrap();
    press(&mut m, "5 .");
    let area = track(&m).masks[&5].mask.area_px();
    let effects = press(&mut m, "2 s g");
    assert_eq!(steps(&effects).len(), 1);
    let held = &track(&m).masks[&5];
    assert!(held.mask.area_px() > area && held.source == MaskSource::Accepted);
    assert!(!m.marks.is_stale(id, 5) && m.marks.is_stale(id, 6) && m.marks.is_stale(id, 3));
    assert!(track(&m).frame_prompts(5).mask.is_some(), "the network is told");
    // There is nothing to compute it from: it stays a person's.
    assert!(refresh_of(&press(&mut m, "R")).is_none());
    assert!(m.message.text.contains("a drawn mask and no points; `b` puts one"), "{:?}", m.message);
    // Nor are there points to delete.
    for keys in ["X", "x", "A-l"] {
        assert!(steps(&press(&mut m, keys)).is_empty(), "{keys}");
        assert!(m.message.text.starts_with("no points on this frame"), "{:?}", m.message);
    }
    press(&mut m, "u");
    assert_eq!(track(&m).masks[&5].mask.area_px(), area);
    assert_eq!(m.marks.stale(id).unwrap().len(), 0, "valid again");

    // A mask still on its way does not replace what was drawn.
    press(&mut m, "g g L b");
    let asked = m.jobs.asked[0];
    press(&mut m, "s s");
    let late = answer(disc(10.0, 3.0), 0.9);
    tell(&mut m, Event::Refreshed { ticket: asked.ticket, frame: 0, decided: late });
    assert!(track(&m).masks[&0].mask.to_bitmap().get(32, 24));
}

#[test]
fn holes_islands_cuts_and_what_changes_nothing() {
    let mut m = model(FRAMES);
    press(&mut m, "s g");
    assert!(m.message.text.contains("no structure"), "{:?}", m.message);
    with_a_mask(&mut m);
    press(&mut m, "s f");
    assert!(m.message.text.contains("nothing"), "{:?}", m.message);
    // The mask spans columns 5 to 13: cut at column 9 along a vertical line.
    run(&mut m, "cursor 9 0");
    press(&mut m, "s c");
    run(&mut m, "cursor 9 47");
    press(&mut m, "s c");
    let cut = track(&m).masks[&0].mask.to_bitmap();
    assert!(cut.get(12, 20) && !cut.get(6, 20), "the smaller side is gone");
    press(&mut m, "9 9 s s");
    assert!(m.message.text.contains("nothing of the mask would be left"), "{:?}", m.message);
    let given_up = [("s c esc", "the cut is given up"), ("r esc", "the box is given up")];
    for (keys, told) in given_up.into_iter().chain([("s b s b", "brush put away")]) {
        press(&mut m, keys);
        assert_eq!(m.message.text, told);
    }
    press(&mut m, "v p");
    assert_eq!(m.message.text, "points and cursor are not drawn");
}

#[test]
fn what_was_begun_on_one_structure_is_not_done_to_another() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    let (ticket, frame) = refresh_of(&press(&mut m, "t n b")).unwrap();
    tell(&mut m, Event::Refreshed { ticket, frame, decided: answer(disc(32.5, 10.0), 0.9) });
    let before = m.annotation.clone();
    press(&mut m, "s c N L s c");
    assert!(m.tools.cut == Some(m.cursor) && m.annotation == before, "a new cut: {:?}", m.message);
    press(&mut m, "esc T N . T");
    assert_eq!((m.tools.taps.onset, &m.annotation), (Some(1), &before), "{:?}", m.message);
    press(&mut m, "esc w b");
    assert!(matches!(m.mode, Mode::Bisect(_)));
    press(&mut m, "N");
    assert_eq!(m.mode, Mode::Normal);
    assert!(m.message.text.ends_with("no more questions"), "{:?}", m.message);
    // Nor to the one that is left when it is deleted.
    press(&mut m, "w b t d y");
    assert!(m.mode == Mode::Normal && track(&m).windows.is_empty(), "{:?}", m.message);
}

#[test]
fn a_cut_is_not_made_on_the_structure_to_which_an_undo_goes() {
    let mut m = model(FRAMES);
    let first = with_a_mask(&mut m);
    let (ticket, frame) = refresh_of(&press(&mut m, "t n b")).unwrap();
    tell(&mut m, Event::Refreshed { ticket, frame, decided: answer(disc(32.5, 10.0), 0.9) });
    press(&mut m, "N a N s c");
    assert!(m.tools.cut.is_some() && m.track == Some(ticket.track), "{:?}", m.message);
    press(&mut m, "u");
    assert_eq!((m.track, m.tools.cut), (Some(first), None), "{:?}", m.message);
}

#[test]
fn the_eraser_starts_no_structure() {
    let mut m = model(FRAMES);
    press(&mut m, "s e 9 l esc");
    assert_eq!(m.annotation, Annotation::default());
    assert!(m.tools.brush.is_none());
    press(&mut m, "s e");
    assert!(m.message.text.contains("no structure yet"), "{:?}", m.message);
    // Nor when it goes while the eraser is down.
    with_a_mask(&mut m);
    press(&mut m, "s e t d 9 l");
    assert_eq!(m.annotation, Annotation::default());
}

#[test]
fn the_brush_paints_the_cursors_path_and_is_one_undo() {
    let mut m = model(FRAMES);
    press(&mut m, "s b 2 0 l esc l");
    let painted = track(&m).masks[&0].mask.to_bitmap();
    assert!(painted.get(32, 24) && painted.get(42, 24) && painted.get(52, 24), "without gaps");
    assert!(!painted.get(32, 30) && !painted.get(58, 24), "and only while it is down");
    let before = painted.area_px();
    press(&mut m, "s e 8 h esc");
    assert!(track(&m).masks[&0].mask.area_px() < before as u64);
    press(&mut m, "u u");
    assert_eq!(m.annotation, Annotation::default());
    // What was painted in another direction, or on another frame, is another run.
    press(&mut m, "s b 9 l 9 j . 9 l esc");
    assert_eq!(track(&m).masks.len(), 2);
    press(&mut m, "u");
    assert_eq!(track(&m).masks.keys().copied().collect::<Vec<_>>(), [0]);
    press(&mut m, "u");
    assert!(track(&m).masks[&0].mask.area_px() > 0, "the first run stays");
    press(&mut m, "u");
    assert_eq!(m.annotation, Annotation::default());
    press(&mut m, "3 )");
    assert_eq!(m.tools.brush_px, 7.0);
}

/// What was painted or moved before an undo is not joined by what comes behind it.
#[test]
fn what_is_painted_after_an_undo_is_new_and_ends_what_could_be_done_again() {
    let mut m = model(FRAMES);
    press(&mut m, "s b 9 l u 9 l");
    let painted = track(&m).masks[&0].mask.clone();
    press(&mut m, "U");
    assert!(m.message.text.contains("nothing to do again"), "{:?}", m.message);
    assert_eq!(track(&m).masks[&0].mask, painted, "the stroke stays as it is");
    press(&mut m, "u");
    assert_eq!(m.annotation, Annotation::default());
    press(&mut m, "U l u");
    assert_eq!(track(&m).masks[&0].mask, painted, "nor does a stroke join what was done again");
}

#[test]
fn a_point_of_a_ray_moved_after_an_undo_is_a_step_of_its_own() {
    let mut m = model(FRAMES);
    see(&mut m, 0);
    press(&mut m, "enter 3");
    run(&mut m, "1 flag");
    let placed = points(&m);
    press(&mut m, "u up");
    let moved = points(&m);
    assert_ne!(moved, placed, "{:?}", m.message);
    press(&mut m, "U");
    assert!(m.message.text.contains("nothing to do again"), "{:?}", m.message);
    assert_eq!(points(&m), moved);
    press(&mut m, "u");
    assert_eq!(points(&m), placed, "the move alone");
}

#[test]
fn frames_between_two_anchors_are_filled_with_shapes_between() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    press(&mut m, "a 4 . L b");
    let asked = m.jobs.asked[0];
    let decided = answer(disc(40.0, 8.0), 0.9);
    tell(&mut m, Event::Refreshed { ticket: asked.ticket, frame: 4, decided });
    press(&mut m, "2 , s i");
    let held = track(&m);
    assert_eq!(held.masks.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let x = |frame: usize| {
        let bounds = held.masks[&frame].mask.to_bitmap().bounds().unwrap();
        bounds.min.x + bounds.max.x
    };
    assert!((0..4).all(|frame| x(frame) < x(frame + 1)));
    assert_eq!(held.masks[&2].source, MaskSource::Tracked);
    press(&mut m, "u");
    assert_eq!(track(&m).masks.len(), 2);
}

#[test]
fn what_cannot_be_filled_is_told_by_its_reason() {
    let mut m = model(FRAMES);
    propagated(&mut m, |_| 10.0);
    for (line, told) in [
        ("5 interpolate", "no frame lies between 5 and 5"),
        ("5,6 interpolate", "no frame lies between 5 and 6"),
    ] {
        run(&mut m, line);
        assert!(m.message.text.contains(told), "{line}: {:?}", m.message);
    }
    run(&mut m, "6 accept");
    run(&mut m, "5,7 interpolate");
    assert!(m.message.text.contains("a person decided"), "{:?}", m.message);
    run(&mut m, "window 1 5");
    run(&mut m, "window 9 12");
    run(&mut m, "5,9 interpolate");
    assert!(m.message.text.contains("outside the windows"), "{:?}", m.message);
}

#[test]
fn a_window_is_found_by_answers() {
    let mut m = model(FRAMES);
    press(&mut m, "1 2 .");
    press(&mut m, "w b");
    let mut answers = 0;
    while matches!(m.mode, Mode::Bisect(_)) {
        let visible = (7..=29).contains(&m.frame);
        if answers == 2 {
            // A wrong answer, taken back.
            press(&mut m, if visible { "n u" } else { "y u" });
        }
        press(&mut m, if visible { "y" } else { "n" });
        answers += 1;
        assert!(answers < 20);
    }
    assert_eq!(track(&m).windows, [Window { first: 7, last: 29 }]);
    assert!(answers <= 11, "{answers}");
    // An answer too many does nothing, a second later the key is what it was.
    press(&mut m, "y n");
    assert!(m.tools.waiting.is_none() && m.message.text.contains("too many"), "{:?}", m.message);
    let later = m.now + Duration::from_secs(2);
    update(&mut m, Msg::Tick(later));
    press(&mut m, "y");
    assert!(m.tools.waiting.is_some());
    press(&mut m, "esc w b");
    assert_ne!(m.frame, 7, "inside a window nothing is asked about the frame at hand");
    press(&mut m, "esc");
    assert_eq!(m.mode, Mode::Normal, "and may be given up");
}

#[test]
fn where_nothing_says_that_it_is_visible_the_frame_at_hand_is_asked_about() {
    let mut m = model(FRAMES);
    press(&mut m, "w b");
    assert!(m.frame == 0 && m.message.text.starts_with("visible here?"), "{:?}", m.message);
    press(&mut m, "n");
    assert!(m.message.text.contains("go to a frame that shows it"), "{:?}", m.message);
    press(&mut m, "2 1 G");
    let mut answers = 0;
    while matches!(m.mode, Mode::Bisect(_)) {
        let visible = (15..=22).contains(&m.frame);
        press(&mut m, if visible { "y" } else { "n" });
        answers += 1;
        assert!(answers < 20);
    }
    assert_eq!(track(&m).windows, [Window { first: 15, last: 22 }]);
}

#[test]
fn taps_are_put_back_by_the_measured_reaction_time() {
    let ms = Duration::from_millis;
    let mut m = model(FRAMES);
    for frame in 0..FRAMES {
        see(&mut m, frame);
    }
    update(&mut m, Msg::Tick(ms(1000)));
    press(&mut m, "w t");
    for trial in 0..5 {
        let Mode::Reaction(test) = &m.mode else { panic!("{trial}: {:?}", m.mode) };
        let due = test.due;
        assert!(due > m.now + ms(800) && m.wake_at().is_some_and(|at| at <= due));
        update(&mut m, Msg::Tick(due));
        assert!(m.flashing());
        update(&mut m, Msg::Tick(due + ms(200 + 10 * trial)));
        press(&mut m, "space");
    }
    assert_eq!((m.mode.clone(), m.tools.taps.reaction), (Mode::Normal, Some(ms(220))));

    // 50 ms a frame: 220 ms are a little more than four frames.
    let start = m.now;
    press(&mut m, "space");
    let mut tapped = 0;
    for tick in 1..=30 {
        update(&mut m, Msg::Tick(start + ms(50 * tick)));
        if m.frame == 10 || m.frame == 25 {
            press(&mut m, "T");
            tapped += 1;
        }
    }
    assert_eq!(tapped, 2);
    assert_eq!(track(&m).windows, [Window { first: 5, last: 20 }]);
}

#[test]
fn the_worst_frame_comes_first_and_the_quiet_span_is_accepted_with_one_key() {
    let mut m = model(FRAMES);
    propagated(&mut m, |frame| if frame == 20 { 16.0 } else { 10.0 });
    press(&mut m, "W");
    assert_eq!(m.frame, 20);
    assert!(m.message.text.contains("area"), "{:?}", m.message);
    press(&mut m, "A");
    assert_eq!(track(&m).masks[&20].source, MaskSource::Tracked, "it is in doubt");
    assert!(m.message.text.starts_with("in doubt (the area jumps)"), "{:?}", m.message);
    press(&mut m, "3 ,");
    let effects = press(&mut m, "A");
    assert_eq!(steps(&effects).len(), 1);
    let accepted = |m: &Model, frame: usize| track(m).masks[&frame].source == MaskSource::Accepted;
    assert!((0..20).all(|f| accepted(&m, f)) && !(20..FRAMES).any(|f| accepted(&m, f)));

    // Accepted frames are barriers: a point behind them outdates nothing before them.
    let id = m.track.unwrap();
    press(&mut m, "3 0 G b");
    press(&mut m, "W W");
    assert!(m.message.text.contains("older than the points (`p p`)"), "{:?}", m.message);
    press(&mut m, "A");
    assert!(m.message.text.starts_with("this mask is stale: `p p`"), "{:?}", m.message);
    press(&mut m, "3 0 G");
    let stale: Vec<usize> = m.marks.stale(id).unwrap().iter().copied().collect();
    assert_eq!(stale.first(), Some(&20));
    assert_eq!(stale.last(), Some(&39));
    let (_, frames) = propagation(&mut m, "p p");
    assert!(frames.iter().all(|frame| *frame >= 20), "{frames:?}");
    press(&mut m, "u");
    assert!(m.marks.stale(id).unwrap().is_empty());
    press(&mut m, "p p");
    assert!(m.message.text.contains("`p a`"), "{:?}", m.message);
    let (_, frames) = propagation(&mut m, "p a");
    assert!(frames.contains(&30));
}

#[test]
fn passes_from_both_sides_are_compared_and_masks_stay() {
    let mut m = model(FRAMES);
    propagated(&mut m, |_| 10.0);
    press(&mut m, "G b");
    let asked = m.jobs.asked[0];
    let decided = answer(disc(32.5, 10.0), 0.9);
    tell(&mut m, Event::Refreshed { ticket: asked.ticket, frame: 39, decided });
    let before = track(&m).masks.clone();
    let (ticket, frames) = propagation(&mut m, "p c");
    assert_eq!(frames.len(), 2 * 38);
    for (i, frame) in frames.iter().enumerate() {
        // The passes differ on frame 12 only.
        let radius = if *frame == 12 && i < 38 { 3.0 } else { 10.0 };
        let decided = answer(disc(32.5, radius), 0.9);
        tell(&mut m, Event::Tracked { ticket, frame: *frame, decided });
    }
    tell(&mut m, Event::Finished { ticket, cancelled: false });
    assert_eq!(track(&m).masks, before);
    press(&mut m, "W");
    assert_eq!(m.frame, 12);
    assert!(m.message.text.contains("disagree"), "{:?}", m.message);
}

#[test]
fn masks_that_come_after_a_point_was_added_are_as_old_after_reopening() {
    let mut m = model(FRAMES);
    let mut journal = press(&mut m, "b");
    let (ticket, frame) = refresh_of(&journal).unwrap();
    let decided = answer(disc(32.5, 10.0), 0.9);
    journal.extend(tell(&mut m, Event::Refreshed { ticket, frame, decided }));
    let (run, frames) = propagation(&mut m, "p p");
    let come = |m: &mut Model, journal: &mut Vec<Effect>, frames: &[usize]| {
        for &frame in frames {
            let decided = answer(disc(32.5, 8.0), 0.9);
            journal.extend(tell(m, Event::Tracked { ticket: run, frame, decided }));
        }
    };
    come(&mut m, &mut journal, &frames[..5]);
    let second = press(&mut m, "h b");
    let (ticket, frame) = refresh_of(&second).unwrap();
    journal.extend(second);
    let decided = answer(disc(32.5, 9.0), 0.9);
    journal.extend(tell(&mut m, Event::Refreshed { ticket, frame, decided }));
    come(&mut m, &mut journal, &frames[5..]);
    journal.extend(tell(&mut m, Event::Finished { ticket: run, cancelled: false }));
    assert!(m.message.text.contains("points changed meanwhile"), "{:?}", m.message);
    let id = m.track.unwrap();
    let reopened = |journal: &[Effect]| {
        let (dir, info) = (tempfile::tempdir().unwrap(), opened(FRAMES).info);
        let (mut store, _) = ClipStore::open_with(dir.path(), &info, 0, &as_user("anna")).unwrap();
        steps(journal).iter().for_each(|step| store.append(step, 0).unwrap());
        drop(store);
        let loaded = load_read_only(dir.path(), &info.content_hash).unwrap();
        let marks = Marks::of(&loaded.annotation, loaded.origins);
        marks.stale(id).unwrap().clone()
    };
    let stale = m.marks.stale(id).unwrap().clone();
    assert_eq!((stale.len(), reopened(&journal)), (FRAMES - 1, stale));
    // Without the second point all of them are right.
    journal.extend(press(&mut m, "u"));
    assert_eq!(points(&m).len(), 1);
    let stale = m.marks.stale(id).unwrap().clone();
    assert_eq!((stale.len(), reopened(&journal)), (0, stale));
}

#[test]
fn a_comparison_counts_for_the_points_that_it_was_made_from() {
    let mut m = model(FRAMES);
    propagated(&mut m, |_| 10.0);
    press(&mut m, "G b");
    let id = m.track.unwrap();
    let come = |m: &mut Model, ticket, frames: &[usize]| {
        for &frame in frames {
            let decided = answer(disc(32.5, 3.0), 0.9);
            tell(m, Event::Tracked { ticket, frame, decided });
        }
    };
    let (ticket, frames) = propagation(&mut m, "p c");
    come(&mut m, ticket, &frames[..frames.len() / 2]);
    press(&mut m, "h b");
    come(&mut m, ticket, &frames[frames.len() / 2..]);
    tell(&mut m, Event::Finished { ticket, cancelled: false });
    assert!(m.tools.review.agreement.get(&id).is_none_or(|known| known.is_empty()));
    assert!(m.message.text.contains("points changed meanwhile"), "{:?}", m.message);
    // Of one whose place another propagation takes nothing stays to be compared with.
    let (ticket, frames) = propagation(&mut m, "p c");
    come(&mut m, ticket, &frames[..3]);
    assert_eq!(m.tools.review.first_pass.len(), 3);
    propagation(&mut m, "p a");
    assert!(m.tools.review.first_pass.is_empty());
}

#[test]
fn a_correction_is_repeated_on_the_next_flagged_frame() {
    let mut m = model(FRAMES);
    propagated(&mut m, |_| 10.0);
    press(&mut m, ";");
    assert!(m.message.text.contains("nothing was corrected"), "{:?}", m.message);
    // One up from the middle of the mask, ten to the right.
    press(&mut m, ". 9 l k b");
    run(&mut m, "g/doubt>-1/unflag");
    run(&mut m, "9 flag");
    press(&mut m, ";");
    assert_eq!(m.frame, 8);
    assert_eq!(points(&m), [PointPx::new(41.5, 23.5)]);
    // A ray is repeated once the picture is there.
    see(&mut m, 8);
    press(&mut m, "enter 6 esc");
    run(&mut m, "15 flag");
    press(&mut m, ";");
    assert_eq!((m.frame, points(&m).len()), (14, 0));
    see(&mut m, 14);
    assert!(near(points(&m)[0], 32.5, 34.0), "{:?}", points(&m));
}

#[test]
fn flags_and_marks_are_in_the_journal_and_come_back_with_an_undo() {
    let mut m = model(FRAMES);
    propagated(&mut m, |_| 10.0);
    let journaled = |effects: &[Effect]| -> Vec<Edit> {
        steps(effects).into_iter().flat_map(|step| step.edits).collect()
    };
    let id = m.track.unwrap();
    let flag = |frame, before| Edit::SetFlag { track: id, frame, before, after: !before };
    press(&mut m, "6 G");
    assert_eq!(journaled(&press(&mut m, "F")), [flag(5, false)]);
    assert_eq!(journaled(&press(&mut m, "F")), [flag(5, true)]);
    press(&mut m, "g g");
    press(&mut m, "u");
    assert_eq!((m.frame, track(&m).flags.contains(&5)), (5, true), "{:?}", m.message);
    assert!(m.message.text.contains("flag on frame 6"), "{:?}", m.message);
    assert_eq!(journaled(&run(&mut m, "5,7 flag")), [flag(4, false), flag(6, false)]);
    let place = Edit::SetPlace { letter: 'k', before: None, after: Some(5) };
    assert_eq!(journaled(&press(&mut m, "m k")), [place]);
    assert!(press(&mut m, "m k").is_empty(), "it is so already");
    press(&mut m, "u u");
    assert!(m.annotation.places.is_empty() && track(&m).flags.len() == 1);
    // A correction that is repeated takes the flag with it, and its undo brings both back.
    press(&mut m, "g g 5 l b");
    run(&mut m, "g/doubt>-1/unflag");
    run(&mut m, "6 flag");
    press(&mut m, ";");
    assert_eq!((m.frame, points(&m).len(), track(&m).flags.len()), (5, 1, 0));
    press(&mut m, "u");
    assert_eq!((points(&m).len(), track(&m).flags.len()), (0, 1), "{:?}", m.message);
}

#[test]
fn what_belongs_to_the_person_is_kept_and_comes_back() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    let mut kept = press(&mut m, "Q m . S-left Q");
    kept.extend(run(&mut m, "reaction 243"));
    let kept: Vec<_> = kept
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Remember(learned) => Some(learned),
            _ => None,
        })
        .collect();
    let time = Duration::from_millis(243);
    assert_eq!(kept, [Learned::Macro('m', ". S-left".into()), Learned::ReactionSet(time)]);

    let mut m = model(FRAMES);
    let macros = [('m', ". S-left"), ('x', ". no-key")].map(|(c, keys)| (c, keys.to_owned()));
    let reaction = Some((time, "2026-11-02".to_owned()));
    sonomark::tui::recall(&mut m, Person { reaction, macros: macros.into() });
    assert!(m.message.text.contains("macro x"), "{:?}", m.message);
    (0..3).for_each(|frame| drop(see(&mut m, frame)));
    press(&mut m, "2 @ m");
    assert_eq!((m.frame, m.cursor.x), (2, 16.5));
    with_a_mask(&mut m);
    press(&mut m, "space T");
    assert!(m.message.text.contains("243 ms back, measured 2026-11-02"), "{:?}", m.message);
}

#[test]
fn places_registers_and_macros_by_letters() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    press(&mut m, "m a y q");
    // Copy from here, paste three frames on.
    press(&mut m, "3 P q");
    assert_eq!(
        (m.frame, track(&m).masks[&3].mask.area_px()),
        (3, track(&m).masks[&0].mask.area_px())
    );
    press(&mut m, "'");
    assert!(m.message.text.contains("go to the frame"), "{:?}", m.message);
    // What asked for the letter goes with it.
    press(&mut m, "a");
    assert_eq!((m.frame, m.message.text.as_str()), (0, ""));
    press(&mut m, "' z");
    assert!(m.message.text.contains("no frame is called z"));
    // A macro: next frame, flag it.
    (0..4).for_each(|frame| drop(see(&mut m, frame)));
    press(&mut m, "Q m . F Q 2 @ m");
    assert_eq!(m.frame, 3);
    assert!(!m.message.text.contains("a letter"), "{:?}", m.message);
    assert_eq!(track(&m).flags.len(), 3);
    // One that plays itself ends.
    press(&mut m, "Q w @ w Q @ w");
    assert!(m.message.text.contains("stopped after"), "{:?}", m.message);
    assert!(m.tools.to_play.is_empty() && !m.keymap.keys_of(Action::PlayMacro).is_empty());
    press(&mut m, "y ;");
    assert!(m.message.text.contains("no letter"), "{:?}", m.message);
}

#[test]
fn lines_over_ranges_and_conditions() {
    let mut m = model(FRAMES);
    propagated(&mut m, |_| 10.0);
    run(&mut m, "rename lesion");
    run(&mut m, "windows lesion add 3,30");
    run(&mut m, "windows lesion remove 10,12");
    let windows = [Window { first: 2, last: 8 }, Window { first: 12, last: 29 }];
    assert_eq!(track(&m).windows, windows);
    run(&mut m, "windows nerve add 1,2");
    assert!(m.message.text.contains("there are: lesion"), "{:?}", m.message);
    run(&mut m, "windows lesion clear");
    run(&mut m, "5,8 accept");
    let sources = |track: &Track, source: MaskSource| {
        track.masks.iter().filter(|(_, m)| m.source == source).map(|(f, _)| *f).collect::<Vec<_>>()
    };
    assert_eq!(sources(track(&m), MaskSource::Accepted), [4, 5, 6, 7]);
    let area = track(&m).masks[&20].mask.area_px();
    run(&mut m, "21,22 grow 2");
    assert!(
        track(&m).masks[&20].mask.area_px() > area && track(&m).masks[&22].mask.area_px() == area
    );
    run(&mut m, "g/score<0.95/flag");
    assert!(track(&m).flags.len() > 30);
    run(&mut m, "g/accepted/unflag");
    run(&mut m, "30,$ discard");
    assert_eq!(track(&m).masks.keys().next_back(), Some(&28));
    let effects = run(&mut m, "32,35 propagate both");
    let plan = effects.iter().find_map(|e| match e {
        Effect::Propagate(_, plan) => Some(plan.frames().collect::<Vec<_>>()),
        _ => None,
    });
    let frames = plan.unwrap_or_else(|| panic!("{:?}", m.message));
    assert_eq!((frames.first(), frames.last()), (Some(&22), Some(&34)), "from the nearest anchor");
    let mut first = model(FRAMES);
    for line in ["frame 6", "boundary 20 20", "boundary 40 40"] {
        run(&mut first, line);
    }
    let effects = run(&mut first, "1,5 propagate forward");
    let plan = effects.iter().find_map(|e| match e {
        Effect::Propagate(_, plan) => Some(plan.frames().collect::<Vec<_>>()),
        _ => None,
    });
    assert!(plan.is_some_and(|frames| frames.contains(&0)), "the first frame belongs to it");
    for (line, told) in [
        ("3,99 accept", "it has 1 to 40"),
        ("3,9", "what about them"),
        ("3,9 paint", "cannot be done to a range"),
        ("g/score/flag", "no condition"),
        ("g/stale", "write `g/CONDITION/COMMAND`"),
        ("windows lesion add", "needs LABEL"),
        ("1,9 grow 900", "no distance"),
        ("g/accepted/propagate", "needs a range"),
    ] {
        run(&mut m, line);
        assert!(m.message.text.contains(told), "{line}: {:?}", m.message);
    }
    // A frame alone is gone to, as its number is, and what an earlier line was told does not stand for it.
    for (line, frame) in [("$", FRAMES - 1), ("12", 11), (".", 11)] {
        run(&mut m, "frame 99");
        kind(&mut m, &format!(":{line}"));
        press(&mut m, "enter");
        assert_eq!((m.frame, m.message.text.as_str()), (frame, ""), "{line}");
    }
    press(&mut m, "m b");
    run(&mut m, "1");
    run(&mut m, "'b");
    assert_eq!(m.frame, 11);
    kind(&mut m, ":.,'x accept");
    press(&mut m, "enter");
    assert!(m.message.text.contains("no frame is called x"));
    let mut empty = model(3);
    run(&mut empty, "% accept");
    assert_eq!(empty.annotation, Annotation::default());
}

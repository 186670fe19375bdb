//! What there is to look at: looks, M-mode, the area over time, distances, a wide timeline, letters
//! as text. What is shown changes, and what a key says; what the network, rays and exports see does
//! not.

use std::sync::Arc;

use sonomark::domain::{
    Bitmap, Colours, Cut, GrayFrame, PictureLook, PointKind, PointPx, Prompt, Region,
};
use sonomark::engine::{Decided, Event, Surround};
use sonomark::tui::graphics::{Grid, Picture};
use sonomark::tui::model::{Effect, Mode, Model, Msg, Opening};
use sonomark::tui::theme::Theme;
use sonomark::tui::view::{self, Canvas, palette};
use sonomark::tui::{REST, fit_look, update};

use crate::screen::{has, screen};
use crate::update::{model, opened, press, propagation, refresh_of, tell, track};

/// A dark disc in texture of grays 60 to 99, beside a bright border that is no ultrasound.
fn frame() -> Arc<GrayFrame> {
    let gray = |i: u32| {
        let (x, y) = (i % 64, i / 64);
        let far = PointPx::pixel_centre(x, y).distance(PointPx::new(32.5, 24.5));
        match far {
            _ if x < 8 => 230,
            far if far < 10.0 => 60,
            _ => 80 + (x * 7 + y * 3) as u8 % 20,
        }
    };
    Arc::new(GrayFrame::new(64, 48, (0..64 * 48).map(gray).collect()).unwrap())
}

fn seen(frames: usize) -> Model {
    let mut m = model(frames);
    update(&mut m, Msg::Resized(Grid { columns: 160, rows: 40, cell_px: (8, 16) }));
    tell(&mut m, Event::Frame { frame: 0, pixels: frame() });
    m
}

fn shown(m: &Model) -> Picture {
    let colours = palette(&Theme::shipped("dark").unwrap(), 256, view::LEVELS, false);
    Canvas::default().compose(m, &colours, 4).unwrap()
}

#[test]
fn a_look_changes_what_is_shown_and_nothing_that_is_sent_or_asked() {
    let (mut plain, mut changed) = (seen(8), seen(8));
    let before = shown(&changed);
    let looked = press(&mut changed, "v l v k v u v d v e");
    assert_eq!(looked, [], "nobody is told but the screen");
    assert_ne!(shown(&changed), before);
    has(&screen(&changed), &["own look: gain 1.15, level +8, gamma 0.87, auto, CLAHE"]);
    assert_eq!(changed.pixels().unwrap(), &frame(), "the frame is as it was decoded");
    // The same keys ask the network the same, and rays find the same edges.
    let keys = "b enter 3 9 6 p p esc";
    assert_eq!(press(&mut changed, keys), press(&mut plain, keys));
    assert_eq!(track(&changed).prompts, track(&plain).prompts);
    press(&mut changed, "v v");
    press(&mut plain, "v v");
    assert_eq!(shown(&changed), shown(&plain));
    assert!(!screen(&changed).contains("look:"), "nothing is changed any more");
}

#[test]
fn flow_is_shown_in_colour_until_a_key_makes_it_gray() {
    let mut m = seen(8);
    assert!(!m.picture.flow, "gray so far");
    let pixel = |i: usize| if (20..30).contains(&(i % 64)) { [220, 40, 10] } else { [90; 3] };
    let coloured = (*frame()).clone().with_colours(Colours::of((0..64 * 48).map(pixel)));
    let coloured = Arc::new(coloured);
    tell(&mut m, Event::Frame { frame: 1, pixels: Arc::clone(&coloured) });
    assert!(m.picture.flow, "before its frame is reached: registers change once for a clip");
    press(&mut m, ".");
    let theme = Theme::shipped("dark").unwrap();
    let reddest = |m: &Model, theme: &Theme| {
        let flow = m.picture.flow && m.picture.look.colour;
        let colours = palette(theme, 256, view::LEVELS, flow);
        let picture = Canvas::default().compose(m, &colours, 4).unwrap();
        let red = |index: &u8| {
            let [red, green, _] = colours.rgb(*index);
            u32::from(red.saturating_sub(green))
        };
        picture.indices.iter().map(red).sum::<u32>() / picture.indices.len() as u32
    };
    assert!(reddest(&m, &theme) > 10);
    press(&mut m, "v f");
    assert_eq!(m.message.text, "colours as gray: no colour");
    assert!(reddest(&m, &theme) < 2);
    has(&screen(&m), &["own look: no colour"]);
    press(&mut m, "v f");
    assert!(reddest(&m, &theme) > 10);
    assert!(reddest(&m, &theme.without_colours()) < 2, "NO_COLOR counts for pictures too");
    assert_eq!(m.pixels(), Some(&coloured));
}

#[test]
fn an_automatic_look_stretches_what_lies_inside_the_region_and_stays_for_the_clip() {
    let mut m = seen(8);
    press(&mut m, "v d");
    let (_, [low, high]) = m.picture.range.unwrap();
    assert_eq!((low, high), (60, 230), "no region is known");
    m.surround = Surround::Found(Region::Box([8, 0, 63, 47]));
    press(&mut m, "c");
    assert_eq!(m.picture.range.unwrap().1, [60, 99]);
    let tone = m.picture.tone();
    assert!((tone.level - 79.5).abs() < 0.1 && (tone.window - 39.0).abs() < 0.1, "{tone:?}");
    // A brighter frame is shown with the range of the first: a cine does not flicker.
    press(&mut m, ".");
    let bright = Arc::new(GrayFrame::new(64, 48, vec![240; 64 * 48]).unwrap());
    tell(&mut m, Event::Frame { frame: 1, pixels: bright });
    assert_eq!(m.picture.range.unwrap().1, [60, 99]);
    press(&mut m, "v d");
    assert_eq!(m.picture.tone().window, 255.0);
}

#[test]
fn looks_come_by_key_name_label_and_journal() {
    let mut m = seen(8);
    let names: Vec<String> = m.looks.presets.iter().map(|each| each.name.clone()).collect();
    assert_eq!(names, ["raw", "vessel", "nerve", "breast", "heart"]);
    press(&mut m, "v g");
    assert!(m.message.text.starts_with("look vessel: gamma 0.8, auto"), "{:?}", m.message);
    has(&screen(&m), &["vessel: gamma 0.8, auto"]);
    press(&mut m, "2 v g");
    assert!(m.message.text.contains("look breast"), "a count: {:?}", m.message);
    update(&mut m, Msg::Line("look nerv".into()));
    assert!(m.message.text.contains("did you mean nerve?"), "{:?}", m.message);
    update(&mut m, Msg::Line("look nerve".into()));
    assert!(m.picture.look.clahe);
    // No step on from a look by hand leaves it.
    press(&mut m, "v l");
    let own = m.picture.look;
    update(&mut m, Msg::Line("next-look 0".into()));
    assert_eq!(m.picture.look, own, "{:?}", m.message);
    update(&mut m, Msg::Line("look nerve".into()));
    // The place is noted with the look, and opening the clip again brings it back.
    let effects = update(&mut m, Msg::Tick(REST * 2));
    let noted = effects.iter().find_map(|effect| match effect {
        Effect::JournalView(view) => Some(*view),
        _ => None,
    });
    assert_eq!(noted.unwrap().look, Some(m.picture.look));
    let mut again = opened(8);
    again.view = noted;
    update(&mut m, Msg::Line("look raw".into()));
    m.opening = Some(Opening { at: 1, cut: Cut::default(), since: m.now });
    update(&mut m, Msg::Opened(Box::new(again)));
    assert!(m.picture.look.clahe && m.looks.own);

    // Nobody chose yet: a label of the clip's structures decides, and a setting before it.
    let mut fresh = model(8);
    press(&mut fresh, "b");
    update(&mut fresh, Msg::Line("rename carotid artery".into()));
    fit_look(&mut fresh);
    assert_eq!((fresh.picture.look.gamma, fresh.looks.own), (0.8, false));
    assert_eq!(fresh.view().look, None, "what was not chosen is not kept");
    fresh.looks.always = Some("raw".into());
    fit_look(&mut fresh);
    assert_eq!(fresh.picture.look, PictureLook::default());
}

/// The boundary points of the frame at hand.
fn boundary(m: &Model) -> Vec<PointPx> {
    let placed = m.current().and_then(|(_, track)| track.prompts.get(&m.frame));
    let of = |prompt: &Prompt| match prompt {
        Prompt::Point { kind: PointKind::Boundary, at } => Some(*at),
        _ => None,
    };
    placed.into_iter().flatten().filter_map(|each| of(&each.prompt)).collect()
}

/// How far a place lies beside the line of the strip, px.
fn beside(m: &Model, at: PointPx) -> f32 {
    let strip = m.tools.strip.as_ref().unwrap();
    let (dx, dy) = strip.ray.step();
    ((at.x - strip.from.x) * dy - (at.y - strip.from.y) * dx).abs()
}

#[test]
fn m_mode_takes_the_ray_at_hand_and_points_lie_exactly_on_it() {
    let mut m = seen(8);
    press(&mut m, "enter 2");
    let ray = m.tools.rays.as_ref().unwrap().last.as_ref().unwrap().ray;
    let first = boundary(&m)[0];
    let effects = update(&mut m, Msg::Line("m-mode".into()));
    let strip = m.tools.strip.clone().unwrap();
    assert_eq!((strip.ray, m.mode.clone()), (ray, Mode::Normal));
    assert_eq!(effects, [Effect::Strip(strip.number, ray.centre, strip.to)]);
    has(&screen(&m), &["M-MODE", "along the line", "depth"]);
    assert!((strip.depth_px - first.distance(ray.centre)).abs() < 0.8, "at the ray's point");

    press(&mut m, "down 3 down");
    assert!(m.message.text.contains("down the line of"), "{:?}", m.message);
    let depth = strip.depth_px + 4.0;
    press(&mut m, "b");
    let at = boundary(&m)[1];
    assert!(beside(&m, at) < 1e-3 && (at.distance(ray.centre) - depth).abs() < 1e-3, "{at:?}");
    assert!((at.x - at.x.floor() - 0.5).abs() > 0.01, "between pixels, not at the cursor's");

    // Left and right are frames here, and the place on the line stays.
    press(&mut m, "right b");
    assert_eq!(m.frame, 1);
    assert!(boundary(&m)[0].distance(at) < 1e-3);
    press(&mut m, "up esc");
    assert!(m.tools.strip.is_none() && m.message.text.contains("no M-mode"), "{:?}", m.message);
}

#[test]
fn a_point_by_numbers_or_repeated_lies_where_it_should_whatever_line_m_mode_shows() {
    let mut m = seen(8);
    let effects = press(&mut m, "b");
    let (ticket, frame) = refresh_of(&effects).unwrap();
    let bitmap = Bitmap::from_fn(64, 48, |x, y| (22..43).contains(&x) && (14..35).contains(&y));
    let decided =
        Decided { bitmap, score: 0.9, object_score_logit: 5.0, encode_ms: 0.0, decode_ms: 1.0 };
    tell(&mut m, Event::Refreshed { ticket, frame, decided });
    // A line straight down through column 20.
    update(&mut m, Msg::Line("cursor 20 30".into()));
    press(&mut m, "v x");
    update(&mut m, Msg::Line("boundary 40 10".into()));
    let put = PointPx::new(40.5, 10.5);
    assert_eq!((boundary(&m)[1], m.cursor), (put, put));
    // The correction again, by its place in the mask.
    press(&mut m, "u F");
    assert_eq!(boundary(&m).len(), 1);
    press(&mut m, ";");
    assert_eq!(boundary(&m)[1], put, "{:?}", m.message);
}

#[test]
fn without_a_ray_the_line_goes_through_the_cursor_and_turns_by_keys() {
    let mut m = seen(8);
    update(&mut m, Msg::Line("cursor 20 30".into()));
    let cursor = m.cursor;
    press(&mut m, "v x");
    assert_eq!(m.tools.strip.as_ref().unwrap().ray.hour, 6.0);
    let before = shown(&m);
    let effects = press(&mut m, "4 ]");
    let strip = m.tools.strip.clone().unwrap();
    assert_eq!(effects, [Effect::Strip(strip.number, strip.from, strip.to)], "read anew");
    assert_eq!((strip.ray.hour, m.cursor), (7.0, cursor));
    assert!(m.message.text.contains("+30.0 degrees"), "{:?}", m.message);
    assert!(beside(&m, cursor) < 1e-3 && strip.from.y < strip.to.y);
    // Turned past level the upper end is still the upper end.
    press(&mut m, "1 2 ]");
    let turned = m.tools.strip.clone().unwrap();
    assert!(turned.from.y <= turned.to.y && beside(&m, cursor) < 1e-3, "{turned:?}");
    press(&mut m, "1 6 [");
    // The marker of the depth: a row of the strip, further down after going down.
    let row = |m: &Model| {
        let (now, top) = (shown(m), before.height_px - m.strip_px());
        let mark = palette(&Theme::shipped("dark").unwrap(), 256, view::LEVELS, false);
        let mark = mark.overlay(sonomark::tui::graphics::Colour(14));
        (top + 3..now.height_px).find(|y| now.row(*y)[..2] == [mark; 2]).unwrap()
    };
    let (strip_px, there) = (m.strip_px() as f32, row(&m));
    press(&mut m, "1 2 down");
    let further = (row(&m) - there) as f32;
    assert!((further - 12.0 / 47.0 * strip_px).abs() < 3.0, "{further} of {strip_px}");
}

/// 20 columns by so many rows.
fn bar(rows: u32) -> Decided {
    let bitmap = Bitmap::from_fn(64, 48, |x, y| x < 20 && y < rows);
    Decided { bitmap, score: 0.9, object_score_logit: 5.0, encode_ms: 0.0, decode_ms: 1.0 }
}

#[test]
fn the_area_over_time_is_a_curve_from_the_least_to_the_most_with_both_numbers() {
    let mut m = model(16);
    tell(&mut m, Event::Frame { frame: 0, pixels: frame() });
    press(&mut m, "v a");
    has(&screen(&m), &["no masks yet, so no area over time"]);
    press(&mut m, "v a");
    let (ticket, frame) = refresh_of(&press(&mut m, "b")).unwrap();
    tell(&mut m, Event::Refreshed { ticket, frame, decided: bar(30) });
    let (ticket, frames) = propagation(&mut m, "p p");
    for frame in frames.into_iter().filter(|frame| *frame != 8) {
        // A tenth more from the first frame to the last.
        tell(&mut m, Event::Tracked { ticket, frame, decided: bar(30 + frame as u32 / 5) });
    }
    tell(&mut m, Event::Finished { ticket, cancelled: true });
    press(&mut m, "v a");
    let top = usize::from(m.areas().unwrap().timeline.y) + 2;
    let text = screen(&m);
    let curve: Vec<Vec<char>> =
        text.lines().skip(top).take(4).map(|l| l.chars().collect()).collect();
    let ends = |row: usize| curve[row].iter().collect::<String>();
    assert!(ends(0).ends_with(" 165.0 mm2") && ends(3).ends_with(" 150.0 mm2"), "{text}");
    let is_drawn = |sign: &char| ('\u{2801}'..='\u{28ff}').contains(sign);
    let drawn = |row: usize, column: usize| curve[row].get(column).is_some_and(is_drawn);
    // Frame f begins at column f * 70 / 16: the numbers take ten of the 80.
    let lowest = |column: usize| (0..4).rev().find(|row| drawn(*row, column));
    assert_eq!((lowest(1), lowest(68)), (Some(3), Some(0)), "{text}");
    assert!(lowest(30) < Some(3) && lowest(30) > Some(0), "a step in between: {text}");
    assert_eq!([36, 37, 38].map(lowest), [None; 3], "frame 9 is not decided: {text}");
    m.clip.pixel_spacing_mm = None;
    has(&screen(&m), &[" 660 px", " 600 px"]);
}

#[test]
fn a_distance_is_in_mm_and_without_spacing_refused_with_the_reason() {
    let mut m = model(8);
    m.clip.pixel_spacing_mm = Some([0.5, 0.25]);
    let measure = |m: &mut Model| {
        update(m, Msg::Line("cursor 10 10".into()));
        press(m, "v c");
        update(m, Msg::Line("cursor 20 34".into()));
        press(m, "v c");
        m.message.text.clone()
    };
    // 10 px of 0.5 mm across, 24 of 0.25 mm down.
    assert_eq!(measure(&mut m), "distance 7.8 mm");
    press(&mut m, "v c");
    m.clip.pixel_spacing_mm = None;
    assert_eq!(measure(&mut m), "distance 26.0 px (no mm: this clip tells no spacing)");
}

#[test]
fn a_short_clip_fills_a_wide_timeline_and_its_frames_can_be_counted() {
    for (columns, rows, wide) in [(80, 24, 78), (300, 80, 298)] {
        let mut m = model(16);
        update(&mut m, Msg::Resized(Grid { columns, rows, cell_px: (8, 16) }));
        let at = usize::from(m.areas().unwrap().timeline.y) + 1;
        let signs = screen(&m).lines().nth(at).unwrap().to_owned();
        assert!(signs.trim_end().chars().count() >= wide, "{signs:?}");
        assert_eq!(signs.split_whitespace().count(), 16, "{signs:?}");
    }
}

#[test]
fn in_half_blocks_letters_are_text_and_none_hides_another() {
    let mut m = model(8);
    update(&mut m, Msg::Resized(Grid { columns: 80, rows: 24, cell_px: (1, 2) }));
    tell(&mut m, Event::Frame { frame: 0, pixels: frame() });
    press(&mut m, "enter 3");
    let colours = palette(&Theme::shipped("dark").unwrap(), 256, view::LEVELS, false);
    let mut canvas = Canvas::default();
    let picture = canvas.compose(&m, &colours, 1).unwrap();
    let area = m.areas().unwrap().picture;
    let cells: std::collections::BTreeSet<_> =
        canvas.letters().iter().map(|each| (each.column, each.row)).collect();
    assert_eq!(cells.len(), canvas.letters().len(), "each has a cell of its own");
    assert!(cells.len() >= 4 && cells.iter().all(|(x, y)| *x < area.width && *y < area.height));
    let mark = colours.overlay(sonomark::tui::graphics::Colour(14));
    let marked = picture.indices.iter().filter(|index| **index == mark).count();
    assert!(marked < 60, "{marked} px of the picture are marks");
    // With pixels they are part of the picture.
    canvas.compose(&m, &colours, 4);
    assert!(canvas.letters().is_empty());
}

//! The text parts of the screen, drawn into a test backend.

use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use sonomark::domain::{Bitmap, Edit, GrayFrame, Region, Track, TrackId, Window};
use sonomark::engine::{Decided, Event, SegmenterInfo, Surround};
use sonomark::tui::graphics::Grid;
use sonomark::tui::keymap::Keymap;
use sonomark::tui::model::{Effect, Mode, Model, Msg, Saved};
use sonomark::tui::theme::Theme;
use sonomark::tui::update;
use sonomark::tui::view::{self, Canvas, Look, palette};

use crate::update::{kind, model, model_with, others, press, propagation, tell};

pub(crate) fn resized(columns: u16, rows: u16) -> Model {
    let mut model = model(40);
    update(&mut model, Msg::Resized(Grid { columns, rows, cell_px: (8, 16) }));
    model
}

/// The screen as text, and whether the picture has a place.
fn drawn(model: &Model, theme: &Theme, ascii: bool) -> (String, bool) {
    let (columns, rows) = (model.grid.columns, model.grid.rows);
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    let mut area = None;
    terminal.draw(|frame| area = view::draw(frame, model, Look { theme, ascii })).unwrap();
    let buffer = terminal.backend().buffer();
    let text: Vec<String> = (0..rows)
        .map(|y| {
            (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned()
        })
        .collect();
    if let Some(area) = area {
        assert!(area.bottom() < rows, "a picture on the last row scrolls some terminals");
    }
    (text.join("\n"), area.is_some())
}

pub(crate) fn screen(model: &Model) -> String {
    drawn(model, &Theme::shipped("dark").unwrap(), false).0
}

pub(crate) fn has(text: &str, wanted: &[&str]) {
    for each in wanted {
        assert!(text.contains(each), "`{each}` is missing:\n{text}");
    }
}

fn with_mask(model: &mut Model) {
    let effects = press(model, "b");
    let Some(Effect::Refresh(ticket, frame, _)) =
        effects.iter().find(|e| matches!(e, Effect::Refresh(..)))
    else {
        panic!("asked");
    };
    let bitmap = Bitmap::from_fn(64, 48, |x, _| x < 10);
    let decided =
        Decided { bitmap, score: 0.87, object_score_logit: 3.0, encode_ms: 0.0, decode_ms: 1.0 };
    tell(model, Event::Refreshed { ticket: *ticket, frame: *frame, decided });
}

#[test]
fn an_untouched_clip_says_what_to_do() {
    for (columns, rows) in [(80, 24), (150, 50)] {
        let text = screen(&resized(columns, rows));
        has(
            &text,
            &[
                "NORMAL",
                "frame 1/40",
                "saved",
                "cine.dcm",
                "none yet",
                "boundary point",
                "points by clock",
                "all keys",
            ],
        );
        has(&text, &["network loading", "(32, 24)"]);
    }
}

#[test]
fn what_may_hold_patient_data_is_told_for_as_long_as_it_does() {
    const BADGE: &str = "may contain patient data";
    let mut m = resized(120, 40);
    assert!(!screen(&m).contains(BADGE));
    m.private = true;
    press(&mut m, "l l l b");
    has(&screen(&m), &[BADGE]);
    let region = Region::Box([4, 4, 60, 40]);
    m.surround = Surround::Black(region);
    has(&screen(&m), &[BADGE, "not black"]);
}

#[test]
fn structures_masks_windows_and_the_timeline_are_shown() {
    for (columns, rows) in [(80, 24), (150, 50)] {
        let mut m = resized(columns, rows);
        tell(
            &mut m,
            Event::Ready(SegmenterInfo {
                model: "samusa-nano".into(),
                device: "cpu: no GPU".into(),
                bridged: columns == 150,
            }),
        );
        with_mask(&mut m);
        kind(&mut m, ":window 1 20");
        press(&mut m, "enter");
        press(&mut m, "t n t h");
        press(&mut m, "N .");
        let text = screen(&m);
        has(&text, &["structure 1", "(structure 2)", "1/20", "no mask"]);
        has(&text, &["▼", "====", "◆", "·"]);
        press(&mut m, ",");
        has(&screen(&m), &["mask from points", "score 0.87", "1 boundary point", "area 120.0 mm2"]);
        if columns == 150 {
            has(&screen(&m), &["samusa-nano (points bridged) on cpu: no GPU", "mask 0 ms"]);
        }
        press(&mut m, "p p");
        has(&screen(&m), &["propagating 0/19", "go on working"]);
    }
}

#[test]
fn rays_questions_letters_and_doubts_are_explained_on_the_spot() {
    let mut m = resized(80, 24);
    let pixels: Vec<u8> = (0..64 * 48).map(|i| if i % 64 < 20 { 20 } else { 180 }).collect();
    let frame = Arc::new(GrayFrame::new(64, 48, pixels).unwrap());
    tell(&mut m, Event::Frame { frame: 0, pixels: Arc::clone(&frame) });
    press(&mut m, "enter 9");
    let text = screen(&m);
    has(&text, &["letters    move it"]);
    has(&text, &["RAYS", "Clock rays", "the hours", "dotted ray", "edge 1 of 1", "9 o'clock"]);
    press(&mut m, "esc w b");
    has(
        &screen(&m),
        &["VISIBLE?", "visible here? y or n (its", "Visible on this frame?", "stop asking"],
    );
    press(&mut m, "esc m");
    has(&screen(&m), &["call this frame by a", "never mind"]);
    press(&mut m, "esc F");
    has(&screen(&m), &["█"]);
    press(&mut m, "Q x");
    has(&screen(&m), &["recording x"]);

    // Without a point letters move nothing: one of them would accept the mask.
    let mut m = resized(80, 24);
    tell(&mut m, Event::Frame { frame: 0, pixels: frame });
    with_mask(&mut m);
    press(&mut m, "enter");
    let text = screen(&m);
    has(&text, &["no point yet", "the hours"]);
    assert!(!text.contains("move it"), "{text}");
}

#[test]
fn windows_behind_the_clip_count_for_nothing() {
    let mut m = resized(80, 24);
    let mut content = Track::new("theirs", 0);
    content.windows = [(30, 59), (70, 80)].map(|(first, last)| Window { first, last }).into();
    tell(&mut m, others(vec![Edit::AddTrack { track: TrackId(9), content }]));
    has(&screen(&m), &["theirs", " 0/10"]);
    press(&mut m, "E");
    assert!(m.message.text.contains("10 frames without a mask"), "{:?}", m.message);
}

#[test]
fn keys_that_have_no_room_are_told_to_be_there() {
    let mut m = resized(40, 12);
    press(&mut m, "v");
    has(&screen(&m), &["toggle-area", " more lines"]);
}

#[test]
fn a_prefix_shows_what_can_follow_beside_the_picture() {
    let mut m = resized(80, 24);
    press(&mut m, "4 w");
    let (text, picture) = drawn(&m, &Theme::shipped("dark").unwrap(), false);
    has(&text, &["4w", "w ...", "window-start", "window-end", "window-new", "never mind"]);
    assert!(picture, "the picture stays");
    // Where there is room for it, it says what the keys do.
    let mut m = resized(120, 36);
    press(&mut m, "w");
    let text = screen(&m);
    has(&text, &["the structure is visible from", "this frame on", "never mind"]);
    assert!(!text.contains("window-start"), "{text}");
}

#[test]
fn what_comes_next_is_told_where_there_is_room() {
    let mut m = resized(120, 36);
    with_mask(&mut m);
    has(&screen(&m), &["1 boundary point", "another point", "first visible", "p p", "all keys"]);
    // In a small terminal the likeliest, and how to find the rest.
    let mut small = resized(80, 24);
    with_mask(&mut small);
    has(&screen(&small), &["another point", "first visible", "p p", "all keys"]);
    let mut small = resized(60, 20);
    with_mask(&mut small);
    let text = screen(&small);
    has(&text, &["another point", "all keys"]);
    assert!(!text.contains("first visible"), "{text}");
    let (ticket, _) = propagation(&mut m, "p p");
    let bitmap = Bitmap::empty(64, 48);
    let decided =
        Decided { bitmap, score: 0.4, object_score_logit: 3.0, encode_ms: 0.0, decode_ms: 1.0 };
    tell(&mut m, Event::Tracked { ticket, frame: 1, decided });
    press(&mut m, ".");
    let text = screen(&m);
    has(&text, &["mask propagated", "the mask is empty", "most in doubt", "finish the clip"]);
    assert!(!text.contains("another point"), "{text}");
    // Frames without a mask come first, unless they are being decided.
    assert!(!text.contains("p p"), "{text}");
    tell(&mut m, Event::Finished { ticket, cancelled: true });
    has(&screen(&m), &["p p propagate", "most in doubt"]);
    kind(&mut m, ":window 1 2");
    press(&mut m, "enter");
    assert!(!screen(&m).contains("p p"), "{}", screen(&m));
    // Masks that are older than a new point are counted.
    press(&mut m, ", L b");
    has(&screen(&m), &["p p propagate: 2 stale", "most in doubt"]);
}

#[test]
fn no_key_comes_next_that_would_refuse() {
    let mut m = resized(120, 36);
    with_mask(&mut m);
    kind(&mut m, ":window 1 3");
    press(&mut m, "enter");
    let (ticket, _) = propagation(&mut m, "p p");
    for frame in [1, 2] {
        tell(&mut m, Event::Tracked { ticket, frame, decided: crate::update::decided(6) });
    }
    tell(&mut m, Event::Finished { ticket, cancelled: false });
    // There is nothing left to propagate from, and here nothing to accept.
    press(&mut m, "X");
    let text = screen(&m);
    has(&text, &["no mask", "boundary point", "most in doubt"]);
    assert!(!text.contains("p p") && !text.contains("accept the mask"), "{text}");
    press(&mut m, ".");
    has(&screen(&m), &["mask propagated", "accept the mask"]);
}

#[test]
fn what_comes_next_is_that_of_the_structure_at_hand() {
    let mut m = resized(120, 36);
    with_mask(&mut m);
    kind(&mut m, ":window 1 3");
    press(&mut m, "enter");
    let text = screen(&m);
    has(&text, &["another point", "p p propagate", "new structure"]);
    assert!(!text.contains("first visible"), "{text}");
    let (ticket, _) = propagation(&mut m, "p p");
    for frame in [1, 2] {
        tell(&mut m, Event::Tracked { ticket, frame, decided: crate::update::decided(6) });
    }
    tell(&mut m, Event::Finished { ticket, cancelled: false });
    // What is accepted, or changed by hand on every frame, is not begun anew.
    for keys in ["a . a . a", ": % g r o w enter"] {
        press(&mut m, keys);
        let text = screen(&m);
        has(&text, &["mask accepted", "most in doubt", "finish the clip"]);
        assert!(!text.contains("another point") && !text.contains("accept the mask"), "{text}");
        assert!(text.contains('●') && !text.contains('◆'), "accepted, with points or not: {text}");
    }
    press(&mut m, "t n");
    let text = screen(&m);
    has(&text, &["no mask", "boundary point", "first visible", "p p"]);
    assert!(!text.contains("finish the clip"), "{text}");
}

#[test]
fn a_still_has_no_windows_to_set() {
    let mut m = model(1);
    update(&mut m, Msg::Resized(Grid { columns: 120, rows: 36, cell_px: (8, 16) }));
    let text = screen(&m);
    has(&text, &["none yet", "boundary point", "all keys"]);
    assert!(!text.contains("first visible") && !text.contains("propagate"), "{text}");
    with_mask(&mut m);
    has(&screen(&m), &["another point", "accept the mask", "export"]);
    press(&mut m, "w s");
    assert_eq!(m.message.text, "visible in frame 1");
}

#[test]
fn a_clip_alone_is_not_counted() {
    let mut m = resized(80, 24);
    has(&screen(&m), &["64 x 48 px  clip 1/2"]);
    m.finished = true;
    has(&screen(&m), &["64 x 48 px  clip 1/2", "finished"]);
    m.queue.truncate(1);
    assert!(!screen(&m).contains("clip 1/"));
}

#[test]
fn half_blocks_and_zoom_are_told() {
    for (cell_px, told) in [((1, 2), true), ((8, 16), false)] {
        let mut m = resized(120, 36);
        update(&mut m, Msg::Resized(Grid { columns: 120, rows: 36, cell_px }));
        let text = screen(&m);
        has(&text, &["(32, 24)", "zoom x"]);
        assert_eq!(text.contains("half blocks"), told, "{text}");
    }
}

#[test]
fn on_narrow_terminals_the_help_leaves_room_for_words() {
    let mut m = resized(40, 12);
    press(&mut m, "?");
    has(&screen(&m), &["h  left       move the cursor left by 1"]);
}

#[test]
fn the_command_line_lists_what_fits_and_keeps_the_picture() {
    let mut m = resized(80, 24);
    kind(&mut m, ":prop");
    let (text, picture) = drawn(&m, &Theme::shipped("dark").unwrap(), false);
    has(&text, &[":prop", "COMMAND", "propagate-both", "propagate-window", "p p"]);
    assert!(picture);
    // What begins with frames names no action; the one whose name holds a number is not what is done.
    for (line, told) in [
        (":12", "enter goes to frame 12"),
        (":% grow", "enter does it to these"),
        (":g/", "for example"),
        (":4,9 ", "what about them?"),
    ] {
        press(&mut m, "esc");
        kind(&mut m, line);
        let text = screen(&m);
        has(&text, &[told]);
        assert!(!text.contains("nothing fits") && !text.contains("ray-12"), "{text}");
    }
    press(&mut m, "esc f2");
    kind(&mut m, "brighter");
    has(&screen(&m), &["PALETTE", "search: brighter", "level-up", "v k"]);
}

#[test]
fn the_help_page_shows_every_group_and_scrolls_to_its_end() {
    let mut m = resized(80, 24);
    press(&mut m, "?");
    let (text, picture) = drawn(&m, &Theme::shipped("dark").unwrap(), false);
    has(&text, &["HELP", "Cursor", "cursor left by 1 px"]);
    // Nothing of how keys are written is cut.
    has(
        &text,
        &["C- A- S-: with Ctrl, Alt, Shift; a count goes before a key: 12l\n", "esc closes)\n"],
    );
    assert!(!picture, "the page takes the place of the picture");
    let mut seen = text;
    for _ in 0..20 {
        press(&mut m, "space");
        seen.push_str(&screen(&m));
    }
    has(
        &seen,
        &["Windows of visibility", "Structures", "Network", "Program", "erase the command line"],
    );
    has(&seen, &["Clock rays (the first key opens them"]);
    has(&screen(&m), &["Signs of the timeline", "╌                        a stale mask"]);
    press(&mut m, "/");
    kind(&mut m, "timeline stale");
    has(&screen(&m), &["Signs of the timeline", "a stale mask"]);
    assert!(!screen(&m).contains("the frame at hand"), "{}", screen(&m));
    press(&mut m, "esc esc");
    has(&screen(&m), &["NORMAL"]);
}

#[test]
fn the_help_page_is_searched_by_words_and_keys() {
    let mut m = resized(80, 24);
    press(&mut m, "? /");
    kind(&mut m, "undo jq");
    press(&mut m, "backspace backspace backspace");
    let text = screen(&m);
    has(&text, &["SEARCH", "Keys with: undo_", "Program"]);
    assert!(!text.contains("undo jq"), "typed letters do not scroll or close");
    press(&mut m, "C-u");
    kind(&mut m, "take back");
    press(&mut m, "enter");
    let text = screen(&m);
    has(&text, &["HELP", "Keys with \"take back\" (1-", "last change"]);
    assert!(!text.contains("enlarge the picture"));
    press(&mut m, "esc");
    has(&screen(&m), &["HELP", "/ searches"]);
    press(&mut m, "/");
    kind(&mut m, "xyzzy");
    has(&screen(&m), &["nothing holds these words"]);
    press(&mut m, "esc esc");
    has(&screen(&m), &["NORMAL"]);
}

#[test]
fn missed_messages_can_be_read_again() {
    let mut m = resized(80, 24);
    let long =
        "keys.yaml:3: `add-boundry` is not an action; did you mean `add-boundary`? ".repeat(2);
    m.warn(long);
    press(&mut m, "w s M");
    let (text, picture) = drawn(&m, &Theme::shipped("dark").unwrap(), false);
    has(&text, &["MESSAGES", "The last 2 messages", "  visible in frames 1-40", "! keys.yaml:3:"]);
    assert!(!picture);
    press(&mut m, "j j j q");
    has(&screen(&m), &["NORMAL"]);
}

#[test]
fn warnings_that_come_at_once_are_not_overlooked() {
    let mut m = resized(80, 24);
    m.warn("clip 3 does not open");
    assert!(!screen(&m).contains("M shows"));
    m.warn("may contain patient data");
    m.say("outlined");
    has(&screen(&m), &["outlined (M shows 2 more)"]);
    press(&mut m, "l");
    assert!(!screen(&m).contains("M shows"), "who presses a key has seen it");
}

#[test]
fn what_is_cut_or_not_scrolled_to_is_not_taken_for_read() {
    let mut m = resized(80, 24);
    let theme = Theme::shipped("dark").unwrap();
    let whole = |m: &Model| view::tells_whole(m, Look { theme: &theme, ascii: false });
    let note = "anna and ben drew frame 3 of nerve at the same time; the mask of ben stays";
    m.warn(note);
    assert!(whole(&m), "{}", screen(&m));
    update(&mut m, Msg::Resized(Grid { columns: 60, rows: 24, cell_px: (8, 16) }));
    assert!(!whole(&m), "{}", screen(&m));
    m.saved = Saved::Failed("the disk is full".into());
    m.say("frame 3 is called k");
    assert!(whole(&m), "{}", screen(&m));
    (0..40).for_each(|n| m.say(format!("message {n}")));
    press(&mut m, "M");
    let text = screen(&m);
    has(&text, &["message 39", "message 23"]);
    assert!(!text.contains("message 22"), "{text}");
    let seen = |m: &Model, top| view::messages_seen(m, top).last().unwrap().text.clone();
    assert_eq!([seen(&m, 0), seen(&m, 2)], ["message 23", "message 21"]);
    assert_eq!(seen(&m, 100), note);
}

#[test]
fn a_path_longer_than_a_line_can_be_read_to_its_end() {
    let mut m = resized(80, 24);
    let folders = "study-7/".repeat(20);
    m.say(format!("exported to /data/{folders}masks of the clip.seg.nrrd: 3 masks"));
    has(&screen(&m), &["(M shows all)"]);
    press(&mut m, "M");
    let text = screen(&m);
    let joined: String = text.lines().map(str::trim).collect();
    has(&joined, &[folders.as_str(), "masks of the clip.seg.nrrd: 3 masks"]);
}

#[test]
fn a_failed_save_is_a_banner_that_stays() {
    let mut m = resized(80, 24);
    tell(&mut m, Event::SaveFailed { why: "No space left on device".into() });
    press(&mut m, "l l");
    has(&screen(&m), &["NOT SAVED: No space left on device"]);
    // What is written counts again when the disk has confirmed it.
    tell(&mut m, Event::Saved { unsynced: 1 });
    has(&screen(&m), &["NOT SAVED"]);
    tell(&mut m, Event::Saved { unsynced: 0 });
    assert_eq!(m.message.text, "saved again: everything is on the disk");
    assert!(!screen(&m).contains("NOT SAVED"));

    // A reason that has no room is read among the messages.
    let why = "cannot write the journal in the folder of the clip: No space left on device; \
               free some, 3 steps wait in memory";
    tell(&mut m, Event::SaveFailed { why: why.into() });
    has(&screen(&m), &["NOT SAVED: cannot write", "(M shows all)"]);
    // The answer to a key stays in sight.
    m.say("answer");
    has(&screen(&m), &["NOT SAVED", "answer"]);
    press(&mut m, "M");
    has(&screen(&m), &["not saved: cannot write", "free some, 3 steps wait in memory"]);
}

#[test]
fn tiny_terminals_show_a_sentence_and_no_size_panics() {
    let themes: Vec<Theme> = ["dark", "light", "mono"].map(|t| Theme::shipped(t).unwrap()).into();
    let text = screen(&resized(30, 8));
    has(&text, &["30 x 8", "needs 40 x 12"]);
    let keymap = Keymap::shipped();
    for (columns, rows) in
        [(1, 1), (2, 30), (39, 12), (40, 12), (59, 13), (60, 12), (61, 30), (500, 200)]
    {
        for prelude in ["l", "?", ":", "w", "b", "f2"] {
            let mut m = model_with(40, keymap.clone());
            update(&mut m, Msg::Resized(Grid { columns, rows, cell_px: (8, 16) }));
            press(&mut m, prelude);
            for theme in &themes {
                drawn(&m, theme, columns % 2 == 0);
            }
        }
    }
}

#[test]
fn names_of_files_cannot_act_on_the_terminal() {
    let mut m = resized(80, 24);
    m.clip.name = "a\u{1b}[2Jb\u{202e}.dcm".into();
    kind(&mut m, ":new x");
    press(&mut m, "enter");
    m.warn("bad \u{1b}]0;title\u{7}");
    let text = screen(&m);
    has(&text, &["\\u{1b}[2J"]);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains('\u{7}'));
}

#[test]
fn without_colours_words_and_shapes_say_it_all() {
    let theme = Theme::shipped("dark").unwrap().without_colours();
    let mut m = resized(80, 24);
    with_mask(&mut m);
    press(&mut m, "l b");
    let (text, _) = drawn(&m, &theme, true);
    has(&text, &["STALE", "#", "V", "> # structure 1"]);
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn the_picture_shows_mask_points_and_crosshair_and_the_old_frame_while_decoding() {
    let mut m = resized(150, 50);
    let pixels: Vec<u8> = (0..64 * 48).map(|i| (i % 200) as u8).collect();
    let frame = Arc::new(GrayFrame::new(64, 48, pixels).unwrap());
    tell(&mut m, Event::Frame { frame: 0, pixels: frame });
    let theme = Theme::shipped("dark").unwrap();
    let (colours, mut canvas) = (palette(&theme, 256, view::LEVELS, false), Canvas::default());
    press(&mut m, "v p");
    let bare = canvas.compose(&m, &colours, 4).unwrap();
    press(&mut m, "v p");
    let crosshair = canvas.compose(&m, &colours, 4).unwrap();
    assert_ne!(bare, crosshair);
    with_mask(&mut m);
    let masked = canvas.compose(&m, &colours, 4).unwrap();
    assert_ne!(crosshair, masked);
    press(&mut m, "v m v p");
    assert_eq!(canvas.compose(&m, &colours, 4).unwrap(), bare);
    // The next frame is not decoded yet: the last picture stays, without marks of its own.
    press(&mut m, "v m v p .");
    assert_eq!(canvas.compose(&m, &colours, 4).unwrap(), bare);
    let areas = m.areas().unwrap();
    assert_eq!((bare.width_px, bare.height_px), areas.picture_px(m.grid));
}

#[test]
fn on_the_way_to_a_far_frame_no_neighbour_is_shown() {
    let mut m = resized(150, 50);
    let see = |m: &mut Model, frame: usize, gray: u8| {
        let pixels = Arc::new(GrayFrame::new(64, 48, vec![gray; 64 * 48]).unwrap());
        tell(m, Event::Frame { frame, pixels });
    };
    let theme = Theme::shipped("dark").unwrap();
    let (colours, mut canvas) = (palette(&theme, 256, view::LEVELS, false), Canvas::default());
    press(&mut m, "v p");
    see(&mut m, 0, 60);
    let shown = canvas.compose(&m, &colours, 4).unwrap();
    // Decoded ahead of the next key, which goes elsewhere.
    see(&mut m, 1, 200);
    assert_eq!(canvas.compose(&m, &colours, 4).unwrap(), shown);
    press(&mut m, ">");
    assert_eq!(m.frame, 10);
    assert_eq!(canvas.compose(&m, &colours, 4).unwrap(), shown, "a picture nobody asked for");
    see(&mut m, 10, 120);
    assert_ne!(canvas.compose(&m, &colours, 4).unwrap(), shown);
    // What may not be seen any more does not stay either.
    tell(&mut m, Event::OutsideChanged { region: None });
    let after = canvas.compose(&m, &colours, 4).unwrap();
    assert!(after.indices.iter().all(|index| *index == 0));
}

#[test]
fn the_word_of_the_reaction_test_is_seen_on_narrow_terminals_too() {
    for columns in [50, 80] {
        let mut m = resized(columns, 24);
        press(&mut m, "w t");
        let Mode::Reaction(test) = &m.mode else { panic!("{:?}", m.mode) };
        let due = test.due;
        assert!(!screen(&m).contains("   NOW"), "{columns}");
        update(&mut m, Msg::Tick(due));
        has(&screen(&m), &["   NOW"]);
    }
}

#[test]
fn the_lesson_is_read_on_narrow_terminals_too_and_the_picture_stays() {
    for (columns, rows) in [(40, 12), (50, 24), (80, 24)] {
        let mut m = resized(columns, rows);
        m.lesson = Some(0);
        m.fit_viewport();
        let (text, picture) = drawn(&m, &Theme::shipped("dark").unwrap(), false);
        assert!(picture, "{columns} x {rows}");
        has(&text, &["Lesson, 1 of 10"]);
    }
}

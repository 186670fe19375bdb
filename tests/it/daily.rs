//! Everyday work: leaving, the queue of clips, macros that wait for pictures, flags, questions behind
//! a dialog, the command line. All through the pure `update`.

use std::sync::Arc;
use std::time::Duration;

use sonomark::config::schema::Schema;
use sonomark::domain::{Bitmap, Cut, GrayFrame, MaskSource, PointKind, Prompt, Window};
use sonomark::engine::{Decided, Event, Opened, Structure, View};
use sonomark::tui::line::Line;
use sonomark::tui::model::{Effect, Mode, Model, Msg, Queued, Weight};
use sonomark::tui::update;

use crate::screen::{has, screen};
use crate::surroundings::on_cpu;
use crate::update::{
    decided, kind, model, opened, others, press, propagation, refresh_of, steps, tell, track,
    with_a_mask,
};

const FRAMES: usize = 40;

pub(crate) fn run(model: &mut Model, line: &str) -> Vec<Effect> {
    update(model, Msg::Line(line.to_owned()))
}

/// A dark disc in the middle: rays find its edge.
fn see(model: &mut Model, frame: usize) -> Vec<Effect> {
    let inside = |x: u32, y: u32| (x as f32 - 32.0).hypot(y as f32 - 24.0) < 10.0;
    let gray = |i: u32| if inside(i % 64, i / 64) { 30 } else { 120 };
    let pixels = (0..64 * 48u32).map(gray).collect();
    let pixels = Arc::new(GrayFrame::new(64, 48, pixels).unwrap());
    tell(model, Event::Frame { frame, pixels })
}

fn line(model: &mut Model, text: &str) -> Vec<Effect> {
    let mut effects = kind(model, &format!(":{text}"));
    effects.extend(press(model, "enter"));
    effects
}

fn quits(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Quit)
}

pub(crate) fn opens(effects: &[Effect]) -> Option<usize> {
    effects.iter().find_map(|effect| match effect {
        Effect::OpenClip(at, _) => Some(*at),
        _ => None,
    })
}

pub(crate) fn queued(name: &str) -> Queued {
    Queued {
        path: name.into(),
        cut: Cut::default(),
        name: name.into(),
        finished: false,
        changed: false,
    }
}

fn finished_before(frames: usize) -> Opened {
    let mut opened = opened(frames);
    let cursor = sonomark::domain::PointPx::new(3.5, 3.5);
    opened.view = Some(View {
        frame: 0,
        cursor,
        track: None,
        finished: true,
        keys: 0,
        outside: None,
        look: None,
    });
    opened
}

/// Masks propagated to all frames but the first.
fn propagated(m: &mut Model) {
    with_a_mask(m);
    let (ticket, frames) = propagation(m, "p p");
    for frame in frames {
        tell(m, Event::Tracked { ticket, frame, decided: decided(5) });
    }
    tell(m, Event::Finished { ticket, cancelled: false });
}

#[test]
fn leaving_asks_once_for_each_thing_that_would_be_lost() {
    let propagating = || {
        let mut m = model(FRAMES);
        with_a_mask(&mut m);
        press(&mut m, "p p");
        m
    };
    // By the command line as by the key, and by both.
    for twice in [["q", "q"], ["q", "wq"], ["quit", "x"]] {
        let mut m = propagating();
        assert!(!quits(&line(&mut m, twice[0])), "{twice:?}");
        assert!(m.message.text.contains("propagation is running"), "{:?}", m.message);
        assert!(quits(&line(&mut m, twice[1])), "{twice:?}: {:?}", m.message);
    }
    let mut m = propagating();
    assert!(!quits(&press(&mut m, "q")));
    press(&mut m, "M esc f2");
    kind(&mut m, "already saved");
    assert!(quits(&press(&mut m, "enter")), "from the palette too: {:?}", m.message);
    let mut m = propagating();
    line(&mut m, "q");
    line(&mut m, "speed 2");
    assert!(!quits(&line(&mut m, "q")), "another command in between starts over");
    let mut m = propagating();
    assert_eq!(opens(&line(&mut m, "finish-clip")), None);
    assert_eq!(opens(&line(&mut m, "finish-clip")), Some(1), "{:?}", m.message);

    // At once: what runs may stop, what is not saved is asked about.
    assert!(quits(&line(&mut propagating(), "q!")));
    let mut m = propagating();
    tell(&mut m, Event::SaveFailed { why: "disk full".into() });
    assert!(!quits(&line(&mut m, "q!")) && m.message.text.contains("NOT saved"));
    assert!(quits(&line(&mut m, "q!")));
}

#[test]
fn an_answer_to_one_question_is_none_to_another() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    press(&mut m, "w s");
    tell(&mut m, Event::SaveFailed { why: "disk full".into() });
    assert_eq!(opens(&press(&mut m, "E")), None);
    assert!(m.message.text.starts_with("not finished"), "{:?}", m.message);
    assert_eq!(opens(&press(&mut m, "E")), None, "the unsaved edits were not asked about");
    assert!(m.message.text.contains("NOT saved"), "{:?}", m.message);
    assert_eq!(opens(&press(&mut m, "E")), Some(1));

    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    press(&mut m, "w s p p");
    assert!(!quits(&press(&mut m, "E q")), "it runs, which was not asked about");
    assert!(quits(&press(&mut m, "q")));
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    press(&mut m, "w s p p q");
    assert_eq!(opens(&press(&mut m, "E")), None, "{:?}", m.message);
    assert!(m.message.text.starts_with("not finished"), "{:?}", m.message);
}

#[test]
fn the_queue_is_walked_by_counts_numbers_and_what_is_not_finished() {
    let mut m = model(FRAMES);
    m.queue = ["a", "b", "c", "d", "e"].map(queued).to_vec();
    run(&mut m, "speed 0.5");
    assert_eq!(opens(&press(&mut m, "3 C-n")), Some(3));
    update(&mut m, Msg::Opened(Box::new(opened(5))));
    assert!(m.message.text.contains("clip 4 of 5"), "{:?}", m.message);
    assert_eq!(m.cine.speed, 0.5, "how fast one looks is one's own");
    assert_eq!(opens(&press(&mut m, "9 C-p")), Some(0), "as far as there are clips");
    update(&mut m, Msg::NotOpened { at: 0, why: "gone".into() });
    assert_eq!(opens(&line(&mut m, "clip 2")), Some(1));
    update(&mut m, Msg::NotOpened { at: 1, why: "gone".into() });
    line(&mut m, "clip");
    assert_eq!(m.message.text, "clip 4 of 5");
    assert_eq!(opens(&line(&mut m, "clip 6")), None);
    assert!(m.message.weight == Weight::Warning && m.message.text.contains("no clip 6"));
    assert_eq!(opens(&line(&mut m, "clip 4")), None, "it is this one");

    // What was finished in an earlier session is passed over, what does not open as well.
    let mut m = model(FRAMES);
    m.queue = ["a", "b", "c", "d"].map(queued).to_vec();
    with_a_mask(&mut m);
    assert_eq!(opens(&press(&mut m, "E")), Some(1));
    assert_eq!(opens(&update(&mut m, Msg::Opened(Box::new(finished_before(5))))), Some(2));
    let effects = update(&mut m, Msg::NotOpened { at: 2, why: "it is empty".into() });
    assert_eq!(opens(&effects), Some(3));
    assert_eq!(opens(&update(&mut m, Msg::Opened(Box::new(opened(5))))), None);
    assert_eq!((m.at, m.finished), (3, false));
    assert!(m.log.iter().any(|said| said.text.contains("it is empty")), "{:?}", m.log);
    // An edit makes a finished clip work again, in the queue too.
    m.queue[3].finished = true;
    m.finished = true;
    press(&mut m, "b");
    assert!(!m.queue[3].finished);
    // Stepping to a finished clip opens it.
    assert_eq!(opens(&press(&mut m, "C-p")), Some(2));
    assert_eq!(opens(&update(&mut m, Msg::Opened(Box::new(finished_before(5))))), None);
    assert!(m.finished && m.message.text.contains("finished before"), "{:?}", m.message);
}

#[test]
fn flags_are_reached_wherever_they_are_and_go_with_the_acceptance() {
    let mut m = model(FRAMES);
    propagated(&mut m);
    run(&mut m, "g/doubt>-1/unflag");
    // A frame that was corrected, one that was accepted, one without a mask.
    press(&mut m, "5 G F");
    run(&mut m, "9 accept");
    run(&mut m, "9 flag");
    run(&mut m, "20 discard");
    run(&mut m, "20 flag");
    press(&mut m, "b");
    let (ticket, frame) = (m.jobs.asked[0].ticket, m.jobs.asked[0].frame);
    tell(&mut m, Event::Refreshed { ticket, frame, decided: decided(5) });
    press(&mut m, "g g");
    let mut reached = Vec::new();
    for _ in 0..3 {
        press(&mut m, "W");
        assert!(m.message.text.contains("flagged"), "{:?}", m.message);
        reached.push(m.frame);
    }
    assert_eq!(reached, [4, 8, 19]);
    press(&mut m, "E");
    assert!(m.message.text.contains("3 frames flagged"), "{:?}", m.message);
    press(&mut m, "t n E");
    assert!(m.message.text.contains("3 frames of structure 1 flagged"), "{:?}", m.message);
    press(&mut m, "N");
    // Accepting is the look that was asked for; one undo brings mask and flag back.
    press(&mut m, "5 G");
    assert_eq!(steps(&press(&mut m, "a")).len(), 1);
    assert!(!track(&m).flags.contains(&4));
    press(&mut m, "u");
    assert!(track(&m).flags.contains(&4) && track(&m).masks[&4].source == MaskSource::Prompted);
    press(&mut m, "9 G a");
    assert!(!track(&m).flags.contains(&8), "accepted already: {:?}", m.message);
    run(&mut m, "g/flagged/unflag");
    assert!(track(&m).flags.is_empty(), "without a mask too: {:?}", track(&m).flags);
}

#[test]
fn a_macro_waits_for_the_pictures() {
    let mut m = model(FRAMES);
    see(&mut m, 0);
    m.tools.macros.insert('m', keys(". enter 3 9 C-q"));
    let effects = press(&mut m, "@ m");
    assert!(!quits(&effects) && m.frame == 1 && m.pending.count.is_none(), "{:?}", m.pending);
    assert_eq!(m.tools.to_play.len(), 4);
    has(&screen(&m), &["4 keys wait"]);
    // What is typed meanwhile comes behind.
    press(&mut m, "k");
    let effects = see(&mut m, 1);
    let placed = track(&m).prompts[&1].len();
    assert!(placed == 2 && quits(&effects) && m.tools.to_play.is_empty(), "{placed}");

    // A frame that cannot be decoded holds nothing up.
    let mut m = model(FRAMES);
    see(&mut m, 0);
    m.tools.macros.insert('m', keys(". F"));
    press(&mut m, "2 @ m");
    assert_eq!(m.frame, 1);
    with_track(&mut m);
    tell(&mut m, Event::FrameFailed { frame: 1, why: "cut off".into() });
    assert_eq!(m.frame, 2);
    see(&mut m, 2);
    assert!(track(&m).flags.contains(&1) && track(&m).flags.contains(&2), "{:?}", track(&m).flags);

    // Macros that play each other end soon.
    m.tools.macros.insert('x', keys("@ y @ x"));
    m.tools.macros.insert('y', keys("9 9 9 @ z"));
    m.tools.macros.insert('z', keys("@ x @ y"));
    let begun = on_cpu();
    press(&mut m, "9 9 9 @ x");
    assert!(m.tools.to_play.is_empty() && m.message.text.contains("stopped after"));
    let busy = on_cpu() - begun;
    assert!(busy < Duration::from_secs(5), "{busy:?}");

    // `esc` and C-c stop it.
    for stop in ["esc", "C-c"] {
        press(&mut m, "9 @ m");
        assert!(!m.tools.to_play.is_empty());
        press(&mut m, stop);
        assert!(m.tools.to_play.is_empty() && m.message.text.contains("not played"));
        let frame = m.frame;
        see(&mut m, frame);
        press(&mut m, ".");
        assert_eq!(m.frame, frame + 1, "keys do at once what they do again");
        see(&mut m, frame + 1);
    }
}

pub(crate) fn keys(spelled: &str) -> Vec<sonomark::tui::key::Key> {
    spelled.split(' ').map(|key| key.parse().unwrap()).collect()
}

/// A structure, started by another session so that no key is pressed for it.
fn with_track(m: &mut Model) {
    use sonomark::domain::{Edit, Track, TrackId};
    let content = Track::new("theirs", 0);
    tell(m, others(vec![Edit::AddTrack { track: TrackId(9), content }]));
}

#[test]
fn a_macro_goes_on_in_the_next_clip_and_ends_with_the_last() {
    let mut m = model(FRAMES);
    m.queue = ["a", "b", "c"].map(queued).to_vec();
    see(&mut m, 0);
    m.tools.macros.insert('m', keys("t n C-n"));
    let effects = press(&mut m, "5 @ m");
    assert_eq!(effects.iter().filter(|e| matches!(e, Effect::OpenClip(..))).count(), 1);
    assert_eq!(m.annotation.tracks.len(), 1, "the rest is for the next clip");
    for at in [1, 2] {
        update(&mut m, Msg::Opened(Box::new(opened(5))));
        assert!(m.annotation.tracks.is_empty() && m.at == at, "until it is seen");
        see(&mut m, 0);
        assert_eq!(m.annotation.tracks.len(), 1, "clip {at}");
    }
    assert!(m.tools.to_play.is_empty() && m.message.text.contains("last clip"), "{:?}", m.message);
    // A question is for the person.
    let mut m = model(FRAMES);
    see(&mut m, 0);
    m.tools.macros.insert('m', keys("E b"));
    press(&mut m, "@ m");
    assert!(m.message.text.starts_with("not finished"), "{:?}", m.message);
    assert!(m.annotation.tracks.is_empty());
    // A clip that does not open takes nothing that was meant for it.
    m.tools.macros.insert('m', keys("E E b"));
    press(&mut m, "@ m");
    update(&mut m, Msg::NotOpened { at: 1, why: "gone".into() });
    assert!(m.tools.to_play.is_empty() && m.annotation.tracks.is_empty());

    // A recording goes through clips.
    press(&mut m, "Q r . C-n");
    update(&mut m, Msg::Opened(Box::new(opened(5))));
    press(&mut m, ". Q");
    assert_eq!(m.tools.macros[&'r'], keys(". C-n ."));
}

#[test]
fn repeats_by_the_picture_wait_for_every_picture() {
    let mut m = model(FRAMES);
    propagated(&mut m);
    run(&mut m, "g/doubt>-1/unflag");
    see(&mut m, 1);
    press(&mut m, ". enter 3 esc");
    run(&mut m, "11,13 flag");
    press(&mut m, "1 0 G 3 ;");
    for frame in [10, 11, 12] {
        assert_eq!((m.frame, track(&m).prompts.contains_key(&frame)), (frame, false));
        if frame == 11 {
            tell(&mut m, Event::FrameFailed { frame, why: "cut off".into() });
        } else {
            see(&mut m, frame);
            assert!(track(&m).prompts.contains_key(&frame), "{frame}: {:?}", m.message);
        }
    }
    assert!(m.tools.repeat_when_seen.is_none());

    // Many are stopped as everything else is.
    run(&mut m, "21,29 flag");
    press(&mut m, "2 0 G 9 ;");
    see(&mut m, 20);
    assert_eq!((m.frame, track(&m).prompts.contains_key(&20)), (21, true));
    press(&mut m, "esc");
    see(&mut m, 21);
    assert_eq!((m.frame, track(&m).prompts.contains_key(&21)), (21, false), "{:?}", m.message);
    // Nor is another structure corrected that was gone to meanwhile.
    with_track(&mut m);
    press(&mut m, "2 2 G ;");
    assert!(m.frame == 22 && m.tools.repeat_when_seen.is_some(), "{:?}", m.message);
    press(&mut m, "n");
    assert!(m.tools.repeat_when_seen.is_none(), "{:?}", m.message);
}

#[test]
fn discarding_a_drawn_mask_takes_what_it_told_the_others() {
    let mut m = model(FRAMES);
    propagated(&mut m);
    let id = m.track.unwrap();
    press(&mut m, "6 G s g");
    assert!(track(&m).anchors().contains(&5));
    let effects = press(&mut m, "D");
    assert_eq!(steps(&effects).len(), 1, "one undo");
    assert!(!track(&m).anchors().contains(&5) && !track(&m).masks.contains_key(&5));
    assert!(!m.marks.is_stale(id, 8), "the others are as they were before it");
    press(&mut m, "u");
    assert!(track(&m).anchors().contains(&5) && track(&m).masks.contains_key(&5));
    run(&mut m, "7,9 grow 1");
    run(&mut m, "6,9 discard");
    assert_eq!(track(&m).anchors(), [0], "over a range too");
    press(&mut m, "u");
    assert_eq!(track(&m).anchors(), [0, 5, 6, 7, 8]);
    // Points stay: they are no mask.
    press(&mut m, "g g D");
    let kept = &track(&m).prompts[&0];
    assert!(matches!(kept[0].prompt, Prompt::Point { kind: PointKind::Boundary, .. }));
}

#[test]
fn questions_about_visibility_wait_behind_a_dialog() {
    for dialog in ["? esc", ": esc", "M esc", "f2 esc", ": h e l p enter esc"] {
        let mut m = model(FRAMES);
        press(&mut m, "2 0 G w b y y");
        let (before, frame) = (m.mode.clone(), m.frame);
        press(&mut m, dialog);
        assert_eq!((&m.mode, m.frame), (&before, frame), "{dialog}");
        press(&mut m, "y");
        let Mode::Bisect(questions) = &m.mode else { panic!("{dialog}: {:?}", m.mode) };
        assert_eq!(questions.before.len(), 3);
        press(&mut m, "esc ? esc");
        assert_eq!(m.mode, Mode::Normal, "{dialog}: given up is given up");
    }
}

#[test]
fn the_command_line_keeps_what_was_typed_and_recalls_what_was_run() {
    let typed = |m: &Model| match &m.mode {
        Mode::Command(line) => line.text.clone(),
        other => panic!("{other:?}"),
    };
    let mut m = model(FRAMES);
    kind(&mut m, ":overlay /long/path");
    press(&mut m, "tab");
    assert_eq!(typed(&m), "overlay /long/path");
    press(&mut m, "esc");
    kind(&mut m, ":export coco x");
    let effects = press(&mut m, "down enter");
    let coco =
        |path: Option<&str>| Effect::Export { format: "coco".into(), path: path.map(Into::into) };
    assert_eq!(effects, [coco(Some("x"))]);

    // Formats are listed and completed.
    let names = |text: &str| -> Vec<&'static str> {
        Line::with(text).candidates(&m.keymap).iter().map(|each| each.name).collect()
    };
    assert!(names("export ").contains(&"nifti") && names("export ").contains(&"figure"));
    assert_eq!(names("export nif"), ["nifti"]);
    kind(&mut m, ":export nif");
    press(&mut m, "tab");
    assert_eq!(typed(&m), "export nifti ");
    press(&mut m, "C-u");
    kind(&mut m, "export coc");
    assert_eq!(press(&mut m, "down enter"), [coco(None)]);
    // The action of the same name opens the line.
    press(&mut m, "f2");
    kind(&mut m, "annotation in a format");
    press(&mut m, "enter");
    assert_eq!(typed(&m), "export ");
    press(&mut m, "esc");

    line(&mut m, "frame 3");
    line(&mut m, "frame 7");
    line(&mut m, "frame 7");
    press(&mut m, ": up");
    assert_eq!(typed(&m), "frame 7");
    press(&mut m, "up");
    assert_eq!(typed(&m), "frame 3");
    press(&mut m, "down down");
    assert_eq!(typed(&m), "");
    press(&mut m, "down down up");
    let Mode::Command(held) = &m.mode else { panic!("open") };
    assert_eq!((held.text.as_str(), held.choice), ("", Some(0)), "the listing as before");
    press(&mut m, "esc C-n");
    update(&mut m, Msg::Opened(Box::new(opened(5))));
    press(&mut m, ": up up enter");
    assert_eq!(m.frame, 2, "in the next clip too");
}

#[test]
fn a_score_that_was_not_told_is_neither_low_nor_high() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    press(&mut m, "a 4 . L b");
    let asked = m.jobs.asked[0];
    tell(&mut m, Event::Refreshed { ticket: asked.ticket, frame: 4, decided: decided(20) });
    press(&mut m, "2 , s i");
    assert_eq!(track(&m).masks[&2].score, 0.0);
    run(&mut m, "g/score<0.5/flag");
    assert!(track(&m).flags.is_empty(), "{:?}", track(&m).flags);
    run(&mut m, "g/score<0.95/flag");
    assert_eq!(track(&m).flags.iter().copied().collect::<Vec<_>>(), [4]);
}

#[test]
fn passes_are_compared_by_structure_and_a_stopped_comparison_says_so() {
    let wide =
        |r: u32| Decided { bitmap: Bitmap::from_fn(64, 48, |x, y| x < r && y < r), ..decided(5) };
    let mut m = model(FRAMES);
    let mut tickets = Vec::new();
    for _ in 0..2 {
        press(&mut m, "t n g g");
        for frame in [0, FRAMES - 1] {
            let (ticket, _) = refresh_of(&press(&mut m, "b")).unwrap();
            tell(&mut m, Event::Refreshed { ticket, frame, decided: decided(5) });
            press(&mut m, "G");
        }
        run(&mut m, "2,39 propagate");
        let ticket = m.jobs.running.last().unwrap().ticket;
        tell(&mut m, Event::Tracked { ticket, frame: 9, decided: decided(5) });
        tell(&mut m, Event::Finished { ticket, cancelled: false });
    }
    for _ in 0..2 {
        press(&mut m, "N");
        tickets.push(propagation(&mut m, "p c").0);
    }
    assert_eq!(m.jobs.running.len(), 2);
    // Both passes of either structure agree, and the structures are different.
    for _ in 0..2 {
        tell(&mut m, Event::Tracked { ticket: tickets[0], frame: 9, decided: wide(10) });
        tell(&mut m, Event::Tracked { ticket: tickets[1], frame: 9, decided: wide(30) });
    }
    for ticket in &tickets {
        assert_eq!(m.tools.review.agreement[&ticket.track][&9], 1.0);
    }
    tell(&mut m, Event::Tracked { ticket: tickets[1], frame: 10, decided: wide(30) });
    tell(&mut m, Event::Finished { ticket: tickets[0], cancelled: true });
    assert!(m.message.text.contains("stopped"), "{:?}", m.message);
    assert_eq!(m.tools.review.first_pass.len(), 1, "the other one goes on");
}

#[test]
fn long_messages_tell_how_to_read_them_and_the_oldest_can_be_reached() {
    let mut m = model(FRAMES);
    for n in 0..30 {
        m.warn(format!("number {n}: {}", "a long sentence with a next step; ".repeat(4)));
    }
    has(&screen(&m), &["(M shows 29 more)"]);
    press(&mut m, "M");
    press(&mut m, &["pagedown"; 20].join(" "));
    has(&screen(&m), &["number 0:"]);
    let end = screen(&m);
    press(&mut m, "down");
    assert_eq!(screen(&m), end, "and no farther");
}

#[test]
fn windows_that_stretch_for_a_drawn_mask_are_told() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    run(&mut m, "window 1 3");
    press(&mut m, "y q 9 P q");
    assert_eq!(track(&m).windows, [Window { first: 0, last: 9 }]);
    assert!(m.message.text.contains("pasted on frame 10, the window now"), "{:?}", m.message);
    press(&mut m, "1 2 G s b");
    assert!(m.message.text.contains("the window now reaches here"), "{:?}", m.message);
    press(&mut m, "l");
    let theirs = Bitmap::from_fn(64, 48, |x, _| x < 9).to_mask();
    let structures = vec![Structure::new("structure 1", [(14, theirs)].into())];
    tell(&mut m, Event::Overlay { name: "anna".into(), structures, notes: Vec::new() });
    press(&mut m, "esc 1 5 G s o");
    assert!(m.message.text.contains("over, the window now reaches here"), "{:?}", m.message);
    // A range changes what is visible, and stretches nothing.
    run(&mut m, "window 1 3");
    run(&mut m, "windows structure 1 remove 8,15");
    let windows = track(&m).windows.clone();
    run(&mut m, "% grow 1");
    assert_eq!(track(&m).windows, windows);
}

#[test]
fn small_things_do_what_they_say() {
    // The keys in a sentence are those of the keymap.
    let mut m = model(FRAMES);
    press(&mut m, "b L b tab");
    let nudge = m.bare_key(sonomark::tui::action::Action::NudgeLeft);
    assert!(m.message.text.contains(&format!(": {nudge} ")), "{:?}", m.message);

    // A count goes so many anchors on.
    let mut m = model(FRAMES);
    press(&mut m, "b 5 G b 9 G b 1 5 G b g g 2 ]");
    assert_eq!(m.frame, 8);
    press(&mut m, "9 ]");
    assert_eq!(m.frame, 14, "as far as there are anchors");
    press(&mut m, "2 g p");
    assert_eq!(m.frame, 4);

    // Of two structures with one label the one at hand is meant.
    let mut m = model(FRAMES);
    line(&mut m, "new lesion");
    let first = m.track.unwrap();
    line(&mut m, "new lesion");
    run(&mut m, "windows lesion add 3,9");
    assert!(m.track != Some(first) && track(&m).windows == [Window { first: 2, last: 8 }]);

    // A frame beside another one keeps what was zoomed in on.
    let mut m = model(FRAMES);
    see(&mut m, 0);
    press(&mut m, "+ + + +");
    let zoomed = m.picture.viewport.unwrap();
    press(&mut m, "v b");
    let beside = m.picture.viewport.unwrap();
    assert!(beside.scale == zoomed.scale && beside.width_px < zoomed.width_px);
    press(&mut m, "v b");
    assert_eq!(m.picture.viewport, Some(zoomed));

    // An undo moves the point of a ray back, and the next step counts from there.
    let mut m = model(FRAMES);
    see(&mut m, 0);
    press(&mut m, "enter w c C s 3 6 3");
    let radius = |m: &Model| m.tools.rays.as_ref().unwrap().last.as_ref().unwrap().radius_px;
    let begun = radius(&m);
    press(&mut m, "pageup u");
    assert!((radius(&m) - begun).abs() < 0.1, "{begun} {}", radius(&m));
}

#[test]
fn the_bell_tells_the_end_of_a_long_propagation() {
    let propagating = |bell: bool, seconds: u64, cancelled: bool| {
        let mut m = model(FRAMES);
        m.tools.bell = bell;
        with_a_mask(&mut m);
        let (ticket, _) = propagation(&mut m, "p p");
        update(&mut m, Msg::Tick(Duration::from_secs(seconds)));
        tell(&mut m, Event::Finished { ticket, cancelled }).contains(&Effect::Bell)
    };
    assert!(propagating(true, 11, false));
    assert!(!propagating(true, 9, false), "the person still looks");
    assert!(!propagating(false, 11, false) && !propagating(true, 11, true));
}

#[test]
fn another_raters_masks_stay_for_the_same_clip_only() {
    let with_overlay = || {
        let mut m = model(FRAMES);
        let theirs = Bitmap::from_fn(64, 48, |x, _| x < 9).to_mask();
        let structures = vec![Structure::new("structure 1", [(0, theirs)].into())];
        tell(&mut m, Event::Overlay { name: "anna".into(), structures, notes: Vec::new() });
        m
    };
    let mut m = with_overlay();
    update(&mut m, Msg::Opened(Box::new(opened(FRAMES))));
    assert!(m.tools.other.is_some());
    let mut m = with_overlay();
    update(&mut m, Msg::Opened(Box::new(opened(FRAMES - 1))));
    assert!(m.tools.other.is_none());
    // What the settings say stays, whatever is opened.
    m.schema = Schema::read("s", "labels: [nerve]\n").unwrap();
    update(&mut m, Msg::Opened(Box::new(opened(3))));
    assert_eq!(m.schema.labels.len(), 1);
}

#[test]
fn the_worst_frame_comes_first_wherever_the_look_begins() {
    let mut m = model(FRAMES);
    propagated(&mut m);
    press(&mut m, "1 3 G F 4 G W");
    assert_eq!(m.frame, 12, "{:?}", m.message);
    assert!(m.message.text.starts_with("number 1 to look at: flagged"), "{:?}", m.message);
    press(&mut m, "W");
    assert!(m.frame != 12 && m.message.text.starts_with("number 2 "), "{:?}", m.message);
    press(&mut m, "2 0 G W");
    assert!(
        m.frame == 12 && m.message.text.starts_with("number 1 "),
        "from elsewhere: {:?}",
        m.message
    );
}

#[test]
fn questions_know_the_windows_that_are_set() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    line(&mut m, "windows structure 1 add 1,10");
    line(&mut m, "rename nerve");
    line(&mut m, "windows nerve add 1,10");
    press(&mut m, "2 5 G w b");
    let visible = |frame: usize| frame < 10 || (20..30).contains(&frame);
    for _ in 0..30 {
        if !matches!(m.mode, Mode::Bisect(_)) {
            break;
        }
        assert!(m.frame > 10, "what is set is not asked about: frame {}", m.frame + 1);
        let answer = if visible(m.frame) { "y" } else { "n" };
        press(&mut m, answer);
    }
    let windows = [Window { first: 0, last: 9 }, Window { first: 20, last: 29 }];
    assert_eq!(track(&m).windows, windows, "the gap stays a gap: {:?}", m.message);
}

#[test]
fn the_answers_replace_the_window_that_was_asked_about() {
    let mut m = model(60);
    line(&mut m, "window 1 3");
    line(&mut m, "window 10 50");
    press(&mut m, "3 0 G w b");
    for _ in 0..30 {
        if matches!(m.mode, Mode::Bisect(_)) {
            press(&mut m, "n");
        }
    }
    let windows = [Window { first: 0, last: 2 }, Window { first: 29, last: 29 }];
    assert_eq!(track(&m).windows, windows, "{:?}", m.message);
    press(&mut m, "u");
    assert_eq!(track(&m).windows[1], Window { first: 9, last: 49 });
    // Who finds what is set already is told so.
    press(&mut m, "3 0 G w b");
    for _ in 0..30 {
        if matches!(m.mode, Mode::Bisect(_)) {
            let answer = if (9..50).contains(&m.frame) { "y" } else { "n" };
            press(&mut m, answer);
        }
    }
    assert!(m.message.text.contains("so already"), "{:?}", m.message);
}

#[test]
fn a_clip_is_not_finished_while_masks_are_missing_or_in_doubt_nor_after_an_undo() {
    let mut m = model(FRAMES);
    propagated(&mut m);
    press(&mut m, "8 G D");
    press(&mut m, "E");
    assert!(!m.finished && m.message.text.contains("1 frame without a mask"), "{:?}", m.message);
    press(&mut m, "E");
    assert!(m.finished, "{:?}", m.message);
    press(&mut m, "esc u");
    assert!(!m.finished, "something is another way than when it was finished: {:?}", m.message);
}

#[test]
fn windows_of_a_condition_are_one_step() {
    let mut m = model(FRAMES);
    propagated(&mut m);
    press(&mut m, "1 0 G s g 2 0 G s g");
    let area = track(&m).masks[&0].mask.area_px();
    line(&mut m, &format!("g/area>{area}/window"));
    assert_eq!(track(&m).windows.len(), 2, "{:?}", m.message);
    press(&mut m, "u");
    assert!(track(&m).windows.is_empty(), "one key takes back what one line did");
}

#[test]
fn a_letter_right_behind_an_escape_leaves_the_rays_and_counts() {
    let mut m = model(FRAMES);
    see(&mut m, 0);
    press(&mut m, "enter 3 A-.");
    assert!(m.mode == Mode::Normal && m.frame == 1, "{:?}", m.message);

    // Where tmux joins what is typed one after the other, also letters that do something with Alt.
    for joined in [false, true] {
        let mut m = model(FRAMES);
        see(&mut m, 0);
        m.tools.escape_joined = joined;
        press(&mut m, "enter 3");
        let placed = |m: &Model| track(m).prompts[&0].clone();
        let points = placed(&m);
        press(&mut m, "A-h");
        assert_eq!(m.mode == Mode::Normal, joined, "{:?}", m.message);
        assert_eq!(placed(&m) == points, joined, "a point is nudged");
        press(&mut m, "A-left");
        assert_ne!(placed(&m), points, "arrows cannot be joined");
    }
}

#[test]
fn the_format_that_is_shown_as_chosen_is_exported() {
    let mut m = model(FRAMES);
    let exported = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Export { format, path: None } => Some(format.clone()),
            _ => None,
        })
    };
    assert_eq!(exported(&press(&mut m, "e enter")).as_deref(), Some("png"));
    // What is shown as chosen is where the way down begins.
    assert_eq!(exported(&press(&mut m, "e down enter")).as_deref(), Some("coco"));
    assert!(m.mode == Mode::Normal, "{:?}", m.mode);
    press(&mut m, "f2 down");
    let Mode::Command(held) = &m.mode else { panic!("open") };
    assert_eq!(held.choice, Some(1));
    // A command that stands there bare stays as it is.
    press(&mut m, "esc");
    assert_eq!(exported(&line(&mut m, "clip ")), None);
}

#[test]
fn lines_read_as_they_are_meant() {
    let mut m = model(FRAMES);
    propagated(&mut m);
    line(&mut m, "accept");
    assert!(m.message.text.contains("% accept"), "{:?}", m.message);
    line(&mut m, "%accept");
    assert!(track(&m).masks.values().all(|held| held.source == MaskSource::Accepted));
}

#[test]
fn a_letter_right_behind_an_escape_closes_a_page_and_counts() {
    for page in ["?", "M"] {
        let mut m = model(FRAMES);
        press(&mut m, page);
        assert!(m.mode != Mode::Normal, "{page}");
        press(&mut m, "A-.");
        assert!(m.mode == Mode::Normal && m.frame == 1, "{page}: {:?}", m.message);
    }
}

#[test]
fn a_narrow_terminal_shows_what_is_chosen_from() {
    let mut m = model(FRAMES);
    update(
        &mut m,
        Msg::Resized(sonomark::tui::graphics::Grid { columns: 50, rows: 14, cell_px: (8, 16) }),
    );
    press(&mut m, "f2");
    kind(&mut m, "mask");
    has(&screen(&m), &["discard-mask"]);
    press(&mut m, "esc w");
    has(&screen(&m), &["window-bisect"]);
}

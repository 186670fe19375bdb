//! What walking through every journey with a reader's eyes found: small things that misled.

use sonomark::codec::{OpenOptions, open};
use sonomark::domain::MaskSource;
use sonomark::engine::Event;
use sonomark::tui::model::{Model, Msg};
use sonomark::tui::update;

use crate::daily::{opens, queued, run};
use crate::update::{decided, model, opened, press, propagation, tell, track, with_a_mask};

const FRAMES: usize = 40;

fn said(model: &Model) -> &str {
    &model.message.text
}

#[test]
fn undo_names_the_deed_and_not_its_object_alone() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    press(&mut m, "a");
    press(&mut m, "u");
    assert_eq!(said(&m), "taken back: accepting the mask on frame 1");
    assert_eq!(track(&m).masks[&0].source, MaskSource::Prompted);
    press(&mut m, "U");
    assert_eq!(said(&m), "done again: accepting the mask on frame 1");
    press(&mut m, "u D u");
    assert_eq!(said(&m), "taken back: discarding the mask on frame 1");
    assert!(track(&m).masks.contains_key(&0));
    press(&mut m, "x u");
    assert!(said(&m).starts_with("taken back: deleting boundary point on frame 1"), "{}", said(&m));
    assert_eq!(track(&m).prompts[&0].len(), 1);
    press(&mut m, "u");
    assert!(said(&m).contains("boundary point on frame 1") && !said(&m).contains("deleting"));
}

#[test]
fn a_count_beyond_the_history_tells_what_was_done() {
    let mut m = model(FRAMES);
    press(&mut m, "b l b");
    press(&mut m, "5 0 u");
    assert_eq!(said(&m), "2 steps taken back: everything there was");
    press(&mut m, "9 U");
    assert_eq!(said(&m), "2 steps done again: everything there was");
    press(&mut m, "U");
    assert_eq!(said(&m), "nothing to do again");
    press(&mut m, "2 u u");
    assert_eq!(said(&m), "nothing to take back");
}

#[test]
fn undoing_a_propagation_leaves_the_person_where_they_are() {
    let mut m = model(FRAMES);
    press(&mut m, "2 0 G");
    with_a_mask(&mut m);
    let (ticket, frames) = propagation(&mut m, "p p");
    for frame in frames {
        tell(&mut m, Event::Tracked { ticket, frame, decided: decided(5) });
    }
    tell(&mut m, Event::Finished { ticket, cancelled: false });
    assert_eq!((m.frame, track(&m).masks.len()), (19, FRAMES));
    for key in ["u", "U"] {
        press(&mut m, key);
        assert_eq!(m.frame, 19, "{}", said(&m));
    }
    // What lies on other frames alone is gone to, the nearest of it.
    press(&mut m, "1 0 G");
    press(&mut m, "a 3 0 G a 2 8 G u");
    assert_eq!(m.frame, 29);
}

#[test]
fn what_changed_nothing_offers_no_undo() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    run(&mut m, "5 grow 2");
    assert!(said(&m).starts_with("no mask changed"), "{}", said(&m));
    run(&mut m, "1 grow 2");
    assert!(said(&m).starts_with("1 mask grown") && said(&m).contains("takes it back"));
}

#[test]
fn clips_that_do_not_open_are_stepped_over_in_both_directions() {
    let mut m = model(FRAMES);
    m.queue = ["a", "bad", "c", "worse"].map(queued).to_vec();
    let fails =
        |m: &mut Model, at| opens(&update(m, Msg::NotOpened { at, why: "it is empty".into() }));
    assert_eq!(opens(&press(&mut m, "C-n")), Some(1));
    assert_eq!(fails(&mut m, 1), Some(2));
    update(&mut m, Msg::Opened(Box::new(opened(5))));
    assert_eq!(m.at, 2);
    assert!(m.log.iter().any(|message| message.text.contains("bad does not open")));
    assert_eq!(opens(&press(&mut m, "C-p")), Some(1));
    assert_eq!(fails(&mut m, 1), Some(0));
    assert_eq!(fails(&mut m, 0), None, "there is nothing before it");
    assert_eq!(opens(&press(&mut m, "C-n")), Some(3));
    assert_eq!(fails(&mut m, 3), None);
    assert!(said(&m).contains("worse does not open"), "{}", said(&m));
    // Who names a clip means that one.
    assert_eq!(opens(&run(&mut m, "clip 2")), Some(1));
    assert_eq!(fails(&mut m, 1), None);
}

#[test]
fn what_is_true_of_a_moment_is_not_said_of_the_next() {
    let mut m = model(FRAMES);
    press(&mut m, ",");
    assert_eq!(said(&m), "this is the first frame");
    press(&mut m, ".");
    assert_eq!(said(&m), "");
    with_a_mask(&mut m);
    press(&mut m, "a");
    let told = said(&m).to_owned();
    press(&mut m, ".");
    assert_eq!(said(&m), told, "what was done is still told");
}

#[test]
fn a_stretched_window_is_told_with_its_ends() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    run(&mut m, "window 1 5");
    run(&mut m, "window 30 35");
    press(&mut m, "2 0 G b");
    assert!(said(&m).ends_with("the window now reaches here: 20-35"), "{}", said(&m));
    assert_eq!(track(&m).windows.len(), 2);
}

#[test]
fn regions_beside_the_picture_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.png");
    image::GrayImage::from_pixel(30, 20, image::Luma([90])).save(&path).unwrap();
    for (region, fits) in
        [("box:5,5,60,60", true), ("box:30,0,40,9", false), ("fan:500,0,5,50,-30,30", false)]
    {
        let options = OpenOptions {
            hide_outside: true,
            region: Some(region.parse().unwrap()),
            ..OpenOptions::default()
        };
        match open(&path, &options) {
            Ok(clip) => assert!(fits && clip.frame(0).unwrap().pixels.contains(&90), "{region}"),
            Err(error) => {
                let why = error.to_string();
                assert!(!fits && why.contains("a.png") && why.contains("30 x 20 px"), "{why}");
            }
        }
    }
}

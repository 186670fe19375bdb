//! The question about a region that the file names or that was found in the pixels: its keys in every keymap, what they
//! lead to, and when they have to wait.

use std::sync::Arc;

use sonomark::domain::{GrayFrame, OutsideChoice, Region};
use sonomark::engine::{Event, Surround};
use sonomark::tui::graphics::Grid;
use sonomark::tui::keymap::{Keymap, VARIANTS, shipped_layer};
use sonomark::tui::model::{Effect, Model, Msg};
use sonomark::tui::theme::Theme;
use sonomark::tui::update;
use sonomark::tui::view::{Canvas, LEVELS, palette};

use crate::screen::{has, screen};
use crate::update::{decided, model_with, press, refresh_of, tell};

fn fan() -> Region {
    "fan:32,-4,6,50,-40,40".parse().unwrap()
}

/// A clip whose region was looked for and found.
fn asked(keymap: Keymap) -> Model {
    let mut m = model_with(6, keymap);
    update(&mut m, Msg::Resized(Grid { columns: 120, rows: 40, cell_px: (8, 16) }));
    m.surround = Surround::Open;
    tell(&mut m, Event::RegionFound { region: Some(fan()), named: false });
    m
}

/// What was decided, and what becomes of the pixels.
fn choice(effects: &[Effect]) -> (Option<OutsideChoice>, Option<Option<Region>>) {
    let noted = effects.iter().find_map(|effect| match effect {
        Effect::JournalView(view) => view.outside,
        _ => None,
    });
    let change = effects.iter().find_map(|effect| match effect {
        Effect::Outside(region) => Some(*region),
        _ => None,
    });
    (noted, change)
}

#[test]
fn every_keymap_has_keys_for_the_question_and_names_them() {
    let variants = VARIANTS.iter().map(|(name, _)| *name);
    let others = variants.map(|name| Keymap::layered(&[shipped_layer(name).unwrap()]).0);
    for keymap in [Keymap::shipped()].into_iter().chain(others) {
        let mut m = asked(keymap);
        let line = screen(&m).lines().find(|line| line.contains("fan? ")).unwrap().to_owned();
        let words = line.split("fan? ").nth(1).unwrap();
        let (yes, rest) = words.split_once(" black outside, ").unwrap();
        let no = rest.split_once(" show").unwrap().0.to_owned();
        assert!(m.message.text.contains(&format!("`{yes}`")), "{}", m.message.text);
        // The narrowest usual line has room for the reason and both answers.
        let told = format!("names outside the outlined fan? `{yes}` black outside, `{no}` show");
        assert!(m.message.text.starts_with(&told) && told.len() < 66, "{}", m.message.text);
        let effects = press(&mut m, yes);
        assert_eq!(
            choice(&effects),
            (Some(OutsideChoice::HideAllBut(fan())), Some(Some(fan()))),
            "{yes}"
        );
        tell(&mut m, Event::OutsideChanged { region: Some(fan()) });
        has(&screen(&m), &["black outside the fan"]);
        assert_eq!(choice(&press(&mut m, yes)), (None, None), "it is decided already");
        let effects = press(&mut m, &no);
        assert_eq!(choice(&effects), (Some(OutsideChoice::Show), Some(None)));
    }
}

#[test]
fn the_outline_is_drawn_until_it_is_answered() {
    let mut m = asked(Keymap::shipped());
    let pixels = Arc::new(GrayFrame::new(64, 48, vec![90; 64 * 48]).unwrap());
    tell(&mut m, Event::Frame { frame: 0, pixels: Arc::clone(&pixels) });
    // Not a mark of the person's: it is there without them too.
    press(&mut m, "v p");
    let colours = palette(&Theme::shipped("dark").unwrap(), 256, LEVELS, false);
    let mut canvas = Canvas::default();
    let with = canvas.compose(&m, &colours, 4).unwrap();
    let effects = press(&mut m, "v n");
    assert_eq!(choice(&effects), (Some(OutsideChoice::Show), None), "nothing has to change");
    let without = canvas.compose(&m, &colours, 4).unwrap();
    let differ = with.indices.iter().zip(&without.indices).filter(|(a, b)| a != b).count();
    assert!(differ > 100, "{differ} px of an outline");
    // The other key looks again, and asks again.
    let effects = press(&mut m, "v y");
    assert!(effects.contains(&Effect::FindRegion), "{effects:?}");
    tell(&mut m, Event::RegionFound { region: None, named: false });
    assert!(m.message.text.contains("no region is named or found"), "{}", m.message.text);
}

#[test]
fn pixels_do_not_change_under_the_network_and_nothing_of_before_stays() {
    let mut m = asked(Keymap::shipped());
    let pixels = Arc::new(GrayFrame::new(64, 48, vec![90; 64 * 48]).unwrap());
    tell(&mut m, Event::Frame { frame: 0, pixels });
    let effects = press(&mut m, "b");
    let (ticket, frame) = refresh_of(&effects).unwrap();
    assert_eq!(choice(&press(&mut m, "v y")), (None, None), "a mask is on its way");
    assert!(m.message.text.contains("at work"), "{}", m.message.text);
    tell(&mut m, Event::Refreshed { ticket, frame, decided: decided(5) });
    assert_eq!(choice(&press(&mut m, "v y")).1, Some(Some(fan())));
    m.tools.review.agreement.entry(ticket.track).or_default().insert(3, 0.2);
    let effects = tell(&mut m, Event::OutsideChanged { region: Some(fan()) });
    assert!(m.tools.review.agreement.is_empty(), "compared on other pixels");
    assert!(m.pixels().is_none() && effects.contains(&Effect::WantFrame(0)), "{effects:?}");
    // Where a flag says it, nobody is asked.
    m.surround = Surround::Given;
    tell(&mut m, Event::RegionFound { region: Some(fan()), named: false });
    assert_eq!((m.surround, choice(&press(&mut m, "v y"))), (Surround::Given, (None, None)));
}

#[test]
fn several_regions_of_the_file_are_outlined_and_answered_together() {
    let both = Region::of_boxes(&[[2, 2, 20, 20], [30, 5, 50, 40]]).unwrap();
    let mut m = model_with(6, Keymap::shipped());
    update(&mut m, Msg::Resized(Grid { columns: 120, rows: 40, cell_px: (8, 16) }));
    m.surround = Surround::Open;
    tell(&mut m, Event::RegionFound { region: Some(both), named: true });
    has(&screen(&m), &["regions? v y black outside"]);
    assert!(m.message.text.contains("named by the file"), "{}", m.message.text);
    let effects = press(&mut m, "v y");
    assert_eq!(choice(&effects), (Some(OutsideChoice::HideAllBut(both)), Some(Some(both))));
    tell(&mut m, Event::OutsideChanged { region: Some(both) });
    has(&screen(&m), &["black outside the regions"]);
    assert_eq!(choice(&press(&mut m, "v n")), (Some(OutsideChoice::Show), Some(None)));
}

//! How the detail follows the line, and what the ladders are measured from.

use super::super::{
    Grid, Limits, Painter, Palette, Scene, Viewport, coarsen, compose, synthetic_frame,
};
use super::*;

const MS: Duration = Duration::from_millis(1);

/// A line of so many Mbit/s.
fn of(mbit: f64) -> Link {
    let mut link = Link::default();
    link.note(400_000, MS.mul_f64(400_000.0 * 8.0 / 1e3 / mbit));
    link
}

fn at(link: &Link) -> [(u8, u8); 2] {
    [false, true].map(|hurried| {
        let Detail { levels, scale } = link.wanted(hurried);
        (levels, scale)
    })
}

#[test]
fn grays_and_scale_follow_the_line_and_the_hurry() {
    assert_eq!(at(&Link::default()), [(32, 1), (32, 1)], "nothing is known yet");
    assert_eq!(at(&of(0.25)), [(16, 2), (8, 12)]);
    assert_eq!(at(&of(0.5)), [(16, 2), (16, 12)]);
    assert_eq!(at(&of(1.5)), [(16, 1), (16, 6)]);
    assert_eq!(at(&of(3.0)), [(32, 1), (16, 2)]);
    assert_eq!(at(&of(5.0)), [(32, 1), (16, 2)]);
    assert_eq!(at(&of(20.0)), [(32, 1), (16, 1)]);
    assert_eq!(at(&of(100.0)), [(64, 1), (64, 1)]);
    assert_eq!(at(&of(1000.0)), [(101, 1), (101, 1)]);
    assert!(of(20.0).told().contains("20.0 Mbit/s; 32 grays, scale 1/1"));
    let png = Link::by(Protocol::Kitty);
    assert_eq!(at(&png), [(FINEST, 1), (FINEST, 1)]);
}

#[test]
fn near_a_limit_it_does_not_go_to_and_fro() {
    // 32 grays take 1.5 s at 2.2 Mbit/s.
    let mut link = of(3.5);
    let mut changes = 0;
    for mbit in [2.0, 2.6, 2.1, 2.5, 1.9, 2.6, 2.0, 2.4] {
        let before = link.wanted(false);
        (0..9).for_each(|i| link.note(400_000 + i, MS.mul_f64(3200.0 / mbit)));
        changes += usize::from(before != link.wanted(false));
    }
    assert_eq!((changes, at(&link)[0]), (1, (16, 1)));
    (0..9).for_each(|i| link.note(400_000 + i, MS.mul_f64(3200.0 / 3.5)));
    assert_eq!(at(&link)[0], (32, 1));
}

#[test]
fn small_frames_tell_nothing_and_one_slow_one_does_not_decide() {
    let mut link = of(60.0);
    link.note(2_000, MS * 400);
    assert_eq!(at(&link), at(&of(60.0)));
    link.note(400_000, MS * 600);
    assert_eq!(at(&link)[1], (32, 1));
    (601..611).for_each(|ms| link.note(400_000, MS * ms));
    assert_eq!(at(&link), [(32, 1), (16, 2)]);
}

#[test]
fn what_a_line_carries_is_told_from_its_delay() {
    // Small pieces over 10 Mbit/s and 300 ms, and over 0.5 Mbit/s.
    let told = |mbit: f64| {
        let mut link = Link::default().behind(Some(MS * 300));
        assert_eq!((link.piece(), link.crawls()), (Some(FIRST_PIECE), false), "unknown");
        assert_eq!(Link::default().behind(Some(MS * 30)).piece(), None, "and near");
        (0..4).for_each(|i| {
            let bytes = FIRST_PIECE + i;
            link.note(bytes, MS * 300 + MS.mul_f64(bytes as f64 * 8e-3 / mbit));
        });
        link
    };
    assert!(!told(10.0).crawls() && told(10.0).piece().is_none());
    assert_eq!(at(&told(10.0))[1], (16, 2), "no coarser than before");
    let slow = told(0.5);
    assert!(slow.crawls() && slow.piece().is_some_and(|bytes| (14_000..20_000).contains(&bytes)));
}

#[test]
fn where_the_line_crawls_pictures_come_coarse_first_and_fine_in_pieces() {
    for mbit in [0.25, 0.5, 1.0, 2.0] {
        let mut link = of(mbit);
        let ms_of = |bytes: f64| bytes * 8e-3 / mbit;
        assert!(link.take_up(false, true), "another picture, {mbit} Mbit/s");
        assert_eq!((link.shown, link.piece()), (link.wanted(true), None));
        assert!(ms_of(link.ladder()[link.at[1]].1) <= QUICK_MS + 10.0, "{mbit} Mbit/s");
        assert!(link.is_coarse(false) && !link.is_coarse(true));
        assert!(link.take_up(false, false) && link.shown == link.wanted(false));
        let piece = link.piece().expect("the fine one is cut");
        assert!(ms_of(piece as f64) <= 300.0, "{piece} bytes, {mbit} Mbit/s");
        assert!(!link.is_coarse(false), "then it is left alone");
    }
    for mbit in [10.5, 20.0, 100.0] {
        let mut link = of(mbit);
        link.shown = Detail::new(16, 1);
        link.sized(2_200_000);
        link.note(400_001, MS.mul_f64(400_001.0 * 8e-3 / mbit));
        assert_eq!(at(&link), at(&of(mbit)), "{mbit} Mbit/s: however large the screen");
        assert!(!link.crawls() && link.piece().is_none());
    }
}

#[test]
fn the_bytes_of_the_last_picture_tell_those_of_the_next() {
    let mut link = of(0.5);
    assert_eq!(at(&link)[1], (16, 12));
    link.shown = Detail::new(16, 12);
    // A sector that is mostly black: a fifth of the bytes.
    (0..20).for_each(|_| link.sized(5_280));
    link.note(400_001, MS.mul_f64(6_400.0));
    assert_eq!(at(&link)[1], (16, 6));
    assert!(!link.crawls(), "and whole at rest, too");
    link.shown = Detail::new(16, 6);
    link.sized(46_000);
    link.note(400_002, MS.mul_f64(6_400.0));
    assert_eq!(at(&link)[1], (16, 12), "one that is larger counts at once");
}

#[test]
fn coarse_in_a_hurry_full_at_rest_and_by_hand_at_once() {
    let mut link = of(5.0);
    assert!(!link.take_up(true, false), "nothing whole is sent: a moving cursor");
    assert!(link.take_up(true, true) && link.shown == Detail::new(16, 2));
    assert!(!link.take_up(true, true), "it stays so");
    assert!(link.take_up(false, false) && link.shown == Detail::new(32, 1));
    let mut fast = of(1000.0);
    assert!(!fast.take_up(false, false), "more than usual is not worth another picture");
    assert!(fast.take_up(false, true) && fast.shown.levels == 101);
    link.set_levels(Some(64)).unwrap();
    link.set_scale(Some(2));
    assert!(link.told().contains("64 grays (set by hand), scale 1/2 (set by hand)"));
    assert!(link.take_up(true, false) && link.shown == Detail::new(64, 2));
    link.set_levels(None).unwrap();
    link.set_scale(None);
    assert!(link.take_up(false, false) && link.shown == Detail::new(32, 1));
}

#[test]
fn the_ladders_know_what_a_picture_takes() {
    let frame = synthetic_frame(1024, 768, 7);
    let grid = Grid { columns: 140, rows: 60, cell_px: (8, 16) };
    let area = ratatui::layout::Rect::new(0, 0, 128, 48);
    let mut wrong = Vec::new();
    for (protocol, ladder) in [(Protocol::Sixel, SIXEL), (Protocol::Kitty, PNG)] {
        for (detail, told) in ladder {
            let palette = Palette::new(detail.levels, &[[50, 50, 0]; 15], 5, 256);
            let view = Viewport::fit(1024, 768, 1024, 768);
            let mut picture = compose(&Scene::new(Some(&frame), view), &palette);
            coarsen(&mut picture, usize::from(detail.scale), detail.levels);
            let limits = Limits { max_width_px: 4096, max_height_px: 4096 };
            let sent = Painter::by(protocol, limits).paint(picture, &palette, grid, area, &[]);
            let bytes: usize = sent.iter().map(|part| part.bytes.len()).sum();
            println!("{protocol:?} {detail:?}: {bytes} bytes");
            if (bytes as f64 / told - 1.0).abs() > 0.05 {
                wrong.push((protocol, detail, bytes));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

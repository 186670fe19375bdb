//! The text cells of every screen, at the smallest usual size and at a very wide one, as they were
//! when somebody last looked at them: `tests/data/screens/*.txt`.
//!
//! After a wanted change: `SONOMARK_LOOKED=1 cargo test --release --test it screens`, then look.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use sonomark::config::schema::Schema;
use sonomark::domain::{Bitmap, GrayFrame, Region};
use sonomark::engine::{Decided, Event, SegmenterInfo, Structure, Surround};
use sonomark::tui::graphics::Grid;
use sonomark::tui::model::{Effect, Model, Msg};
use sonomark::tui::theme::Theme;
use sonomark::tui::update;
use sonomark::tui::view::{self, Look};

use crate::update::{kind, model, press, tell};

/// A name, and what is typed to get there from a clip with one mask.
const SCREENS: [(&str, &str); 13] = [
    ("work", ""),
    ("where the rays start", "t n enter"),
    ("rays", "t n enter 9"),
    ("keys that can follow", "w"),
    ("letters", "m"),
    ("visible here?", "w b"),
    ("reaction time", "w t"),
    ("two frames side by side", "v b"),
    ("messages", "M"),
    ("help", "?"),
    ("palette", "f2"),
    ("structures", "t n t n N a"),
    ("propagating", "p p"),
];

/// Screens that are looked at in the small terminal alone.
const SMALL: [(&str, &str); 14] = [
    ("crowded keys that can follow", "v"),
    ("line", ": e x p"),
    ("help search", "? / m a s k"),
    ("labels", "f"),
    ("attributes", "f n d"),
    ("values", "f n d s"),
    ("M-mode", "v x 4 down ]"),
    ("overlay", ""),
    ("region question", ""),
    ("tutor", ""),
    ("distance and area over time", "v c L L v c v a"),
    ("recording", "Q a l"),
    ("look", "v g v l v e"),
    ("too small", ""),
];

/// What a screen needs beside keys.
fn prepare(name: &str, m: &mut Model) {
    match name {
        "labels" | "attributes" | "values" => {
            let text = "labels:\n  - nerve\n  - {name: vessel, attributes: [side]}\nattributes:\n  \
                        - {name: side, values: [left, right]}\n  \
                        - {name: quality, of: frame, values: [good, poor]}\n";
            m.schema = Schema::read("schema.yaml", text).unwrap();
        }
        "overlay" => {
            let theirs = Bitmap::from_fn(64, 48, |x, y| (12..30).contains(&x) && y > 8 && y < 40);
            let structures = vec![Structure::new("structure 1", [(0, theirs.to_mask())].into())];
            tell(m, Event::Overlay { name: "anna".into(), structures, notes: Vec::new() });
        }
        "region question" => {
            m.surround = Surround::Open;
            let region = Some(Region::Box([4, 4, 60, 44]));
            tell(m, Event::RegionFound { region, named: false });
        }
        "tutor" => m.lesson = Some(0),
        "too small" => {
            update(m, Msg::Resized(Grid { columns: 38, rows: 9, cell_px: (8, 16) }));
        }
        _ => {}
    }
}

fn begun(columns: u16, rows: u16) -> Model {
    let mut m = model(40);
    update(&mut m, Msg::Resized(Grid { columns, rows, cell_px: (8, 16) }));
    let (model, device) = ("samusa-nano".to_owned(), "CPU (2 cores)".to_owned());
    tell(&mut m, Event::Ready(SegmenterInfo { model, device, bridged: false }));
    let pixels = (0..64 * 48).map(|i| if i % 64 < 20 { 20 } else { 180 }).collect();
    let pixels = Arc::new(GrayFrame::new(64, 48, pixels).unwrap());
    tell(&mut m, Event::Frame { frame: 0, pixels });
    let effects = press(&mut m, "b");
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Refresh(ticket, frame, _) => Some((*ticket, *frame)),
        _ => None,
    });
    let (ticket, frame) = asked.unwrap();
    let bitmap = Bitmap::from_fn(64, 48, |x, y| (8..30).contains(&x) && (9..40).contains(&y));
    let decided =
        Decided { bitmap, score: 0.87, object_score_logit: 3.0, encode_ms: 0.0, decode_ms: 1.0 };
    tell(&mut m, Event::Refreshed { ticket, frame, decided });
    kind(&mut m, ":window 1 20");
    press(&mut m, "enter");
    m
}

/// The lines of the screen; where the picture lies nothing may be written.
fn drawn(model: &Model) -> String {
    let (columns, rows) = (model.grid.columns, model.grid.rows);
    let theme = Theme::shipped("dark").unwrap();
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    let mut area = None;
    let look = Look { theme: &theme, ascii: false };
    terminal.draw(|frame| area = view::draw(frame, model, look)).unwrap();
    let buffer = terminal.backend().buffer();
    for position in area.iter().flat_map(|area| area.positions()) {
        assert_eq!(buffer[position].symbol(), " ", "text under the picture at {position:?}");
    }
    let line = |y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..rows).map(|y| line(y).trim_end().to_owned() + "\n").collect()
}

#[test]
fn every_screen_is_as_it_was_looked_at() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/screens");
    let looked = std::env::var_os("SONOMARK_LOOKED").is_some();
    for (columns, rows) in [(80, 24), (300, 80)] {
        let mut all = String::new();
        let small = if columns == 80 { &SMALL[..] } else { &[] };
        for (name, keys) in SCREENS.iter().chain(small) {
            let mut m = begun(columns, rows);
            prepare(name, &mut m);
            if !keys.is_empty() {
                press(&mut m, keys);
            }
            let _ = write!(all, "== {name}\n{}", drawn(&m));
        }
        let path = folder.join(format!("{columns}x{rows}.txt"));
        if looked {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &all).unwrap();
        }
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let other = all.lines().zip(before.lines()).position(|(a, b)| a != b);
        if let Some(at) = other.or((all != before).then_some(0)) {
            let [now, then] = [&all, &before].map(|text| text.lines().nth(at).unwrap_or(""));
            panic!("{columns}x{rows}.txt, line {}:\n  was {then}\n  is  {now}", at + 1);
        }
    }
}

//! The lesson, from its first step to its last, by the keys that it names: on the shipped clip
//! with the shipped network, in the keymaps that differ most.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use sonomark::domain::MaskSource;
use sonomark::engine::{SegmenterSource, Session, Shelf};
use sonomark::tui::action::Action;
use sonomark::tui::graphics::Grid;
use sonomark::tui::key::{Key, spell};
use sonomark::tui::keymap::{Keymap, shipped_layer};
use sonomark::tui::model::{Effect, Mode, Model, Msg};
use sonomark::tui::{begin, hand_over, tutor, update};

use crate::pty_harness::{Answers, Harness};
use crate::surroundings::{Home, PATIENCE, PROGRAM, text};

#[test]
fn the_shipped_clip_is_not_said_to_hold_patient_data() {
    let home = Home::new();
    let env = [("HOME", text(home.0.path()))];
    for word in ["tutor", "demo"] {
        let words = [PROGRAM, "--device", "cpu", word];
        let mut terminal = Harness::start(&words, &env, 110, 40, (8, 16), Answers::xterm());
        terminal.until("the clip", |seen| seen.contains("lower-leg") && seen.contains("on CPU"));
        let clean = |seen: String| assert!(!seen.contains("patient data"), "{word}: {seen}");
        clean(terminal.screen_text());
        terminal.key(b"M");
        terminal.until("what was said before", |seen| seen.contains("newest first"));
        clean(terminal.screen_text());
        terminal.key(b"q");
        terminal.until("the clip again", |seen| seen.contains("NORMAL"));
        terminal.key(b"q");
        assert!(terminal.wait_exit(PATIENCE).unwrap().success());
    }
}

struct Pupil {
    model: Model,
    session: Session<Msg>,
    messages: Receiver<Msg>,
}

impl Pupil {
    fn new(project: &Path, keymap: &str) -> Self {
        let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/clips/ultrabones");
        let (inbox, messages) = channel::<Msg>();
        let (card, device, features_mib) = (None, "cpu".to_owned(), 64);
        let net = SegmenterSource::Net { card, device, features_mib, shelf: Shelf::default() };
        let (session, opened) = Session::open(&clip, project, net, inbox).unwrap();
        let layer = shipped_layer(keymap);
        let (keymap, faults) = Keymap::layered(layer.as_slice());
        assert!(faults.is_empty());
        let grid = Grid { columns: 120, rows: 40, cell_px: (8, 16) };
        let mut model = Model::new(opened, Vec::new(), 0, keymap, grid);
        model.lesson = Some(0);
        let effects = begin(&model);
        let mut pupil = Self { model, session, messages };
        pupil.carry_out(effects);
        pupil.wait();
        pupil
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let fault = hand_over(&mut self.session, &self.model.annotation, effect);
            assert!(fault.is_none(), "{fault:?}");
        }
    }

    /// Until nothing is on its way.
    fn wait(&mut self) {
        loop {
            let model = &self.model;
            let busy =
                model.pixels().is_none() || !model.jobs.asked.is_empty() || model.propagating();
            if !busy {
                return;
            }
            let message = self.messages.recv_timeout(Duration::from_secs(60)).unwrap();
            let effects = update(&mut self.model, message);
            self.carry_out(effects);
        }
    }

    fn key(&mut self, key: Key) {
        let effects = update(&mut self.model, Msg::Key(key));
        self.carry_out(effects);
        self.wait();
    }

    fn digit(&mut self, digit: char) {
        self.key(digit.to_string().parse().unwrap());
    }

    /// Presses the key that the lesson names for an action now.
    fn does(&mut self, action: Action) {
        let text = tutor::text(self.model.lesson.unwrap(), &self.model.keymap);
        let keys = self.model.keymap.sequence(self.model.key_mode(), action);
        let keys = keys.unwrap_or_else(|| panic!("no key for {} in: {text}", action.name()));
        let named = text.split([' ', ':', ',', '.', '(']).collect::<Vec<_>>().join(" ");
        let spelled = spell(&keys);
        let there = format!(" {named} ").contains(&format!(" {spelled} "));
        assert!(there, "{} is {spelled}, but: {text}", action.name());
        keys.into_iter().for_each(|key| self.key(key));
    }

    /// The lesson is at step `at`, from 1.
    fn at(&self, at: usize) {
        let (lesson, told) = (self.model.lesson.unwrap() + 1, &self.model.message.text);
        assert_eq!(lesson, at, "{told}; {}", tutor::text(lesson - 1, &self.model.keymap));
    }
}

#[test]
fn the_lesson_can_be_walked_to_its_end_by_the_keys_it_names() {
    use Action as A;
    for keymap in ["default", "left-hand"] {
        let folder = tempfile::tempdir().unwrap();
        let mut pupil = Pupil::new(folder.path(), keymap);
        pupil.at(1);
        pupil.digit('6');
        pupil.does(A::LastFrame);
        pupil.at(2);
        while pupil.model.lesson == Some(1) {
            let low = pupil.model.cursor.y > 280.0;
            pupil.does(if low { A::CursorFarLeft } else { A::CursorFarDown });
        }
        pupil.at(3);
        pupil.does(A::ClockRays);
        pupil.at(4);
        pupil.does(A::Ray3);
        pupil.does(A::Ray9);
        pupil.at(5);
        pupil.does(A::RaySuggested);
        pupil.does(A::RaySuggested);
        pupil.does(A::Close);
        pupil.at(6);
        // The first key is pressed before a question is open.
        let text = tutor::text(5, &pupil.model.keymap);
        let begin = pupil.model.keymap.sequence(pupil.model.key_mode(), A::WindowBisect).unwrap();
        assert!(text.contains(&spell(&begin)), "{text}");
        begin.into_iter().for_each(|key| pupil.key(key));
        while matches!(pupil.model.mode, Mode::Bisect(_)) {
            let seen = (1..=8).contains(&pupil.model.frame);
            pupil.does(if seen { A::Visible } else { A::NotVisible });
        }
        pupil.at(7);
        pupil.does(A::PropagateBoth);
        pupil.at(8);
        pupil.does(A::WorstFrame);
        pupil.does(A::AcceptFrame);
        pupil.at(9);
        pupil.does(A::AcceptQuiet);
        pupil.at(10);
        let accepted = |pupil: &Pupil| {
            let (_, track) = pupil.model.current().unwrap();
            track.masks.values().filter(|mask| mask.source == MaskSource::Accepted).count()
        };
        let before = accepted(&pupil);
        pupil.does(A::Undo);
        assert!(accepted(&pupil) < before, "{keymap}");
        pupil.does(A::Help);
        assert!(matches!(pupil.model.mode, Mode::Help(_)), "{keymap}");
    }
}

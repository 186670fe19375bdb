//! Keymaps and themes: what ships is sound, what is wrong is told all at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use sonomark::config::yaml::Faults;
use sonomark::tui::action::{Action, Group};
use sonomark::tui::command::{Command, parse};
use sonomark::tui::graphics::ColourDepth;
use sonomark::tui::key::Key;
use sonomark::tui::keymap::{
    Found, KeyMode, Keymap, Layer, VARIANTS, shipped_layer, table_markdown,
};
use sonomark::tui::line::Line;
use sonomark::tui::theme::{Colour, SHIPPED, Theme};
use sonomark::tui::vision::{ENOUGH, apart, from_speckle};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn keys(text: &str) -> Vec<Key> {
    text.split(' ').map(|key| key.parse().unwrap()).collect()
}

fn layered(text: &str) -> (Keymap, Vec<String>) {
    let (keymap, faults) = Keymap::layered(&[Layer { name: "mine.yaml", text }]);
    (keymap, faults.iter().flat_map(Faults::sentences).collect())
}

#[test]
fn the_settings_know_every_shipped_keymap_and_theme() {
    let variants = VARIANTS.iter().map(|(name, _)| *name);
    let keymaps: Vec<&str> = std::iter::once("default").chain(variants).collect();
    assert_eq!(keymaps, sonomark::config::KEYMAPS);
    assert_eq!(sonomark::tui::theme::SHIPPED.map(|(name, _)| name), sonomark::config::THEMES);
}

#[test]
fn the_shipped_keymap_is_sound_and_reaches_every_action() {
    let (keymap, faults) = Keymap::layered(&[]);
    assert_eq!(faults, []);
    assert_eq!(keymap.unbound(), []);
}

#[test]
fn names_are_unique_and_keys_print_as_they_are_read() {
    let names: BTreeSet<_> = Action::ALL.iter().map(|action| action.name()).collect();
    assert_eq!(names.len(), Action::ALL.len());
    for action in Action::ALL {
        assert_eq!(Action::from_name(action.name()), Ok(*action));
    }
    for text in ["b", "G", "C-s", "A-x", "C-A-left", "S-left", "space", "esc", "-", "C--", "?", "ä"]
    {
        assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
    }
}

#[test]
fn terminal_events_become_the_keys_of_the_keymap() {
    let table = [
        (KeyCode::Char('b'), KeyModifiers::NONE, "b"),
        (KeyCode::Char('G'), KeyModifiers::SHIFT, "G"),
        (KeyCode::Char('?'), KeyModifiers::SHIFT, "?"),
        (KeyCode::Char(' '), KeyModifiers::NONE, "space"),
        (KeyCode::Left, KeyModifiers::SHIFT, "S-left"),
        (KeyCode::Left, KeyModifiers::CONTROL, "C-left"),
        (KeyCode::Char('h'), KeyModifiers::ALT, "A-h"),
        (KeyCode::BackTab, KeyModifiers::SHIFT, "backtab"),
        (KeyCode::Char('z'), KeyModifiers::CONTROL, "C-z"),
        (KeyCode::F(1), KeyModifiers::NONE, "f1"),
    ];
    for (code, modifiers, written) in table {
        let key = Key::from_event(&KeyEvent::new(code, modifiers)).unwrap();
        assert_eq!(key.to_string(), written);
    }
    assert_eq!(Key::from_event(&KeyEvent::new(KeyCode::Null, KeyModifiers::NONE)), None);
}

#[test]
fn sequences_wait_for_their_last_key() {
    let keymap = Keymap::shipped();
    let find = |text: &str| keymap.find(KeyMode::Normal, &keys(text));
    assert_eq!(find("b"), Found::Act(vec![Action::AddBoundary]));
    assert_eq!(find("w s"), Found::Act(vec![Action::WindowStart]));
    let Found::More(rest) = find("w") else { panic!("`w` begins sequences") };
    let names: Vec<_> =
        rest.iter().map(|(keys, actions)| (keys[0].to_string(), actions[0])).collect();
    assert!(names.contains(&("e".to_owned(), Action::WindowEnd)));
    assert_eq!(names.len(), 7);
    assert_eq!(find("w w"), Found::Nothing);
}

#[test]
fn a_persons_file_is_laid_over_leaf_by_leaf() {
    let (keymap, faults) =
        layered("normal:\n  b: undo\n  J: none\n  J m: [accept-frame, next-frame]\n  x: none\n");
    assert_eq!(faults, [] as [String; 0]);
    let find = |text: &str| keymap.find(KeyMode::Normal, &keys(text));
    assert_eq!(find("b"), Found::Act(vec![Action::Undo]));
    assert_eq!(find("J m"), Found::Act(vec![Action::AcceptFrame, Action::NextFrame]));
    assert_eq!(find("x"), Found::Nothing);
    assert_eq!(find("i"), Found::Act(vec![Action::AddInside]), "the rest is as shipped");
}

#[test]
fn shipped_variants_are_sound_and_leave_no_action_without_a_key() {
    for (name, _) in VARIANTS {
        let (keymap, faults) = Keymap::layered(&[shipped_layer(name).unwrap()]);
        assert_eq!(faults, [], "{name}");
        assert_ne!(keymap, Keymap::shipped(), "{name}");
        assert_eq!(keymap.unbound(), Keymap::shipped().unbound(), "{name}");
    }
    assert_eq!(shipped_layer("default").map(|layer| layer.name), None);
    let (left, _) = Keymap::layered(shipped_layer("left-hand").as_slice());
    let told = left.to_markdown();
    assert!(told.contains("| `` ` `` `enter` | `clock-rays` |") && !told.contains("```"), "{told}");
}

#[test]
fn keys_that_begin_sequences_are_no_marks_in_any_keymap() {
    for name in ["default", "vim", "left-hand", "colemak"] {
        let (keymap, _) = Keymap::layered(shipped_layer(name).as_slice());
        let letters = keymap.mark_letters();
        assert!(letters.len() >= 6, "{name}: {letters:?}");
        for letter in letters {
            let key = keys(&letter.to_string());
            assert!(
                !matches!(keymap.find(KeyMode::Rays, &key), Found::More(_)),
                "{name}: {letter}"
            );
        }
    }
    let (keymap, faults) = layered("marks: abde\n");
    assert_eq!((keymap.mark_letters(), faults.len()), (vec!['a', 'b', 'd', 'e'], 0));
    let (_, faults) = layered("marks: abp\n");
    assert!(
        faults.len() == 1 && faults[0].starts_with("mine.yaml:1: `p` in `marks`"),
        "{faults:?}"
    );
    assert_eq!(layered("marks: aa\n").1.len(), 1);
}

/// Keys differ from keymap to keymap: sentences and panels must ask the keymap.
#[test]
fn no_sentence_names_a_key_by_itself() {
    for folder in ["src/tui/update", "src/tui/view"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().enumerate().filter(|(_, line)| !line.trim().starts_with("//"));
            for (at, line) in code {
                let quoted = line.split('`').skip(1).step_by(2);
                let is_key = |part: &str| {
                    !part.is_empty()
                        && !part.contains('{')
                        && part.split(' ').all(|word| word.chars().count() < 3)
                };
                let by_name = [" esc ", " enter ", " tab "].iter().any(|key| line.contains(key));
                let named = by_name || quoted.clone().any(is_key);
                assert!(!named, "{}:{}: {line}", path.display(), at + 1);
            }
        }
    }
}

/// Every file of `tests/data/invalid` names its faults in comments at its top.
#[test]
fn all_faults_of_a_file_are_told_at_once_with_their_lines() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join("tests/data/invalid")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let layer = Layer { name: &name, text: &text };
        let faults = if name.starts_with("keymap_") {
            let (keymap, faults) = Keymap::layered(&[layer]);
            assert_eq!(
                keymap,
                Keymap::shipped(),
                "{name}: the program starts with the shipped keys"
            );
            faults
        } else if name.starts_with("theme_") {
            let (theme, faults) = Theme::layered("dark", &[layer]).unwrap();
            assert_eq!(theme, Theme::shipped("dark").unwrap());
            faults
        } else {
            continue;
        };
        seen += 1;
        let wanted: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# fault: "))
            .map(|fault| format!("{name}:{fault}"))
            .collect();
        let found: Vec<String> = faults.iter().flat_map(Faults::sentences).collect();
        assert_eq!(found.len(), wanted.len(), "{name}: {found:#?}");
        for wanted in wanted {
            // YAML's own words may go on behind what is expected.
            assert!(found.iter().any(|found| found.starts_with(&wanted)), "{wanted}\n{found:#?}");
        }
    }
    assert!(seen >= 7, "only {seen} files");
}

#[test]
fn files_that_are_too_large_or_bombs_are_refused() {
    let large = format!("normal:\n  b: undo\n{}", "# padding\n".repeat(500_000));
    let (_, faults) = layered(&large);
    assert!(faults[0].contains("larger than 4 MiB"), "{faults:?}");
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "f"), ("f", "g")] {
        bomb.push_str(&format!("{to}: &{to} [*{from},*{from},*{from},*{from},*{from},*{from}]\n"));
    }
    let (keymap, faults) = layered(&bomb);
    assert!(!faults.is_empty());
    assert_eq!(keymap, Keymap::shipped());
}

#[test]
fn words_of_a_file_cannot_act_on_the_terminal() {
    let (_, faults) = layered("normal:\n  b: \"un\\e[2Jdo\"\n  \"\\e]0;x\": undo\n");
    assert_eq!(faults.len(), 2);
    assert!(!faults.iter().any(|fault| fault.chars().any(char::is_control)), "{faults:?}");
}

#[test]
fn every_shipped_theme_names_every_role() {
    for (name, _) in SHIPPED {
        let (theme, faults) = Theme::layered(name, &[]).unwrap();
        assert_eq!(faults, []);
        assert!(!theme.tracks.is_empty());
    }
    let why = Theme::shipped("drak").unwrap_err();
    assert!(why.contains("did you mean `dark`?"), "{why}");
    assert_eq!(Colour::parse("#0a0B0c"), Some(Colour::Rgb([10, 11, 12])));
    assert_eq!(Colour::parse("#é123"), None);
}

#[test]
fn words_have_colours_that_the_terminal_knows() {
    let theme = Theme::shipped("dark").unwrap();
    let of = |depth| {
        let theme = theme.clone().with_depth(depth);
        assert_eq!(theme.window.in_picture(), [0x56, 0xb4, 0xe9], "pictures have their own");
        theme.style(theme.window).fg
    };
    assert_eq!(of(ColourDepth::True), Some(Color::Rgb(0x56, 0xb4, 0xe9)));
    assert_eq!(of(ColourDepth::Indexed), Some(Color::Indexed(74)));
    assert!(!matches!(of(ColourDepth::Sixteen), Some(Color::Rgb(..) | Color::Indexed(_)) | None));
}

#[test]
fn the_key_list_is_generated() {
    let table = table_markdown();
    assert!(table.contains(
        "| `b` | `add-boundary` | put a boundary point under the cursor: the contour passes here |"
    ));
    assert!(
        table.contains("| `q` `C-q` `Z Z` | `quit` | leave; everything is already saved |"),
        "{table}"
    );
    for action in Action::ALL {
        assert!(table.contains(&format!("`{}`", action.name())), "{}", action.name());
    }
}

#[test]
fn the_readme_holds_the_key_list() {
    let readme =
        fs::read_to_string(Path::new(&root()).join("README.md")).expect("there is a README");
    let list =
        readme.split("<!-- keys:").nth(1).and_then(|rest| rest.split("<!-- /keys -->").next());
    let table = table_markdown();
    // Neither more nor less, in the same order.
    let rows = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
    };
    let (held, printed) = (rows(list.expect("the list has its marks")), rows(&table));
    let differs = held.iter().zip(&printed).find(|(held, printed)| held != printed);
    assert_eq!(differs, None, "README.md is not what `sonomark keys` prints");
    assert_eq!(held.len(), printed.len(), "README.md is not what `sonomark keys` prints");
}

#[test]
fn command_lines_are_read_or_explained() {
    let read = |text: &str| parse(text, 40);
    assert_eq!(read(""), Ok(Command::Nothing));
    assert_eq!(read(" :12 "), Ok(Command::Goto(11)));
    assert_eq!(read("frame 40"), Ok(Command::Goto(39)));
    assert_eq!(read("q"), Ok(Command::Act(Action::Quit, None)));
    assert_eq!(read("cursor-left 7"), Ok(Command::Act(Action::CursorLeft, Some(7))));
    assert_eq!(read("rename left  vagus nerve"), Ok(Command::Rename("left  vagus nerve".into())));
    assert_eq!(read("window 3 9"), Ok(Command::Window(2, 8)));
    assert_eq!(
        read("export nifti masks/a b.nii"),
        Ok(Command::Export("nifti".into(), Some("masks/a b.nii".into())))
    );
    for (text, told) in [
        ("41", "it has 1 to 40"),
        ("0", "it has 1 to 40"),
        ("propagate-bth", "did you mean `propagate-both`?"),
        ("rename", "needs LABEL"),
        ("window 3", "needs FIRST LAST"),
        ("speed 99", "between 0.1 and 8"),
        ("undo now", "takes a count or nothing"),
        ("99999999999999999999", "is no frame"),
    ] {
        let why = read(text).unwrap_err();
        assert!(why.contains(told), "{text}: {why}");
    }
}

#[test]
fn the_listing_finds_by_name_by_part_and_by_what_it_does() {
    let keymap = Keymap::shipped();
    let first = |line: &Line| line.candidates(&keymap).first().map(|each| each.name);
    assert_eq!(first(&Line::with("propagate-b")), Some("propagate-both"));
    assert_eq!(first(&Line::with("both")), Some("propagate-both"));
    assert_eq!(first(&Line::with("pwin")), Some("propagate-window"));
    let mut search = Line::search();
    "brighter".chars().for_each(|c| search.insert(c));
    assert_eq!(first(&search), Some("level-up"));
    let all = Line::search().candidates(&keymap);
    // All that can be done from there: not what keys do in dialogs, which close first.
    let in_dialogs = Action::ALL.iter().filter(|action| action.group() == Group::Dialogs).count();
    assert!(in_dialogs > 0 && all.len() == Action::ALL.len() - in_dialogs);
    assert!(all.iter().all(|each| each.name != "line-erase"));
    assert!(all.iter().any(|each| each.name == "add-boundary" && each.keys == "b"));
}

#[test]
fn the_line_edits_any_text() {
    let mut line = Line::with("renäme  große Vene");
    line.erase_word();
    assert_eq!(line.text, "renäme  große ");
    line.go(-100);
    line.insert('x');
    line.insert('\u{1b}');
    assert_eq!((line.text.as_str(), line.cursor), ("xrenäme  große ", 1));
    line.go(isize::MAX);
    (0..100).for_each(|_| line.erase());
    assert_eq!((line.text.as_str(), line.cursor), ("", 0));
}

#[test]
fn mask_colours_are_told_apart_and_from_speckle_with_every_kind_of_colour_vision() {
    for (name, _) in SHIPPED {
        let theme = Theme::shipped(name).unwrap();
        let colours: Vec<[u8; 3]> = theme.tracks.iter().map(|colour| colour.in_picture()).collect();
        // Without colours names and outlines tell structures apart; they are bright all the same.
        assert_eq!(colours.len(), if name == "mono" { 2 } else { 8 }, "{name}");
        for (i, a) in colours.iter().enumerate() {
            let speckle = from_speckle(*a);
            assert!(speckle > ENOUGH, "{name}: track {i} is {speckle:.1} from speckle");
            for (j, b) in colours.iter().enumerate().skip(i + 1) {
                let apart = apart(*a, *b);
                assert!(apart > ENOUGH, "{name}: tracks {i} and {j} are {apart:.1} apart");
            }
        }
    }
}

//! What the real program sends to a terminal, in bytes; and its command lines without one.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use sonomark::cli::pty::{SentFrame, Terminal};
use sonomark::domain::MaskSource;
use sonomark::tui::graphics::synthetic_frame;

use crate::surroundings::{Home, PATIENCE, annotation_of, data, text, until, words_for_env};

/// The picture of this terminal has 1024 x 768 px.
const CELLS: (u16, u16) = (166, 53);
const QUIET: Duration = Duration::from_millis(400);

fn still(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("still.png");
    let frame = synthetic_frame(1024, 768, 7);
    let image = image::GrayImage::from_raw(1024, 768, frame.pixels).unwrap();
    image.save(&path).unwrap();
    path
}

/// The program on a still, with a picture on the screen.
fn started(home: &Path, project: &Path, more: &[&str]) -> Terminal {
    let words = ["--device", "cpu", "--project"].map(OsStr::new);
    let path = still(home);
    let places = [project.as_os_str(), path.as_os_str()];
    let more: Vec<&OsStr> = more.iter().map(OsStr::new).collect();
    let words = words_for_env(home, &[&words[..], &places, &more[..]].concat());
    let terminal = Terminal::start(Path::new("env"), &words, CELLS).unwrap();
    // An empty picture comes before the image is decoded.
    until("the picture", || terminal.frames().iter().any(|frame| frame.bytes > 100_000));
    terminal
}

fn typed(terminal: &mut Terminal, keys: &str) -> Vec<SentFrame> {
    terminal.mark();
    terminal.key(keys.as_bytes()).unwrap();
    // On a busy machine the answer may take longer than a pause inside it.
    let begun = Instant::now();
    while terminal.frames().iter().all(|frame| frame.sixels.is_empty())
        && begun.elapsed() < PATIENCE
    {
        assert!(terminal.settle(QUIET, PATIENCE));
    }
    assert!(terminal.settle(QUIET, PATIENCE));
    terminal.frames()
}

/// Bytes up to the first picture: a point is drawn at once, its mask comes later.
fn at_once(frames: &[SentFrame]) -> usize {
    let until = frames.iter().position(|frame| !frame.sixels.is_empty()).unwrap();
    bytes(&frames[..=until])
}

fn bytes(frames: &[SentFrame]) -> usize {
    frames.iter().map(|frame| frame.bytes).sum()
}

#[test]
fn full_frames_moves_and_points_keep_to_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = started(folder.path(), &folder.path().join("p"), &[]);
    assert!(terminal.settle(QUIET, PATIENCE) && terminal.running());
    let first = terminal.frames();
    let full = first.iter().max_by_key(|frame| frame.bytes).unwrap();
    println!("full frame: {} bytes, {:?}", full.bytes, full.sixels);
    assert!(full.bytes <= 420_000, "{}", full.bytes);

    let (mut largest, mut tile) = (0, 0);
    for keys in ["l", "j", "L", "\x1b[1;5C", "12k"] {
        let frames = typed(&mut terminal, keys);
        assert!(frames.iter().any(|frame| !frame.sixels.is_empty()), "{keys} moves the cursor");
        largest = largest.max(bytes(&frames));
        if matches!(keys, "l" | "j") {
            tile = frames.iter().map(|frame| frame.longest).fold(tile, usize::max);
        }
    }
    println!("largest cursor move: {largest} bytes, largest tile of a step {tile}");
    assert!(largest <= 6_000 && tile <= 2_000, "{largest} {tile}");

    // At rest nothing is sent: a frame without a change would be answered by the terminal, which would ask for the
    // next one.
    let sent = terminal.bytes();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(terminal.bytes(), sent, "bytes while nothing happens");

    // A point first, its mask later.
    let frames = typed(&mut terminal, "b");
    println!("point: {} bytes, then {} in all", at_once(&frames), bytes(&frames));
    assert!(at_once(&frames) <= 12_000, "{frames:?}");
    // The mask comes within its bounding box: outline and whole cells add less than two cells on each side.
    let project = annotation_of(&folder.path().join("p"));
    let mask = project.tracks.values().next().unwrap().masks[&0].mask.to_bitmap();
    let area = mask.bounds().unwrap();
    let (wide, high) = (area.max.x - area.min.x + 4.0 * 8.0, area.max.y - area.min.y + 4.0 * 16.0);
    let sent: usize = frames[1..].iter().flat_map(|frame| &frame.sixels).map(|(w, h)| w * h).sum();
    println!("mask: {sent} px of {wide} x {high}, the whole is {} px", 1024 * 768);
    assert!(sent > 0 && sent as f32 <= wide * high, "{frames:?} for {area:?}");
    typed(&mut terminal, "\r");
    let frames = typed(&mut terminal, "3");
    println!("point by direction: {} bytes, then {} in all", at_once(&frames), bytes(&frames));
    assert!(at_once(&frames) <= 12_000, "{frames:?}");
    let after = frames.last().unwrap();
    let area: usize = after.sixels.iter().map(|(w, h)| w * h).sum();
    assert!(area < 1024 * 768 / 2, "the mask's surroundings alone: {:?}", after.sixels);
    terminal.key(b"\x1bq").unwrap();
}

#[test]
fn images_take_fewer_bytes_than_sixels_on_the_whole_way() {
    let folder = tempfile::tempdir().unwrap();
    for graphics in ["kitty", "iterm"] {
        let project = folder.path().join(graphics);
        let mut terminal = started(folder.path(), &project, &["--graphics", graphics]);
        assert!(terminal.settle(QUIET, PATIENCE) && terminal.running());
        let frames = terminal.frames();
        let full = frames.iter().map(|frame| frame.bytes).max().unwrap();
        println!("{graphics}: full frame {full} bytes");
        assert!((200_000..330_000).contains(&full), "{graphics}: {full}");
        assert!(frames.iter().all(|frame| frame.sixels.is_empty()));
    }
}

fn run(home: &Home, project: &Path, script: &str, clip: &Path) -> Output {
    let path = home.path("p.script");
    std::fs::write(&path, script).unwrap();
    home.run(&["run", "--project", text(project), text(&path), text(clip)])
}

#[test]
fn a_script_does_what_the_command_line_does_and_names_the_line_that_fails() {
    let home = Home::new();
    let (clip, project, out) = (data("clips/ultrabones"), home.path("p"), home.path("masks"));
    let script = format!(
        "# round the shadow of the bone\nnew shadow\nframe 6\nboundary 243 236\n\
         boundary 291 345\nboundary 262 398\nboundary 206 290\nwindows shadow add 5,8\n\
         5,8 propagate both\n\
         g/propagated/flag\n8 unflag\nframe 6\nkeys m q\nkeys . a\nexport png {}\n",
        out.display()
    );
    let done = run(&home, &project, &script, &clip);
    let (told, faults) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{told}{faults}");
    assert!(told.contains("propagated 3 frames") && told.contains("exported"), "{told}");
    // A line's answer is its own, whatever the network says meanwhile.
    assert!(told.contains("script:3: frame 6/16\n"), "{told}");
    assert!(told.contains("script:4: boundary point on frame 6"), "{told}");
    assert!(!told.contains("network ready"), "{told}");
    let kept = annotation_of(&project);
    let track = kept.tracks.values().next().unwrap();
    assert_eq!(track.info.label, "shadow");
    assert_eq!(track.flags.iter().copied().collect::<Vec<_>>(), [4]);
    assert_eq!(kept.places[&'q'], 5);
    assert_eq!(track.masks.keys().copied().collect::<Vec<_>>(), [4, 5, 6, 7]);
    assert_eq!(track.masks[&6].source, MaskSource::Accepted);
    assert!(out.is_dir());

    let failed = run(&home, &project, "1 accept\nframe 99\n2 accept\n", &clip);
    let faults = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1));
    assert!(faults.contains("script:2") && faults.contains("it has 1 to 16"), "{faults}");
}

//! Prompts files: what a person would click, written down.
//!
//! ```yaml
//! tracks:
//!   - label: nerve
//!     windows: [[0, 24], [40, 63]]
//!     prompts:
//!       - frame: 3
//!         boundary: [[310.5, 120.5], [402, 160], [350, 210]]
//!         inside: [[350, 160]]
//! ```
//! Frames count from 0, windows include both ends, coordinates are pixels of the original frame
//! with the origin at the top left corner. All faults are told at once, with their lines.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use crate::codec;
use crate::config::yaml::{Entries, Faults, Kind, Node, parse, text_of, text_of_regular};
use crate::domain::{
    Bitmap, BoxPx, ClipInfo, FrameIndex, Mask, PlacedPrompt, PointKind, PointPx, Prompt, PromptId,
    Track, Window, insert_window, shown,
};

use super::headless::REPORT;

const TRACK: [&str; 3] = ["label", "windows", "prompts"];
const PROMPTS: [&str; 6] = ["frame", "boundary", "inside", "outside", "box", "mask"];

/// Reads a prompts file for the clip `info`, as tracks without masks in the order of the file.
/// Mask files are named relative to the prompts file.
///
/// # Errors
/// All faults at once.
pub(crate) fn read(path: &Path, info: &ClipInfo) -> Result<Vec<Track>, Faults> {
    from_file(path, &text_of(path)?, info, false)
}

/// The same from a folder that others write to, where a pipe may have come into the file's place. Masks lie there too:
/// what else this computer holds is none of theirs.
///
/// # Errors
/// All faults at once; a file that is no regular one is one of them, and a mask that lies elsewhere.
pub(crate) fn read_regular(path: &Path, info: &ClipInfo) -> Result<Vec<Track>, Faults> {
    from_file(path, &text_of_regular(path)?, info, true)
}

fn from_file(
    path: &Path,
    (name, text): &(String, String),
    info: &ClipInfo,
    confined: bool,
) -> Result<Vec<Track>, Faults> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let faults = Faults::new(name);
    from_text(text, Reader { info, folder, confined, name, faults, next_id: 0 })
}

fn from_text(text: &str, mut reader: Reader) -> Result<Vec<Track>, Faults> {
    let root = parse(reader.name, text)?;
    let mut tracks: Vec<Track> = Vec::new();
    if let Some(top) = Entries::of(&root, "", &["tracks"], &mut reader.faults) {
        let items = top.list("tracks", &mut reader.faults);
        if items.is_empty() {
            reader.faults.add(
                1,
                "`tracks` is missing or empty; give at least one with `label` and `prompts`",
            );
        }
        let mut labels = BTreeSet::new();
        for (path, node) in items {
            if let Some(track) = reader.track(&path, node, tracks.len() as u8) {
                if !labels.insert(track.info.label.clone()) {
                    let label = shown(&track.info.label);
                    reader
                        .faults
                        .add(node.line, format!("`{path}.label` \"{label}\" is used twice"));
                }
                tracks.push(track);
            }
        }
    }
    reader.faults.or(tracks)
}

struct Reader<'a> {
    info: &'a ClipInfo,
    folder: &'a Path,
    /// Masks lie in that folder.
    confined: bool,
    /// Of the prompts file, safe to show.
    name: &'a str,
    faults: Faults,
    next_id: u64,
}

impl Reader<'_> {
    fn track(&mut self, path: &str, node: &Node, colour: u8) -> Option<Track> {
        let entries = Entries::of(node, path, &TRACK, &mut self.faults)?;
        let label = match entries.text("label", &mut self.faults) {
            Some((label, line)) => {
                if !names_a_folder(label) {
                    self.faults.add(line, format!(
                        "`{path}.label` \"{}\" cannot name a folder; use letters, digits, spaces, - and _",
                        shown(label)
                    ));
                } else if label.eq_ignore_ascii_case(REPORT) {
                    self.faults.add(line, format!(
                        "`{path}.label` \"{label}\" is the name of the report beside the masks; choose another"
                    ));
                }
                label.to_owned()
            }
            None => {
                if entries.get("label").is_none() {
                    self.faults.add(entries.line(), format!("`{path}.label` is missing"));
                }
                String::new()
            }
        };
        let mut track = Track::new(label, colour);
        for (path, node) in entries.list("windows", &mut self.faults) {
            if let Some(window) = self.window(&path, node) {
                track.windows = insert_window(&track.windows, window);
            }
        }
        let items = entries.list("prompts", &mut self.faults);
        if items.is_empty() {
            self.faults.add(entries.line(), format!(
                "`{path}.prompts` is missing or empty; put boundary points on one frame of a window"
            ));
        }
        for (path, node) in items {
            self.frame_prompts(&path, node, &mut track);
        }
        Some(track)
    }

    fn window(&mut self, path: &str, node: &Node) -> Option<Window> {
        let ends = self.numbers::<2>(path, node, "[first, last]")?;
        let [first, last] =
            [self.frame(path, node.line, ends[0])?, self.frame(path, node.line, ends[1])?];
        if first > last {
            self.faults
                .add(node.line, format!("`{path}` ends at {last}, before it begins at {first}"));
            return None;
        }
        Some(Window { first, last })
    }

    fn frame(&mut self, path: &str, line: usize, value: f64) -> Option<FrameIndex> {
        let frames = self.info.frames;
        if value.fract() == 0.0 && (0.0..frames as f64).contains(&value) {
            return Some(value as usize);
        }
        self.faults.add(
            line,
            format!(
                "`{path}` names frame {value}; the clip has frames 0 to {}",
                frames.saturating_sub(1)
            ),
        );
        None
    }

    fn frame_prompts(&mut self, path: &str, node: &Node, track: &mut Track) {
        let Some(entries) = Entries::of(node, path, &PROMPTS, &mut self.faults) else {
            return;
        };
        let frame = match entries.get("frame") {
            Some((path, Node { line, kind: Kind::Number(value, _) })) => {
                self.frame(&path, *line, *value)
            }
            Some((path, other)) => {
                self.faults.add(
                    other.line,
                    format!("`{path}` must be a number, it is {}", other.kind.name()),
                );
                None
            }
            None => {
                self.faults.add(entries.line(), format!("`{path}.frame` is missing"));
                None
            }
        };
        if let Some(frame) = frame.filter(|frame| !track.visible(*frame)) {
            self.faults.add(entries.line(), format!(
                "`{path}.frame` {frame} lies outside the windows of \"{}\"; extend a window or move the prompts",
                shown(&track.info.label)
            ));
        }
        let mut found = Vec::new();
        let kinds = [
            ("boundary", PointKind::Boundary),
            ("inside", PointKind::Inside),
            ("outside", PointKind::Outside),
        ];
        for (key, kind) in kinds {
            for (path, node) in entries.list(key, &mut self.faults) {
                found.extend(self.point(&path, node).map(|at| Prompt::Point { kind, at }));
            }
        }
        if let Some((path, node)) = entries.get("box") {
            found.extend(self.bounding_box(&path, node).map(Prompt::Box));
        }
        if let Some((file, line)) = entries.text("mask", &mut self.faults) {
            found.extend(self.mask(&format!("{path}.mask"), line, file).map(Prompt::Mask));
        }
        let some = |key: &&str| {
            let given = entries.get(key);
            given.is_some_and(
                |(_, node)| !matches!(&node.kind, Kind::List(items) if items.is_empty()),
            )
        };
        if !["boundary", "inside", "outside", "box", "mask"].iter().any(some) {
            self.faults.add(entries.line(), format!("`{path}` has no point, box or mask"));
        }
        if let Some(frame) = frame {
            let placed = found.into_iter().map(|prompt| {
                self.next_id += 1;
                PlacedPrompt { id: PromptId(self.next_id), prompt }
            });
            track.prompts.entry(frame).or_default().extend(placed);
        }
    }

    fn point(&mut self, path: &str, node: &Node) -> Option<PointPx> {
        let [x, y] = self.numbers::<2>(path, node, "[x, y]")?;
        self.inside_image(path, node.line, x, y)
    }

    fn inside_image(&mut self, path: &str, line: usize, x: f64, y: f64) -> Option<PointPx> {
        let (w, h) = (self.info.width_px, self.info.height_px);
        if (0.0..=f64::from(w)).contains(&x) && (0.0..=f64::from(h)).contains(&y) {
            return Some(PointPx::new(x as f32, y as f32));
        }
        self.faults
            .add(line, format!("`{path}` [{x}, {y}] lies outside the frame of {w} x {h} px"));
        None
    }

    fn bounding_box(&mut self, path: &str, node: &Node) -> Option<BoxPx> {
        let [x0, y0, x1, y1] = self.numbers::<4>(path, node, "[x0, y0, x1, y1]")?;
        let corners = [(x0, y0), (x1, y1)].map(|(x, y)| self.inside_image(path, node.line, x, y));
        let found = BoxPx::from_corners(corners[0]?, corners[1]?);
        if found.min.x >= found.max.x || found.min.y >= found.max.y {
            self.faults.add(node.line, format!("`{path}` has no area"));
            return None;
        }
        Some(found)
    }

    /// An image of the size of the frames with one structure ([`structure_in`]).
    fn mask(&mut self, path: &str, line: usize, file: &str) -> Option<Mask> {
        if self.confined && !lies_in(self.folder, file) {
            self.faults.add(line, format!(
                "`{path}` \"{}\" is no file in the folder of the prompts file, or a link out of it; \
                 copy the mask itself there and give its name",
                shown(file)
            ));
            return None;
        }
        let decoded = codec::open(&self.folder.join(file), &codec::OpenOptions::default())
            .and_then(|clip| clip.frame(0));
        let pixels = match decoded {
            Ok(pixels) => pixels,
            Err(error) => {
                self.faults.add(line, format!("`{path}`: {error}"));
                return None;
            }
        };
        let wanted = (self.info.width_px, self.info.height_px);
        if (pixels.width_px, pixels.height_px) != wanted {
            self.faults.add(
                line,
                format!(
                    "`{path}` is {} x {} px, the frames are {} x {} px",
                    pixels.width_px, pixels.height_px, wanted.0, wanted.1
                ),
            );
            return None;
        }
        match structure_in(&pixels.pixels) {
            Ok(pixels) => {
                Some(Bitmap { width_px: wanted.0, height_px: wanted.1, pixels }.to_mask())
            }
            Err(why) => {
                self.faults.add(line, format!("`{path}` {why}"));
                None
            }
        }
    }

    /// Exactly `N` finite numbers.
    fn numbers<const N: usize>(&mut self, path: &str, node: &Node, form: &str) -> Option<[f64; N]> {
        let number = |item: &Node| match item.kind {
            Kind::Number(value, _) if value.is_finite() => Some(value),
            _ => None,
        };
        let read: Option<Vec<f64>> = match &node.kind {
            Kind::List(items) => items.iter().map(number).collect(),
            _ => None,
        };
        let found = read.and_then(|values| <[f64; N]>::try_from(values).ok());
        if found.is_none() {
            self.faults.add(node.line, format!("`{path}` must be {form}"));
        }
        found
    }
}

/// Which pixels of a mask are its structure: those brighter than half gray. Where none is, the values are numbers of
/// structures, as data sets have them, and the one that is there is meant.
///
/// # Errors
/// No structure is there, or several.
fn structure_in(grays: &[u8]) -> Result<Vec<bool>, String> {
    let values: BTreeSet<u8> = grays.iter().copied().filter(|gray| *gray > 0).collect();
    let above = match values.last() {
        None => return Err("is black everywhere; make the structure white".to_owned()),
        Some(most) if *most > 127 => 127,
        Some(_) if values.len() == 1 => 0,
        Some(_) => {
            return Err(format!(
                "holds {} values besides black, all darker than half gray; give each structure a file of its own, white on \
                 black",
                values.len()
            ));
        }
    };
    Ok(grays.iter().map(|gray| *gray > above).collect())
}

/// Whether `file` is a file in `folder` or below it, behind all links. By its name alone one elsewhere is not even looked
/// for.
fn lies_in(folder: &Path, file: &str) -> bool {
    let downwards = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    let real = |path: &Path| path.canonicalize().ok();
    let leads_on = |file: &Path| codec::voxels_beside(file).is_some_and(|part| part.is_symlink());
    Path::new(file).components().all(downwards)
        && real(&folder.join(file)).zip(real(folder)).is_some_and(|(file, folder)| {
            file.starts_with(folder) && file.is_file() && !leads_on(&file)
        })
}

/// Whether a label can be the name of a folder of its masks.
pub(super) fn names_a_folder(label: &str) -> bool {
    !label.trim().is_empty()
        && label.len() <= 100
        && label.trim() == label
        && !label.starts_with('.')
        && !label.contains(['/', '\\'])
        && shown(label) == label
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClipKind, ContentHash};

    fn info() -> ClipInfo {
        ClipInfo::new(ContentHash("00".into()), ClipKind::Cine, (640, 480), 50)
    }

    fn read_text(text: &str) -> Result<Vec<Track>, Faults> {
        let (name, folder) = ("a.prompts.yaml", Path::new("."));
        let faults = Faults::new(name);
        let info = &info();
        from_text(text, Reader { info, folder, confined: false, name, faults, next_id: 0 })
    }

    #[test]
    fn masks_of_a_folder_that_others_write_to_lie_in_it() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let inbox = home.path().join("inbox");
        std::fs::create_dir_all(inbox.join("below")).expect("made");
        for name in ["inbox/a.png", "inbox/below/b.png", "secret.png"] {
            std::fs::write(home.path().join(name), "").expect("written");
        }
        std::os::unix::fs::symlink(home.path().join("secret.png"), inbox.join("link.png"))
            .expect("linked");
        let secret = home.path().join("secret.png");
        let absolute = secret.to_str().expect("plain");
        for (file, fine) in [
            ("a.png", true),
            ("./below/b.png", true),
            ("below", false),
            ("none.png", false),
            ("link.png", false),
            ("../secret.png", false),
            ("below/../a.png", false),
            (absolute, false),
        ] {
            assert_eq!(lies_in(&inbox, file), fine, "{file}");
        }
    }

    #[test]
    fn a_mask_is_white_or_of_one_number() {
        let of = |grays: &[u8]| structure_in(grays);
        assert_eq!(of(&[0, 3, 200, 255, 127]), Ok(vec![false, false, true, true, false]));
        assert_eq!(of(&[0, 1, 1, 0]), Ok(vec![false, true, true, false]));
        assert!(of(&[0, 0]).is_err_and(|why| why.contains("black everywhere")));
        assert!(of(&[0, 1, 2]).is_err_and(|why| why.contains("2 values besides black")));
    }

    #[test]
    fn a_file_becomes_tracks() {
        let tracks = read_text(
            "tracks:\n  - label: nerve\n    windows: [[0, 4], [5, 9], [20, 30]]\n    prompts:\n      - frame: 3\n        boundary: [[1, 2.5], [640, 480]]\n        outside: [[9, 9]]\n        box: [30, 40, 10, 20]\n  - label: vessel\n    prompts:\n      - {frame: 0, inside: [[5, 5]]}\n",
        )
        .expect("no fault");
        assert_eq!(
            tracks[0].windows,
            [Window { first: 0, last: 9 }, Window { first: 20, last: 30 }]
        );
        let prompts = tracks[0].frame_prompts(3);
        assert_eq!(prompts.points.len(), 3);
        assert_eq!(prompts.points[2].0, PointKind::Outside);
        assert_eq!(prompts.bounding_box.expect("a box").min, PointPx::new(10.0, 20.0));
        assert_eq!((tracks[1].info.colour, tracks[1].windows.len()), (1, 0));
    }

    #[test]
    fn all_faults_are_told_with_their_lines() {
        let text = "tracks:\n  - label: ../etc\n    windws: [[0, 4]]\n    windows: [[9, 3], [0, 50]]\n    prompts:\n      - frame: 7.5\n        boundry: [[1, 2]]\n      - boundary: [[1, 2], [1], [700, 3]]\n      - frame: 2\n        inside: []\n  - prompts: 3\nextra: 1\n";
        let all = read_text(text).expect_err("faults").to_string();
        for part in [
            "line 2: `tracks[0].label` \"../etc\" cannot name a folder",
            "line 3: `tracks[0].windws` is unknown; did you mean `windows`?",
            "line 4: `tracks[0].windows[0]` ends at 3, before it begins at 9",
            "line 4: `tracks[0].windows[1]` names frame 50; the clip has frames 0 to 49",
            "line 6: `tracks[0].prompts[0].frame` names frame 7.5",
            "line 7: `tracks[0].prompts[0].boundry` is unknown; did you mean `boundary`?",
            "line 8: `tracks[0].prompts[1].frame` is missing",
            "line 8: `tracks[0].prompts[1].boundary[1]` must be [x, y]",
            "line 8: `tracks[0].prompts[1].boundary[2]` [700, 3] lies outside the frame",
            "line 9: `tracks[0].prompts[2]` has no point, box or mask",
            "line 11: `tracks[1].label` is missing",
            "line 11: `tracks[1].prompts` must be a list, it is a number",
            "line 12: `extra` is unknown",
        ] {
            assert!(all.contains(part), "{part}\nis missing in\n{all}");
        }
    }

    #[test]
    fn a_label_is_not_the_name_of_the_report() {
        let text = "tracks:\n  - label: Report.json\n    prompts: [{frame: 2, inside: [[1, 1]]}]\n";
        let all = read_text(text).expect_err("a fault").to_string();
        assert!(all.contains("\"Report.json\" is the name of the report"), "{all}");
    }

    #[test]
    fn prompts_outside_windows_and_labels_used_twice_are_faults() {
        let track =
            "  - label: a\n    windows: [[5, 9]]\n    prompts: [{frame: 2, inside: [[1, 1]]}]\n";
        let all = read_text(&format!("tracks:\n{track}{track}")).expect_err("faults").to_string();
        assert!(all.contains("lies outside the windows of \"a\""), "{all}");
        assert!(all.contains("\"a\" is used twice"), "{all}");
        assert!(read_text("").expect_err("empty").to_string().contains("`tracks` is missing"));
    }
}

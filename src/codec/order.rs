//! The order of the files of a folder: that of the frames of a clip.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::short_name;
use super::{dicom, identity, images};
use crate::domain::ContentHash;

/// By name, numbers in it by what they count, also where only some of them have zeros in front, and small letters as large
/// ones. Names that this calls equal (1 a and 1a) still need one order everywhere.
pub(crate) fn by_name(a: &Path, b: &Path) -> Ordering {
    natural(&short_name(a), &short_name(b)).then_with(|| a.cmp(b))
}

/// The order of names of an earlier version, which also counted zeros in front and large letters.
pub(super) fn by_name_before(a: &Path, b: &Path) -> Ordering {
    natord::compare(&short_name(a), &short_name(b)).then_with(|| a.cmp(b))
}

/// What the content hash of a folder of images, or of a DICOM series (of several the one of the number `series`), was in an
/// earlier order of names; `None` where that is the order of now. Projects hold work under it.
#[must_use]
pub fn earlier_hash(path: &Path, series: Option<usize>) -> Option<ContentHash> {
    let frames = match images::list(path) {
        Ok(listed) => earlier(&listed)?,
        Err(_) => dicom::earlier_files(path, series)?,
    };
    let sized = |frame: PathBuf| {
        let bytes = fs::metadata(&frame).ok()?.len();
        Some((frame, bytes))
    };
    let frames: Option<Vec<_>> = frames.into_iter().map(sized).collect();
    identity::of_frames(&frames?).ok()
}

/// Images of a folder in that order, without those that were not taken for images by then; `None` where nothing differs.
pub(super) fn earlier(frames: &[PathBuf]) -> Option<Vec<PathBuf>> {
    let known =
        |frame: &&PathBuf| frame.extension().is_none_or(|e| !e.eq_ignore_ascii_case("jfif"));
    let mut earlier: Vec<PathBuf> = frames.iter().filter(known).cloned().collect();
    earlier.sort_by(|a, b| by_name_before(a, b));
    (!earlier.is_empty() && earlier != frames).then_some(earlier)
}

/// The order of two names, piece by piece: a number, or one letter. White space counts nothing.
fn natural(mut a: &str, mut b: &str) -> Ordering {
    loop {
        (a, b) = (a.trim_start(), b.trim_start());
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (order, pieces) = match (digits(a), digits(b)) {
            (0, _) | (_, 0) => {
                let [x, y] = [a, b].map(|text| text.chars().next());
                let small = |letter: Option<char>| letter.map(|c| c.to_ascii_lowercase());
                let bytes = |letter: Option<char>| letter.map_or(0, char::len_utf8);
                (small(x).cmp(&small(y)), (bytes(x), bytes(y)))
            }
            (x, y) => (by_value(&a[..x], &b[..y]), (x, y)),
        };
        if order != Ordering::Equal || pieces == (0, 0) {
            return order;
        }
        (a, b) = (&a[pieces.0..], &b[pieces.1..]);
    }
}

/// The order of two rows of digits, however long.
fn by_value(a: &str, b: &str) -> Ordering {
    let [a, b] = [a, b].map(|digits| digits.trim_start_matches('0'));
    a.len().cmp(&b.len()).then(a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sorts names that come in any order as these.
    fn sorts_as(wanted: &[&str]) {
        let mut files: Vec<&Path> = wanted.iter().map(Path::new).collect();
        for turn in 0..files.len() {
            files.rotate_left(turn);
            files.reverse();
            files.sort_by(|a, b| by_name(a, b));
            let found: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn numbers_count_and_no_two_names_are_equal() {
        sorts_as(&["/a/ 1.png", "/a/1.png", "/a/2.png", "/b/10.png"]);
        sorts_as(&["1.2.9", "1.2.10", "1.2.123456789012345678901234567890", "1.3"]);
        sorts_as(&["bild ä 9.png", "bild ä 10.png", "bild ö 1.png", "日本 2.png", "日本 11.png"]);
    }

    #[test]
    fn zeros_in_front_and_large_letters_change_nothing() {
        sorts_as(&["1.png", "02.png", "3.png", "09.png", "10.png", "011.png", "100.png"]);
        sorts_as(&["01.png", "1.png", "2.png"]);
        sorts_as(&["IMG_0001.JPG", "img_0002.jpg", "IMG_3.JPG", "img_0010.JPG"]);
        sorts_as(&["0.png", "a", "A00", "a0", "a1", "b"]);
    }
}

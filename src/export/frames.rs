//! Which frames of the clip the files of an annotation belong to, by their names.
//!
//! The names of the clip's images are the surest. Else names must be alike but for one number, which is the frame's: a
//! number somewhere in a name that also holds a hash, a date or a patient's number says nothing, and masks on a wrong
//! frame are worse than none. What is not clear is refused with the names that would be taken.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::read::{ReadError, Target};
use crate::domain::{FrameIndex, counted, shown};

/// Characters of a name that a sentence shows.
const MAX_SHOWN: usize = 60;
/// Digits that Label Studio puts in front of the name of an image.
const UPLOAD_DIGITS: usize = 8;

/// Which frames files belong to.
pub(super) struct Frames<'a> {
    target: &'a Target<'a>,
    told: Told<'a>,
    /// Files that are called like none of the clip's images.
    elsewhere: usize,
    /// The number of the first frame.
    first: usize,
    doubtful: bool,
    /// The first and the last of the names.
    examples: Vec<String>,
}

/// By what files are told apart.
enum Told<'a> {
    /// By the names of the clip's images.
    Names(BTreeMap<&'a str, FrameIndex>),
    /// By the number in each name.
    Numbers(BTreeMap<String, usize>),
    /// These two are of one image.
    Copies([String; 2]),
    Nothing,
}

impl<'a> Frames<'a> {
    /// Where a file is named like an image of the clip, files belong to the images of their names,
    /// and those of other names to other clips. Else they belong by the one number in which their
    /// names differ, which counts from 1 where there is one file for each of 1 to the number of
    /// frames, else from 0. Our own exports always count, from 0.
    pub(super) fn of(target: &'a Target<'a>, stems: &[String], ours: bool) -> Self {
        Self::of_folders(target, &[stems], ours)
    }

    /// The same for the files of several folders, whose names are alike within each.
    pub(super) fn of_folders(target: &'a Target<'a>, folders: &[&[String]], ours: bool) -> Self {
        let stems = || folders.iter().copied().flatten().map(String::as_str);
        // The first of several images of one name, as `a.png` and `a.jpg` are.
        let named = target.frame_names.iter().enumerate().rev();
        let names: BTreeMap<&str, FrameIndex> = named.map(|(at, name)| (&name[..], at)).collect();
        let unknown = stems().filter(|stem| named_frame(&names, stem).is_none()).count();
        let by_name = !ours && unknown < stems().count();
        let told = match copies(&names, stems()).filter(|_| by_name) {
            Some(copies) => Told::Copies(copies),
            None if by_name => Told::Names(names),
            None => numbers(folders).map_or(Told::Nothing, Told::Numbers),
        };
        let numbers: BTreeSet<usize> = match &told {
            Told::Numbers(numbers) => numbers.values().copied().collect(),
            _ => BTreeSet::new(),
        };
        let frames = target.info.frames;
        let from_one = !ours && numbers.iter().copied().eq(1..=frames);
        let holds_no_zero = numbers.first().is_some_and(|least| *least > 0);
        let examples: BTreeSet<&str> = stems().min().into_iter().chain(stems().max()).collect();
        Self {
            target,
            told,
            elsewhere: if by_name { unknown } else { 0 },
            first: usize::from(from_one),
            doubtful: !ours && frames > 1 && holds_no_zero && !from_one,
            examples: examples.into_iter().map(str::to_owned).collect(),
        }
    }

    /// What a person should know: files that were left out, or masks that may be one frame late.
    pub(super) fn notes(&self) -> Vec<String> {
        let late = "the numbers in the names of the files are taken to count from 0; if masks are \
                    one frame late, they count from 1";
        let elsewhere = self.elsewhere;
        let other = format!(
            "{elsewhere} of its images are called like none of the clip's and were left out; the \
             others belong to those of their names"
        );
        let other = (elsewhere > 0).then_some(other);
        self.doubtful.then(|| late.to_owned()).into_iter().chain(other).collect()
    }

    /// True where files are called like the clip's images, also like one of them twice, which [`Self::index`] refuses.
    pub(super) fn are_named(&self) -> bool {
        matches!(self.told, Told::Names(_) | Told::Copies(_))
    }

    /// Refuses to lay several files, none of which is called like it, on a still.
    pub(super) fn check_still(&self, path: &Path, files: usize) -> Result<(), ReadError> {
        if self.target.info.frames != 1 || self.are_named() || files < 2 {
            return Ok(());
        }
        let name = self.target.frame_names.first();
        let name = name.map(|name| format!(" (\"{name}\")")).unwrap_or_default();
        let cause = format!(
            "the clip is one image, and none of these {files} is called like it{name}; give the \
             one that belongs to it"
        );
        Err(ReadError::other_clip(path, cause))
    }

    /// The frame of a file, by its stem; `None` where it belongs to another clip.
    pub(super) fn index(&self, path: &Path, stem: &str) -> Result<Option<FrameIndex>, ReadError> {
        let frames = self.target.info.frames;
        let number = match &self.told {
            Told::Names(names) => return Ok(named_frame(names, stem)),
            Told::Copies([one, other]) => {
                let cause = format!(
                    "\"{}\" and \"{}\" are copies of one image of the clip, which may be turned \
                     or cropped",
                    brief(one),
                    brief(other)
                );
                return Err(ReadError::malformed(path, cause));
            }
            // A still has one frame, whatever its one file is called.
            _ if frames == 1 => return Ok(Some(0)),
            Told::Numbers(numbers) => numbers.get(stem),
            Told::Nothing => None,
        };
        match number.map(|number| number.saturating_sub(self.first)) {
            Some(index) if index < frames => Ok(Some(index)),
            Some(index) => {
                let cause =
                    format!("frame {index} (from 0) of a clip of {}", counted(frames, "frame"));
                Err(ReadError::other_clip(path, cause))
            }
            None => Err(self.unclear(path)),
        }
    }

    /// Says which names would be taken.
    fn unclear(&self, path: &Path) -> ReadError {
        let quoted = |name: &String| format!("\"{}\"", brief(name));
        let examples: Vec<String> = self.examples.iter().map(quoted).collect();
        let images: Vec<String> = self.target.frame_names.iter().take(2).map(quoted).collect();
        let alike = "all alike but for one number that counts the frames, as in mask_0000 and \
                     mask_0001";
        let advice = match &images[..] {
            [] => format!("call them {alike}"),
            images => {
                format!("call them like the images of the clip ({}), or {alike}", images.join(", "))
            }
        };
        let name = shown(&path.to_string_lossy());
        ReadError::Names { name, examples: examples.join(" and "), advice }
    }
}

/// The beginning of a name, long enough to find it.
fn brief(name: &str) -> String {
    shown(&name.chars().take(MAX_SHOWN).collect::<String>())
}

/// The image of the clip that a file is called like, or that it is a copy of.
fn named_frame(names: &BTreeMap<&str, FrameIndex>, stem: &str) -> Option<FrameIndex> {
    let known = [Some(stem), original(stem), uploaded(stem)];
    known.into_iter().flatten().find_map(|name| names.get(name)).copied()
}

/// The name that an image had before Label Studio took it in: it puts eight digits of its own in front, as in
/// `1f2e3d4c-scan-1`. Dates look alike, so only names of the clip's images are found so, never numbers.
fn uploaded(stem: &str) -> Option<&str> {
    let (word, name) = stem.split_once('-')?;
    let is_word = word.len() == UPLOAD_DIGITS && word.bytes().all(|b| b.is_ascii_hexdigit());
    is_word.then_some(name)
}

/// The name of the image that Roboflow made a copy of: to that it appends the ending and a word of its own, as in
/// `scan-1_jpg.rf.0b9c7a`.
fn original(stem: &str) -> Option<&str> {
    let (name, word) = stem.rsplit_once(".rf.")?;
    let (name, ending) = name.rsplit_once('_')?;
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_word(word) && is_word(ending)).then_some(name)
}

/// Two files that are of one image.
fn copies<'s>(
    names: &BTreeMap<&str, FrameIndex>,
    stems: impl Iterator<Item = &'s str>,
) -> Option<[String; 2]> {
    let mut taken: BTreeMap<FrameIndex, &str> = BTreeMap::new();
    for stem in stems {
        let Some(frame) = named_frame(names, stem) else { continue };
        let held = *taken.entry(frame).or_insert(stem);
        if held != stem {
            return Some([held.to_owned(), stem.to_owned()]);
        }
    }
    None
}

/// The number of the frame in every name; `None` where one name does not say it.
fn numbers(folders: &[&[String]]) -> Option<BTreeMap<String, usize>> {
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for stems in folders {
        let stems: BTreeSet<&str> = stems.iter().map(String::as_str).collect();
        for (stem, number) in numbers_of(&stems)? {
            if *all.entry(stem.to_owned()).or_insert(number) != number {
                return None;
            }
        }
    }
    Some(all)
}

/// The same for the names of one folder: the number in which they differ, where that is one and no two have the same.
fn numbers_of<'s>(stems: &BTreeSet<&'s str>) -> Option<Vec<(&'s str, usize)>> {
    let name = |stem: &'s str| original(stem).unwrap_or(stem);
    let Some(first) = stems.first() else { return Some(Vec::new()) };
    let place = match stems.len() {
        1 => place_alone(name(first))?,
        _ => place_of(stems.iter().map(|stem| name(stem)))?,
    };
    let number = |stem: &&'s str| Some((*stem, Parts::of(name(stem)).number(place)?));
    let numbers: Vec<(&'s str, usize)> = stems.iter().map(number).collect::<Option<_>>()?;
    let apart: BTreeSet<usize> = numbers.iter().map(|(_, number)| *number).collect();
    (apart.len() == numbers.len()).then_some(numbers)
}

/// The only number in which several names differ, by its place among the numbers of a name.
fn place_of<'s>(mut names: impl Iterator<Item = &'s str>) -> Option<usize> {
    let first = Parts::of(names.next()?);
    let mut places: BTreeSet<usize> = BTreeSet::new();
    // One by one: data sets have millions of names.
    for name in names {
        let other = Parts::of(name);
        if !other.is_like(&first) {
            return None;
        }
        places
            .extend((0..first.numbers.len()).filter(|&at| other.numbers[at] != first.numbers[at]));
    }
    places.pop_first().filter(|_| places.is_empty())
}

/// Which of its numbers is the frame's in a name that stands alone: its only one, or the one that ends it, alone or
/// after letters, as in `p3_frame12`.
fn place_alone(name: &str) -> Option<usize> {
    let count = Parts::of(name).numbers.len();
    let last = name.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let letters = last.trim_end_matches(|c: char| c.is_ascii_digit());
    let ends_it = letters.len() < last.len() && letters.chars().all(char::is_alphabetic);
    (count == 1 || ends_it).then(|| count - 1)
}

/// What a name is made of: numbers, and words between them.
struct Parts<'s> {
    starts_with_number: bool,
    words: Vec<&'s str>,
    /// Without zeros in front.
    numbers: Vec<&'s str>,
}

impl<'s> Parts<'s> {
    fn of(name: &'s str) -> Self {
        let is_digit = |c: char| c.is_ascii_digit();
        let numbers = name.split(|c: char| !is_digit(c)).filter(|part| !part.is_empty());
        Self {
            starts_with_number: name.starts_with(is_digit),
            words: name.split(is_digit).filter(|part| !part.is_empty()).collect(),
            numbers: numbers.map(|number| number.trim_start_matches('0')).collect(),
        }
    }

    /// Whether a name differs in nothing but its numbers.
    fn is_like(&self, other: &Self) -> bool {
        let head = |parts: &Self| (parts.starts_with_number, parts.numbers.len());
        head(self) == head(other) && self.words == other.words
    }

    fn number(&self, at: usize) -> Option<usize> {
        match self.numbers[at] {
            "" => Some(0),
            digits => digits.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of these names, in their order.
    fn found(names: &str) -> Option<Vec<usize>> {
        let stems: Vec<String> = names.split(' ').map(str::to_owned).collect();
        let numbers = numbers(&[&stems[..]])?;
        Some(stems.iter().map(|stem| numbers[stem]).collect())
    }

    #[test]
    fn a_frame_is_the_one_number_in_which_names_differ() {
        for (names, numbers) in [
            ("00012 00003", [12, 3]),
            ("frame_9 frame_10", [9, 10]),
            ("p7_f0_x2 p7_f1_x2", [0, 1]),
            ("0a1b2c3d4e5f_00002 0a1b2c3d4e5f_00003", [2, 3]),
            ("é5 é6", [5, 6]),
            ("f-1_jpg.rf.a9b7 f-2_jpg.rf.0c", [1, 2]),
        ] {
            assert_eq!(found(names), Some(numbers.to_vec()), "{names}");
        }
        for names in [
            "f-1_a9b7 f-2_0c",
            "p1_f1 p2_f2",
            "p1_f1 q1_f2",
            "1 01",
            "a1 1a",
            "a b",
            "a_1 b",
            "f-1_jpg.rf.a9b7 f-1_jpg.rf.0c",
            "99999999999999999999999 1",
        ] {
            assert_eq!(found(names), None, "{names}");
        }
    }

    #[test]
    fn a_name_alone_says_its_frame_where_that_is_clear() {
        for (name, number) in [
            ("00012", Some(12)),
            ("frame_7", Some(7)),
            ("12_nerve", Some(12)),
            ("p3_frame12", Some(12)),
            ("0a1b2c3d4e5f_00002", Some(2)),
            ("f-1_jpg.rf.a9b7", Some(1)),
            ("f-1_a9b7", None),
            ("p3_f12_final", None),
            ("mask", None),
        ] {
            assert_eq!(found(name), number.map(|number| vec![number]), "{name}");
        }
    }

    #[test]
    fn folders_of_structures_name_their_files_each_in_their_way() {
        let [nerve, vein] =
            [["nerve_0", "nerve_1"], ["vein_1", "vein_2"]].map(|names| names.map(str::to_owned));
        let found = numbers(&[&nerve[..], &vein[..]]).expect("both are clear");
        assert_eq!(found.into_values().collect::<Vec<_>>(), [0, 1, 1, 2]);
        // Of one folder they are not alike.
        assert!(numbers(&[&[nerve, vein].concat()[..]]).is_none());
    }
}

//! The order of the files of a folder: that of the frames of a clip.

use std::cmp::Ordering;
use std::path::Path;

use super::error::short_name;

/// By name, numbers in it by what they count. Names that this calls equal (1 a and 1a) still need one order everywhere.
pub(crate) fn by_name(a: &Path, b: &Path) -> Ordering {
    natord::compare(&short_name(a), &short_name(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_and_no_two_names_are_equal() {
        let mut files = ["/b/10.png", "/a/1.png", "/a/2.png", "/a/ 1.png"].map(Path::new);
        let wanted = ["/a/ 1.png", "/a/1.png", "/a/2.png", "/b/10.png"].map(Path::new);
        for _ in 0..2 {
            files.sort_by(|a, b| by_name(a, b));
            assert_eq!(files, wanted);
            files.reverse();
        }
    }
}

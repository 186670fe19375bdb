//! DICOMDIR: the list of files of a medium.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::reader::DataSet;
use super::tags;
use crate::codec::CodecError;

/// Whether a walked file is such a list.
pub(super) fn is_directory(set: &DataSet) -> bool {
    !set.items(tags::DIRECTORY_RECORDS).is_empty()
}

/// Whether a file is called like one.
pub(in crate::codec) fn is_directory_name(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.eq_ignore_ascii_case("DICOMDIR"))
}

/// The images that a list names, in its order, each once: a list that names a file a hundred thousand times would have it
/// opened as often. They lie beside it or below.
///
/// # Errors
/// When it names none, something elsewhere, or a file that is not there.
pub(super) fn files(path: &Path, set: &DataSet) -> Result<Vec<PathBuf>, CodecError> {
    let records = set.items(tags::DIRECTORY_RECORDS).iter();
    let images = records.filter(|r| r.text(tags::RECORD_TYPE).as_deref() == Some("IMAGE"));
    let (mut files, mut seen) = (Vec::new(), BTreeSet::new());
    for name in images.filter_map(|record| record.text(tags::FILE_ID)) {
        let file = below(path.parent().unwrap_or(Path::new("")), &name).ok_or_else(|| {
            let cause = format!("it lists \"{name}\", which is not there");
            CodecError::damaged(path, cause)
        })?;
        if seen.insert(file.clone()) {
            files.push(file);
        }
    }
    if files.is_empty() {
        let advice = "open one of the files beside it";
        return Err(CodecError::unsupported(path, "it lists no images", advice));
    }
    Ok(files)
}

/// The file of a name whose parts stand between backslashes, also where its letters have become
/// small on the way.
fn below(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    for part in name.split('\\').map(str::trim) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if part.is_empty() || part.starts_with('.') || !part.chars().all(plain) {
            return None;
        }
        let (exact, small) = (path.join(part), path.join(part.to_ascii_lowercase()));
        path = if exact.exists() { exact } else { small };
    }
    path.is_file().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_names_stay_below_the_list() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(dir.path().join("images")).expect("created");
        std::fs::write(dir.path().join("images/IM_1"), b"x").expect("written");
        assert!(below(dir.path(), "IMAGES\\IM_1").is_some());
        for name in ["..\\IM_1", "IMAGES\\..\\IMAGES\\IM_1", "/etc", "IMAGES", "", "images/IM_1"] {
            assert_eq!(below(dir.path(), name), None, "{name}");
        }
    }
}

//! Clips of two files: a header and, beside it, its voxels.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::limits::open_regular;

/// Names of volumes whose header may stand alone.
const HEADER_NAMES: [&str; 4] = ["mhd", "mha", "nhdr", "nrrd"];
/// Bytes of a header in which the name of the other file is looked for.
const MAX_HEADER_BYTES: u64 = 32 << 20;

/// The file beside a header of a volume that it names for its voxels, whether that is there or not. `None` for all other
/// files, and where a header names none or one elsewhere (which is not opened).
#[must_use]
pub fn voxels_beside(path: &Path) -> Option<PathBuf> {
    let ending = path.extension()?.to_string_lossy().to_ascii_lowercase();
    if !HEADER_NAMES.contains(&ending.as_str()) {
        return None;
    }
    let mut reader = BufReader::new(open_regular(path).ok()?).take(MAX_HEADER_BYTES);
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok()?;
        let line = String::from_utf8_lossy(&line);
        // An empty line ends the header, and so does the end of the file.
        if line.trim().is_empty() {
            return None;
        }
        if let Some(name) = named_in(line.trim()) {
            let plain = Path::new(name).file_name().is_some_and(|last| last == name);
            let within = ["LOCAL", "Local", "local", "LIST"].contains(&name);
            return (plain && !within).then(|| path.with_file_name(name));
        }
    }
}

/// What a line of a header names as the file of voxels.
fn named_in(line: &str) -> Option<&str> {
    let of_meta_image = line.split_once('=').filter(|(name, _)| name.trim() == "ElementDataFile");
    let is_data_file =
        |name: &str| ["data file", "datafile"].iter().any(|word| name.eq_ignore_ascii_case(word));
    let of_nrrd = line.split_once(": ").filter(|(name, _)| is_data_file(name));
    of_meta_image.or(of_nrrd).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_name_their_voxels() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text, wanted) in [
            ("a.mhd", "ObjectType = Image\nElementDataFile = a.raw\n", Some("a.raw")),
            ("b.MHD", "NDims = 3\r\nElementDataFile = b.zraw\r\n", Some("b.zraw")),
            ("c.mha", "NDims = 3\nElementDataFile = LOCAL\n\x01\x02", None),
            ("d.mhd", "NDims = 3\nElementDataFile = ../secret\n", None),
            ("e.nhdr", "NRRD0004\n# \nkey:=data file: x\nData File: e 1.raw\n", Some("e 1.raw")),
            ("f.nhdr", "NRRD0004\ndatafile: f.gz", Some("f.gz")),
            ("g.nrrd", "NRRD0004\ntype: uchar\n\ndata file: x\n", None),
            ("h.txt", "ElementDataFile = a.raw\n", None),
            ("i.mhd", "", None),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            assert_eq!(voxels_beside(&path), wanted.map(|w| path.with_file_name(w)), "{name}");
        }
    }
}

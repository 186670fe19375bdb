//! Which file system holds a folder, and whether it tells of changes.

use std::fs;
use std::path::{Path, PathBuf};

use super::named;

/// File systems that tell this machine of every change; all others are polled.
const LOCAL: [&str; 21] = [
    "bcachefs", "btrfs", "ecryptfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "iso9660",
    "jfs", "msdos", "ntfs3", "overlay", "ramfs", "reiserfs", "squashfs", "tmpfs", "udf", "vfat",
    "xfs",
];

/// Whether changes made anywhere show up as events here.
pub(super) fn tells_of_changes(file_system: &str) -> bool {
    LOCAL.contains(&file_system)
}

/// Type of the file system that holds `path` ("ext4", "nfs4"), where the kernel tells it.
pub(super) fn file_system(path: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut best: Option<(usize, String)> = None;
    for row in table.lines() {
        let (mount, kind) = row.split_once(" - ")?;
        let point = unescaped(mount.split(' ').nth(4)?);
        let length = point.as_os_str().len();
        // Of several mounts on one place the last one counts.
        if path.starts_with(&point) && best.as_ref().is_none_or(|(longest, _)| length >= *longest) {
            best = Some((length, kind.split(' ').next()?.to_owned()));
        }
    }
    let (_, kind) = best?;
    // Named for the note only; a FUSE or network type is simply not in the list.
    Some(named(Path::new(&kind)))
}

/// A mount point as the table writes it: blank, tab, line feed and backslash in octal.
fn unescaped(text: &str) -> PathBuf {
    let plain = text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
    PathBuf::from(plain.replace("\\134", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_a_file_system() {
        assert!(file_system(Path::new("/proc")).is_some_and(|kind| kind == "proc"));
        assert_eq!(unescaped("/mnt/us\\040data"), PathBuf::from("/mnt/us data"));
    }
}

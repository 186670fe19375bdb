//! Which file system holds a folder, whether it tells of changes, and how much room it has.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
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

/// Bytes that may still be written into `folder`, where its file system tells. Quotas are not in them.
pub(super) fn room(folder: &Path) -> Option<u64> {
    let folder = File::open(folder).ok()?;
    // SAFETY: a zeroed statvfs is a valid one.
    let mut told: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the pointer is to a live value.
    let done = unsafe { libc::fstatvfs(folder.as_raw_fd(), &raw mut told) };
    // Some network file systems tell nothing but noughts.
    (done == 0 && told.f_blocks > 0).then(|| told.f_bavail.saturating_mul(told.f_frsize))
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

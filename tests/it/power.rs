//! A machine loses its power: ext4 stops in its midst, is mounted anew, and holds every step that was called saved.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use sonomark::cli::script::clip;
use sonomark::domain::Annotation;
use sonomark::project::{ClipStore, StoreOptions, load_read_only};

use crate::damage::Mounted;
use crate::project::{annotator, follow, random_line, text};
use crate::surroundings::{skipped, until};

const CUTS: usize = 40;
/// `EXT4_IOC_SHUTDOWN`.
const SHUTDOWN: u32 = 0x8004_587d;

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|run| run.status.success())
}

fn mounted(image: &Path, at: &Path) -> bool {
    succeeds(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at))
}

/// Nothing reaches the disk any more, not even what ext4 has in its log.
fn cut(at: &Path) {
    let folder = File::open(at).unwrap();
    let no_log = 2u32;
    // SAFETY: the call reads one number that lives until it returns.
    let done = unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN as _, &raw const no_log) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// Does steps of which some are saved, until the power goes. What the clip may be after that: as it was when it was last
/// saved, or after any step since.
fn work_until_cut(root: &Path, at: &Path, rng: &mut fastrand::Rng) -> Vec<String> {
    let options = StoreOptions { user: "anna".into(), rescue: None };
    let (mut store, loaded) = ClipStore::open_with(root, &clip(), 0, &options).unwrap();
    let mut script = annotator(&loaded);
    let mut states = vec![text(script.annotation())];
    for _ in 0..rng.usize(1..60) {
        if rng.u32(0..10) == 0 {
            store.sync().unwrap();
            states.drain(..states.len() - 1);
        } else if follow(&mut store, &mut script, &random_line(rng)) {
            states.push(text(script.annotation()));
        }
    }
    cut(at);
    states
}

#[test]
fn what_is_called_saved_outlives_a_loss_of_power() {
    let dir = tempfile::tempdir().unwrap();
    let (image, at) = (dir.path().join("image"), dir.path().join("disk"));
    File::create(&image).unwrap().set_len(64 << 20).unwrap();
    fs::create_dir(&at).unwrap();
    let made = succeeds(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
    if !(made && mounted(&image, &at)) {
        return skipped("mounting an ext4 in a file needs root and a loop device");
    }
    let _disk = Mounted(at.clone());
    let mut rng = fastrand::Rng::with_seed(11);
    let mut lost = 0;
    for nth in 0..CUTS {
        // Every project goes through several: what is recovered once must not compound.
        let root = at.join(format!("p{}", nth / 4));
        let states = work_until_cut(&root, &at, &mut rng);
        // Children of other tests may have its files for a moment.
        until("the disk is free", || succeeds(Command::new("umount").arg(&at)));
        assert!(mounted(&image, &at), "cut {nth}");
        let found = load_read_only(&root, &clip().content_hash);
        let found = found.map_or_else(|_| Annotation::default(), |loaded| loaded.annotation);
        let kept = states.iter().rposition(|state| *state == text(&found));
        assert!(kept.is_some(), "cut {nth}: {}\nis none of\n{}", text(&found), states.join("\n"));
        lost += usize::from(kept != Some(states.len() - 1));
    }
    assert!(lost > CUTS / 4, "what was not saved is there all the same: nothing was cut");
}

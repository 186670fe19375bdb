//! The secret by which a project maps identifiers of other archives.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{Modes, ProjectError, read_regular};

/// Hidden, so that a folder that holds nothing else is still an empty one.
pub(super) const NAME: &str = ".uids.key";
/// Its length, bytes.
pub(super) const LENGTH: usize = 32;

/// 32 random bytes that a project keeps for ever: with them the same identifier is mapped in the
/// same way by everybody who works in the project, and by nobody else. Made when first asked for.
///
/// # Errors
/// When the file cannot be read or made.
pub fn uid_key(root: &Path) -> Result<[u8; 32], ProjectError> {
    let path = root.join(NAME);
    let read = || -> io::Result<[u8; 32]> {
        let damaged = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not 32 bytes long");
        read_regular(&path)?.try_into().map_err(damaged)
    };
    match read() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other.map_err(|e| ProjectError::io("read", &path, &e)),
    }
    let make = || -> io::Result<()> {
        Modes::PRIVATE.make_folder_durable(root)?;
        let mut bytes = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Modes::of(root).publish_first(&path, &bytes)
    };
    make().and_then(|()| read()).map_err(|e| ProjectError::io("create", &path, &e))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_project_has_one_key_and_no_two_have_the_same() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let key = uid_key(&one).expect("made");
        assert_eq!(uid_key(&one).expect("read"), key);
        assert_ne!(uid_key(&other).expect("made"), key);
        assert_eq!(fs::read_dir(&one).expect("listed").count(), 1);
        fs::write(one.join(NAME), b"short").expect("written");
        assert!(uid_key(&one).is_err());
    }
}

//! From which clip a file was exported.
//!
//! Every format of ours has a place for it, and what stands there is the start of the clip's content hash, never a name.
//! Masks of another clip may have the same size and frames and still be wrong on every one of them, so whoever imports
//! refuses them. A copy that was compressed anew or had patient data taken out is another clip by its hash: a person may
//! say that it is one.

use std::collections::BTreeSet;
use std::path::Path;

use super::Job;
use super::content::Content;
use super::read::{ReadError, Target};
use crate::domain::ContentHash;

/// How our fields of comment begin, up to the hash.
const ABOUT: &str = "sonomark, clip ";
/// Digits of a hash that a sentence shows.
const SHOWN_DIGITS: usize = 12;
/// Clips that a sentence shows.
const SHOWN_CLIPS: usize = 2;

impl Job<'_> {
    /// "sonomark, clip 0123456789ab, journal position 17": for fields of comment.
    pub(super) fn about(&self) -> String {
        let position = self.position.map(|at| format!(", journal position {at}"));
        about(&self.info.content_hash) + &position.unwrap_or_default()
    }
}

/// The same without a journal.
pub(super) fn about(clip: &ContentHash) -> String {
    format!("{ABOUT}{}", clip.short())
}

/// The start of the content hash in a field of comment of ours; `None` in one of other programs.
pub(super) fn clip_in(about: &str) -> Option<String> {
    let hash = about.trim().strip_prefix(ABOUT)?.split(',').next()?;
    is_hash(hash).then(|| hash.to_owned())
}

/// Whether a text can be the beginning of a content hash.
pub(super) fn is_hash(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The other clip that files were exported from, of which they name these.
///
/// # Errors
/// When they are of several clips: which masks are whose is not known.
pub(super) fn other_clip(
    path: &Path,
    clips: &BTreeSet<String>,
    target: &Target,
) -> Result<Option<String>, ReadError> {
    let shown: BTreeSet<String> =
        clips.iter().map(|clip| clip.chars().take(SHOWN_DIGITS).collect()).collect();
    let own = &target.info.content_hash.0;
    let Some(other) = shown.iter().find(|clip| !own.starts_with(clip.as_str())) else {
        return Ok(None);
    };
    if shown.len() == 1 {
        return Ok(Some(other.clone()));
    }
    let named: Vec<&str> = shown.iter().map(String::as_str).take(SHOWN_CLIPS).collect();
    let cause = format!("it was exported from several clips, as {}", named.join(" and "));
    Err(ReadError::other_clip(path, cause))
}

impl Content {
    /// The same, of a file that names the clips that it was exported from.
    ///
    /// # Errors
    /// As [`other_clip`].
    pub(super) fn exported_from(
        self,
        path: &Path,
        clips: impl IntoIterator<Item = String>,
        target: &Target,
    ) -> Result<Self, ReadError> {
        let other_clip = other_clip(path, &clips.into_iter().collect(), target)?;
        Ok(Self { other_clip, ..self })
    }

    /// Refuses what was exported from another clip.
    ///
    /// # Errors
    /// [`ReadError::Exported`].
    pub fn of_this_clip(self, path: &Path, target: &Target) -> Result<Self, ReadError> {
        match &self.other_clip {
            None => Ok(self),
            Some(other) => Err(ReadError::exported(path, other, target)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_is_found_in_our_comments_alone() {
        for (about, clip) in [
            ("sonomark, clip 0123456789ab, journal position 17", Some("0123456789ab")),
            (" sonomark, clip 0123456789ab ", Some("0123456789ab")),
            ("sonomark, clip Anna, journal position 17", None),
            ("sonomark, clip ", None),
            ("made with sonomark, clip 0123456789ab", None),
            ("", None),
        ] {
            assert_eq!(clip_in(about).as_deref(), clip, "{about}");
        }
    }
}

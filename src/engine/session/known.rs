//! Opening a clip of a project.
//!
//! What decides whether this file is right: masks belong to numbers of frames, so who annotated a folder of images in
//! another order of their names than that of now gets them in that order again.

use std::path::Path;

use crate::codec::{self, Clip, CodecError, OpenOptions, earlier_hash};
use crate::domain::ContentHash;
use crate::project::{ProjectError, load_read_only};

/// Opens a clip. A folder of images comes in the order of an earlier version where the project holds structures in that, or
/// else what was decided about the outside, and no such thing in the order of now. A project that cannot be read decides
/// nothing.
///
/// # Errors
/// As [`codec::open`].
pub fn open_known(
    path: &Path,
    options: &OpenOptions,
    project_root: &Path,
) -> Result<Clip, CodecError> {
    let clip = codec::open(path, options)?;
    let Some(earlier) = earlier_hash(path, options.series) else { return Ok(clip) };
    // A journal alone tells nothing: who only looked, and missed their masks, left the place where that was.
    let held = |hash: &ContentHash| match load_read_only(project_root, hash) {
        Ok(held) => Some([!held.annotation.tracks.is_empty(), held.outside.is_some()]),
        Err(ProjectError::NoSuchClip { .. }) => Some([false; 2]),
        Err(_) => None,
    };
    match (held(&clip.info().content_hash), held(&earlier)) {
        (Some(now @ [false, _]), Some(before)) if before > now => {
            codec::open(path, &OpenOptions { earlier_order: true, ..options.clone() })
        }
        _ => Ok(clip),
    }
}

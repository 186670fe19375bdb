//! Opening a clip of a project.
//!
//! What decides whether this file is right: masks belong to numbers of frames, so who annotated a folder of images in
//! another order of their names than that of now gets them in that order again.

use std::path::Path;

use crate::codec::{self, Clip, CodecError, OpenOptions, earlier_hash};
use crate::project::holds;

/// Opens a clip. A folder of images comes in the order of an earlier version where the project holds work on it in that,
/// and none in the order of now.
///
/// # Errors
/// As [`codec::open`].
pub fn open_known(
    path: &Path,
    options: &OpenOptions,
    project_root: &Path,
) -> Result<Clip, CodecError> {
    let clip = codec::open(path, options)?;
    if !path.is_dir() || holds(project_root, &clip.info().content_hash) {
        return Ok(clip);
    }
    match earlier_hash(path) {
        Some(earlier) if holds(project_root, &earlier) => {
            codec::open(path, &OpenOptions { earlier_order: true, ..options.clone() })
        }
        _ => Ok(clip),
    }
}

//! What of the images of a data set is seen.
//!
//! What decides whether this file is right: what a person hides, by a setting or for one clip in the project, no
//! network sees, wherever its images come from.

use std::collections::BTreeMap;
use std::path::Path;

use crate::codec::{self, Clip, CodecError, OpenOptions, Outside};
use crate::domain::OutsideChoice;
use crate::project::{list_clips, load_read_only};

/// Says what of every image is black. The default hides nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Veil {
    options: OpenOptions,
    /// What people decided of single clips, by their content.
    decided: BTreeMap<String, OutsideChoice>,
}

impl Veil {
    /// As `options` say of the outside (of a volume always the whole is read), and where they leave that open as was
    /// decided in `project`, which need not be there.
    #[must_use]
    pub fn of(options: &OpenOptions, project: &Path) -> Self {
        let OpenOptions { hide_outside, region, ask, .. } = *options;
        let summaries = if ask { list_clips(project).unwrap_or_default() } else { Vec::new() };
        let choice = |hash| load_read_only(project, hash).ok()?.outside;
        let decided = summaries.iter().filter_map(|s| Some((s.hash.0.clone(), choice(&s.hash)?)));
        let options = OpenOptions { hide_outside, region, ask, ..OpenOptions::default() };
        Self { options, decided: decided.collect() }
    }

    /// What is hidden of a clip that was opened behind it, for hashes of data; empty where everything is seen, so that
    /// such data keep the hashes that they had before anything could be hidden.
    pub(in crate::learn) fn mark(&self, clip: &Clip) -> String {
        let decided = match self.decided.get(&clip.info().content_hash.0) {
            Some(OutsideChoice::HideAllBut(region)) => Some(*region),
            _ => None,
        };
        // Not as people read them: those words round.
        match (clip.privacy().outside, self.options.region.or(decided)) {
            (Outside::Shown, _) => String::new(),
            (Outside::HiddenAsFound(region), _) | (Outside::Hidden, Some(region)) => {
                format!("outside of {region:?} hidden")
            }
            (Outside::Hidden, None) => "outside of what the file names hidden".to_owned(),
        }
    }

    /// Opens a clip behind it.
    pub(in crate::learn) fn open(&self, path: &Path) -> Result<Clip, CodecError> {
        let clip = codec::open(path, &self.options)?;
        let choice = self.decided.get(&clip.info().content_hash.0).copied();
        Ok(clip.as_decided(&self.options, choice))
    }

    /// The clip behind it; `None` where everything of it is seen.
    pub(super) fn hidden(&self, path: &Path) -> Result<Option<Clip>, CodecError> {
        if !self.options.hide_outside && self.decided.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.open(path)?).filter(|clip| clip.privacy().outside != Outside::Shown))
    }
}

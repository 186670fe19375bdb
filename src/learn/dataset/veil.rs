//! What of the images of a data set is seen.
//!
//! What decides whether this file is right: what a person hides, by a setting or for one clip in the project, no
//! network sees, wherever its images come from.

use std::collections::BTreeMap;
use std::path::Path;

use crate::codec::{self, Clip, CodecError, OpenOptions, Outside, earlier_hash};
use crate::domain::{ContentHash, OutsideChoice};
use crate::project::{Onlooker, list_clips};

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
        let mut onlooker = Onlooker::new(project);
        let mut choice = |hash: &ContentHash| onlooker.load(hash).ok()?.outside;
        let decided = summaries.iter().filter_map(|s| Some((s.hash.0.clone(), choice(&s.hash)?)));
        let options = OpenOptions { hide_outside, region, ask, ..OpenOptions::default() };
        Self { options, decided: decided.collect() }
    }

    /// What is hidden of a clip that was opened behind it, for hashes of data; empty where everything is seen, so that
    /// such data keep the hashes that they had before anything could be hidden.
    pub(in crate::learn) fn mark(&self, clip: &Clip) -> String {
        let decided = match self.choice(clip) {
            Some(OutsideChoice::HideAllBut(region)) => Some(region),
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
        let choice = self.choice(&clip);
        Ok(clip.as_decided(&self.options, choice))
    }

    /// What was decided of a clip, also of a folder of images in an earlier order of their names.
    fn choice(&self, clip: &Clip) -> Option<OutsideChoice> {
        let of = |hash: &ContentHash| self.decided.get(&hash.0).copied();
        of(&clip.info().content_hash)
            .or_else(|| of(&earlier_hash(clip.path(), self.options.series)?))
    }

    /// The clip behind it; `None` where everything of it is seen.
    pub(super) fn hidden(&self, path: &Path) -> Result<Option<Clip>, CodecError> {
        if !self.options.hide_outside && self.decided.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.open(path)?).filter(|clip| clip.privacy().outside != Outside::Shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{PointPx, Region};
    use crate::project::{ClipStore, StoreOptions, View};

    #[test]
    fn what_was_decided_of_a_folder_in_an_earlier_order_of_names_is_hidden_still() {
        let dir = tempfile::tempdir().expect("a folder");
        let (folder, project) = (dir.path().join("nerve"), dir.path().join("project"));
        std::fs::create_dir(&folder).expect("made");
        for (name, gray) in [("1.png", 200), ("02.png", 190)] {
            let image = image::GrayImage::from_pixel(8, 8, image::Luma([gray]));
            image.save(folder.join(name)).expect("written");
        }
        let ask = OpenOptions { ask: true, ..OpenOptions::default() };
        let earlier = OpenOptions { earlier_order: true, ..ask.clone() };
        let before = codec::open(&folder, &earlier).expect("it opens");
        let region: Region = "box:1,2,3,4".parse().expect("a region");
        let (cursor, track, look) = (PointPx::new(0.0, 0.0), None, None);
        let outside = Some(OutsideChoice::HideAllBut(region));
        let view = View { frame: 0, cursor, track, finished: false, keys: 0, outside, look };
        let options = StoreOptions { user: "anna".into(), rescue: None };
        let opened = ClipStore::open_with(&project, before.info(), 0, &options);
        let (mut store, _) = opened.expect("it opens");
        store.append_view(&view, 0).expect("kept");
        drop(store);
        let veil = Veil::of(&ask, &project);
        let clip = veil.open(&folder).expect("it opens");
        let frame = clip.frame(0).expect("decoded");
        assert_eq!(frame.pixels.iter().filter(|&&gray| gray == 200).count(), 9);
        assert!(veil.mark(&clip).contains(&format!("{region:?}")), "{}", veil.mark(&clip));
    }
}

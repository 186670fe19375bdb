//! What a clip may hold of patient data, and the part of its pixels that stays visible.

use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::cache::FrameCache;
use super::{Clip, CodecError, OpenOptions, gray, region};
use crate::domain::{ClipKind, GrayFrame, OutsideChoice, Region};

/// Share of the frame that must lie outside a region for it to be worth a question.
const WORTH_ASKING: f64 = 0.05;
/// A pixel as bright as this is seen on a screen, and so many of them may be a letter.
const SEEN: u8 = 16;
const LETTER_PX: usize = 16;

/// What is known of patient data in a clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Privacy {
    /// The file is of a kind that is made to hold patient data.
    pub medical: bool,
    /// The file itself says that identities were removed and that none are burned in.
    pub says_none: bool,
    /// The file itself says that nothing is burned into its pixels.
    pub clean_pixels: bool,
    /// Where ultrasound is shown, as the file names it: first column and row, last column and row.
    pub regions: Vec<[u32; 4]>,
    /// What of the pixels outside is visible.
    pub outside: Outside,
    /// Whether there are such pixels: a region may be the whole picture.
    pub blackened: bool,
    /// Which pixels are not among them: a SHA-256 of them, so that what was hidden in another way is known for something
    /// else. None where nothing is hidden.
    pub visible: Option<[u8; 32]>,
    pub(super) badge: Option<String>,
}

/// What became of the pixels outside the ultrasound regions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Outside {
    /// They are as stored.
    #[default]
    Shown,
    /// They are black, by regions that the file or a person named.
    Hidden,
    /// They are black, by a region that was found in the pixels and that nobody has confirmed.
    HiddenAsFound(Region),
}

impl Privacy {
    /// What to tell a person before the first picture; `None` when the file itself says that there
    /// is no patient data in it.
    #[must_use]
    pub fn badge(&self) -> Option<&str> {
        self.badge.as_deref()
    }
}

impl Clip {
    /// A volume of a format without tags: nothing is burned into it.
    pub(super) fn is_untagged_volume(&self) -> bool {
        let info = &self.info;
        !self.privacy.medical && (info.kind == ClipKind::Volume || info.is_plane_over_time())
    }

    /// What to tell before the first picture.
    pub(super) fn badge(&self) -> Option<String> {
        let privacy = &self.privacy;
        let told = match privacy.outside {
            Outside::HiddenAsFound(region) => {
                return Some(format!(
                    "black outside a region found in the pixels; if several frames show no text \
                     and miss no tissue, confirm it with --outside {region}"
                ));
            }
            _ if privacy.says_none => return None,
            Outside::Hidden => "may contain patient data in what is not black",
            Outside::Shown if self.is_untagged_volume() => {
                "may contain patient data; its file does not say that it was de-identified"
            }
            // Only the file or a person can tell: nothing moves in a still.
            Outside::Shown if privacy.regions.is_empty() && self.info.frames == 1 => {
                "may contain patient data; --outside box:LEFT,TOP,RIGHT,BOTTOM (px) makes \
                 everything else black"
            }
            Outside::Shown => {
                "may contain patient data; --outside hide makes everything outside its ultrasound \
                 regions black"
            }
        };
        Some(told.to_owned())
    }

    /// Whether nobody said what stays visible: the options that it was opened with do not, and the
    /// file does not say that its pixels are clean. Then a person is asked, about the regions that
    /// the file names or one that is found in the pixels.
    #[must_use]
    pub fn may_be_asked(&self) -> bool {
        let privacy = &self.privacy;
        privacy.outside == Outside::Shown && !privacy.clean_pixels && !self.is_untagged_volume()
    }

    /// The same clip with everything outside `region` black, or as stored; it starts with an empty
    /// cache, and frames of this one stay as they are.
    #[must_use]
    pub fn with_outside(&self, region: Option<Region>) -> Self {
        let outside = if region.is_some() { Outside::Hidden } else { Outside::Shown };
        let bound = self.with_cache(|cache| cache.limit_bytes());
        let size = (self.info.width_px, self.info.height_px);
        let window = region.map(|region| Window::of(&[region], size.0, size.1));
        let visible = window.as_ref().and_then(Window::digest);
        let blackened = visible.is_some();
        let mut clip = Self {
            path: self.path.clone(),
            info: self.info.clone(),
            source: Arc::clone(&self.source),
            stamps: self.stamps.clone(),
            window,
            privacy: Privacy { outside, blackened, visible, ..self.privacy.clone() },
            origin: self.origin.clone(),
            frame_names: self.frame_names.clone(),
            notes: self.notes.clone(),
            cache: Mutex::new(FrameCache::new(bound)),
        };
        clip.privacy.badge = clip.badge();
        clip
    }

    /// The clip as somebody decided that it is to be shown, where the options leave that open.
    #[must_use]
    pub fn as_decided(self, options: &OpenOptions, choice: Option<OutsideChoice>) -> Self {
        match choice {
            Some(OutsideChoice::HideAllBut(region)) if options.ask && self.may_be_asked() => {
                self.with_outside(Some(region))
            }
            _ => self,
        }
    }

    /// The region to ask a person about: everything that the file names, else the one that is found
    /// in the pixels; `None` where nothing is to be seen outside of it. `stop` ends the search.
    /// Takes a second or two for large frames.
    #[must_use]
    pub fn region_to_confirm(&self, stop: &dyn Fn() -> bool) -> Option<Region> {
        let mut frames = Vec::new();
        for index in self.spread() {
            if stop() {
                return None;
            }
            frames.push(self.frame(index).ok()?);
        }
        let named = Region::of_boxes(&self.privacy.regions);
        let found = named.or_else(|| region::find(&frames, stop))?;
        let visible = Window::of(&[found], self.info.width_px, self.info.height_px);
        let outside = || visible.0.iter().enumerate().filter(|(_, visible)| !**visible);
        // What the file says is no guess.
        let worth =
            named.is_some() || outside().count() as f64 >= WORTH_ASKING * visible.0.len() as f64;
        let seen = |at: usize| frames.iter().any(|frame| frame.pixels[at] >= SEEN);
        let letter = outside().filter(|(at, _)| seen(*at)).nth(LETTER_PX - 1).is_some();
        (worth && letter).then_some(found)
    }

    /// Hides what lies outside `given`, outside the regions that the file names, or outside a
    /// region found in the pixels.
    pub(super) fn hide_all_but(&mut self, given: Option<Region>) -> Result<(), CodecError> {
        let named: Vec<Region> = self.privacy.regions.iter().copied().map(Region::Box).collect();
        let (regions, outside) = match given {
            Some(region) => (vec![region], Outside::Hidden),
            None if !named.is_empty() => (named, Outside::Hidden),
            None => {
                let found = self.find_region()?;
                (vec![found], Outside::HiddenAsFound(found))
            }
        };
        self.privacy.outside = outside;
        let (width, height) = (self.info.width_px, self.info.height_px);
        let window = Window::of(&regions, width, height);
        if let Some(region) = given.filter(|_| !window.0.contains(&true)) {
            let cause = format!(
                "nothing of it would stay visible: {region} lies outside its {width} x {height} px"
            );
            let advice = "name a region inside the frame with --outside";
            return Err(CodecError::unsupported(&self.path, cause, advice));
        }
        self.privacy.visible = window.digest();
        self.privacy.blackened = self.privacy.visible.is_some();
        if given.is_none() && outside == Outside::Hidden && !self.privacy.blackened {
            // The file's regions are the whole picture: what is burned in is still to be seen.
            self.privacy.outside = Outside::Shown;
        }
        self.window = Some(window);
        // What was decoded before is as stored.
        let bound = self.with_cache(|cache| cache.limit_bytes());
        self.cache = Mutex::new(FrameCache::new(bound));
        Ok(())
    }

    /// The frames in which a region is looked for.
    fn spread(&self) -> Vec<usize> {
        let frame_px = u64::from(self.info.width_px) * u64::from(self.info.height_px);
        gray::spread(self.info.frames, frame_px)
    }

    fn find_region(&self) -> Result<Region, CodecError> {
        let indices = self.spread().into_iter();
        let frames = indices.map(|i| self.frame(i)).collect::<Result<Vec<_>, _>>()?;
        region::find(&frames, &|| false).ok_or_else(|| {
            let cause = "what lies outside its ultrasound regions is to be hidden; it names none, \
                         and none is found in its pixels";
            let advice = "name it with --outside box:LEFT,TOP,RIGHT,BOTTOM (px), or open it with \
                          --outside show";
            CodecError::unsupported(&self.path, cause, advice)
        })
    }
}

/// Which pixels stay visible.
pub(super) struct Window(Vec<bool>);

impl Window {
    pub(super) fn of(regions: &[Region], width_px: u32, height_px: u32) -> Self {
        let rows = (0..height_px).flat_map(|row| (0..width_px).map(move |column| (column, row)));
        Self(rows.map(|(column, row)| regions.iter().any(|r| r.contains(column, row))).collect())
    }

    /// Which they are; `None` where all are.
    fn digest(&self) -> Option<[u8; 32]> {
        let bytes: Vec<u8> = self.0.iter().copied().map(u8::from).collect();
        self.0.contains(&false).then(|| Sha256::digest(bytes).into())
    }

    /// Blackens the others.
    pub(super) fn hide_outside(&self, frame: &mut GrayFrame) {
        frame.blacken(|at| self.0.get(at).copied().unwrap_or(true));
    }
}

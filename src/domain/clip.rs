//! A clip: an ordered run of equally sized frames with its spacing in space and time.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Placement;

/// Index of a frame within its clip, from 0; people see it from 1.
pub type FrameIndex = usize;

/// SHA-256 of a clip's bytes in lower-case hex: the identity under which annotations are kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentHash(pub String);

impl ContentHash {
    /// The first twelve hex digits: enough to tell clips apart on a screen.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the frames of a clip are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClipKind {
    /// One frame.
    Still,
    /// Frames in time.
    Cine,
    /// Slices of a volume along an axis.
    Volume,
}

/// What is known of a clip before any frame is decoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipInfo {
    /// Identity of the content.
    pub content_hash: ContentHash,
    /// Name for people (file or folder name, not escaped: pass through [`super::shown`]).
    pub name: String,
    /// Still, cine or volume.
    pub kind: ClipKind,
    /// Width of every frame, px.
    pub width_px: u32,
    /// Height of every frame, px.
    pub height_px: u32,
    /// Number of frames, at least 1.
    pub frames: usize,
    /// Size of a pixel (x, y), mm, where the file tells it.
    pub pixel_spacing_mm: Option<[f64; 2]>,
    /// Time between frames, ms, where the file tells it.
    pub frame_time_ms: Option<f64>,
    /// Where the frames of a volume lie in the patient, where the file tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// How the file stores it, for people: "DICOM US, JPEG baseline", "H.264 in MP4".
    pub format: String,
}

/// Which DICOM objects a clip is made of, for files that refer to them. Nothing in here names a
/// person; unique identifiers still lead to one for whoever has the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DicomOrigin {
    /// SOP class of the objects.
    pub class_uid: String,
    /// SOP instances: one for all frames, or one for each.
    pub instance_uids: Vec<String>,
    /// Study.
    pub study_uid: String,
    /// Series.
    pub series_uid: String,
    /// Frame of reference, where there is one.
    pub space_uid: Option<String>,
}

impl DicomOrigin {
    /// The instance that holds a frame, and the frame's number in it, from 1.
    #[must_use]
    pub fn of_frame(&self, frame: FrameIndex) -> Option<(&str, usize)> {
        match &self.instance_uids[..] {
            [one] => Some((one, frame + 1)),
            all => all.get(frame).map(|uid| (uid.as_str(), 1)),
        }
    }
}

/// One decoded frame: 8-bit gray, row by row.
#[derive(Clone, PartialEq, Eq)]
pub struct GrayFrame {
    /// Width, px.
    pub width_px: u32,
    /// Height, px.
    pub height_px: u32,
    /// `width_px * height_px` gray values, 0 black to 255 white.
    pub pixels: Vec<u8>,
}

impl GrayFrame {
    /// A frame of the given size, or `None` when `pixels` has another length.
    #[must_use]
    pub fn new(width_px: u32, height_px: u32, pixels: Vec<u8>) -> Option<Self> {
        (pixels.len() == width_px as usize * height_px as usize).then_some(Self {
            width_px,
            height_px,
            pixels,
        })
    }

    /// Gray value at column `x`, row `y`; positions outside take the nearest pixel.
    #[must_use]
    pub fn at(&self, x: i64, y: i64) -> u8 {
        let x = x.clamp(0, i64::from(self.width_px) - 1) as usize;
        let y = y.clamp(0, i64::from(self.height_px) - 1) as usize;
        self.pixels[y * self.width_px as usize + x]
    }
}

// Pixels can show patient names: a frame never prints its content.
impl fmt::Debug for GrayFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrayFrame({} x {} px)", self.width_px, self.height_px)
    }
}

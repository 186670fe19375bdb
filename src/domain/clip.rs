//! A clip: an ordered run of equally sized frames with its spacing in space and time.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Colours, Placement, Scale};

/// Index of a frame within its clip, from 0; people see it from 1.
pub type FrameIndex = usize;

/// SHA-256 in lower-case hex, the identity under which annotations are kept: of a clip's bytes, or of its size and evenly
/// spaced samples of it where there are very many (files above 256 MiB, folders above 64 MiB).
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
    /// Size of a pixel (x, y), mm, where the file tells one that holds for all of the tissue.
    pub pixel_spacing_mm: Option<[f64; 2]>,
    /// The regions of the frame, where they differ in scale; else empty. [`ClipInfo::scale_of`]
    /// and [`ClipInfo::scale_between`] know the scale of a place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scales: Vec<Scale>,
    /// From one frame of a volume to the next, mm, where the file tells it: also of volumes that say nothing of their
    /// place in the patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice_spacing_mm: Option<f64>,
    /// Time between frames, ms, where the file tells it; the mean where it varies.
    pub frame_time_ms: Option<f64>,
    /// When each frame is shown, ms from the first, ascending, where the time between frames
    /// varies; else empty. [`ClipInfo::time_ms`] knows both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frame_times_ms: Vec<f64>,
    /// Where the frames of a volume lie in the patient, where the file tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Whether the pixels were compressed with loss, now or once before; false also where the file does not
    /// tell. `None` where nobody has looked: earlier versions left it out of projects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lossy: Option<bool>,
    /// How the file stores it, for people: "DICOM US, JPEG baseline", "H.264 in MP4".
    pub format: String,
}

impl ClipInfo {
    /// A clip of `frames` frames of (width, height) px of which nothing else is known: it has no name, and its format,
    /// scale, time and place are not told.
    #[must_use]
    pub fn new(
        content_hash: ContentHash,
        kind: ClipKind,
        (width_px, height_px): (u32, u32),
        frames: usize,
    ) -> Self {
        Self {
            content_hash,
            name: String::new(),
            kind,
            width_px,
            height_px,
            frames,
            pixel_spacing_mm: None,
            scales: Vec::new(),
            frame_time_ms: None,
            frame_times_ms: Vec::new(),
            placement: None,
            lossy: None,
            slice_spacing_mm: None,
            format: String::new(),
        }
    }

    /// When a frame is shown, ms from the first; `None` where the file does not tell.
    #[must_use]
    pub fn time_ms(&self, frame: FrameIndex) -> Option<f64> {
        let varying = self.frame_times_ms.get(frame).copied();
        varying.or_else(|| self.frame_time_ms.map(|ms| ms * frame as f64))
    }

    /// How long a frame is shown, ms: until the next one, the last as long as the one before it.
    #[must_use]
    pub fn shown_ms(&self, frame: FrameIndex) -> Option<f64> {
        let times = &self.frame_times_ms;
        let until_next = |at: usize| Some(times.get(at + 1)? - times.get(at)?);
        until_next(frame)
            .or_else(|| until_next(frame.checked_sub(1)?))
            .or(self.frame_time_ms)
            .filter(|ms| ms.is_finite() && *ms > 0.0)
    }

    /// Whether the frames are one plane of a volume over time: a cine that has a place.
    #[must_use]
    pub fn is_plane_over_time(&self) -> bool {
        self.kind == ClipKind::Cine && self.placement.is_some()
    }
}

/// Which DICOM objects a clip is made of, for files that refer to them. Nothing in here names a
/// person; unique identifiers still lead to one for whoever has the archive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// For every frame of the clip its index in the one instance, where that is another order.
    pub frame_order: Vec<usize>,
    /// By how much the pixels were compressed with loss, once for each time (10 is a tenth of the bytes), where the
    /// objects tell.
    pub lossy_ratios: Vec<f64>,
    /// How, by the defined terms of PS3.3 C.7.6.1.1.5.1 such as "ISO_10918_1", where the objects tell.
    pub lossy_methods: Vec<String>,
}

impl DicomOrigin {
    /// The instance that holds a frame, and the frame's number in it, from 1.
    #[must_use]
    pub fn of_frame(&self, frame: FrameIndex) -> Option<(&str, usize)> {
        match &self.instance_uids[..] {
            [one] => Some((one, self.frame_order.get(frame).copied().unwrap_or(frame) + 1)),
            all => all.get(frame).map(|uid| (uid.as_str(), 1)),
        }
    }

    /// The frame of the clip that is the frame `stored` (from 0) of the one instance.
    #[must_use]
    pub fn frame_of(&self, stored: usize) -> Option<FrameIndex> {
        match &self.frame_order[..] {
            [] => Some(stored),
            order => order.iter().position(|&held| held == stored),
        }
    }
}

/// One decoded frame: 8-bit gray, row by row, and beside it what is coloured.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct GrayFrame {
    /// Width, px.
    pub width_px: u32,
    /// Height, px.
    pub height_px: u32,
    /// `width_px * height_px` gray values, 0 black to 255 white.
    pub pixels: Vec<u8>,
    /// The pixels that are no gray in the file; their gray is in `pixels`, too.
    pub colours: Colours,
}

impl GrayFrame {
    /// A frame of the given size, or `None` when `pixels` has another length.
    #[must_use]
    pub fn new(width_px: u32, height_px: u32, pixels: Vec<u8>) -> Option<Self> {
        (pixels.len() == width_px as usize * height_px as usize).then_some(Self {
            width_px,
            height_px,
            pixels,
            colours: Colours::default(),
        })
    }

    /// The frame with the colours of its pixels.
    #[must_use]
    pub fn with_colours(self, colours: Colours) -> Self {
        Self { colours, ..self }
    }

    /// Every pixel as red, green and blue.
    #[must_use]
    pub fn rgb(&self) -> Vec<[u8; 3]> {
        let mut rgb: Vec<[u8; 3]> = self.pixels.iter().map(|&gray| [gray; 3]).collect();
        for (at, pixel) in self.colours.each() {
            rgb[at] = pixel;
        }
        rgb
    }

    /// Memory that its pixels take, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pixels.len() + self.colours.bytes()
    }

    /// Makes the pixels black, and gray, for which `visible` does not hold.
    pub fn blacken(&mut self, visible: impl Fn(usize) -> bool) {
        let pixels = self.pixels.iter_mut().enumerate();
        pixels.filter(|(at, _)| !visible(*at)).for_each(|(_, pixel)| *pixel = 0);
        self.colours.retain(visible);
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

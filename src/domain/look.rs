//! How gray values are shown: gain, level, gamma, an automatic stretch, evened contrast (CLAHE).
//!
//! For the eye alone: the network, edges, measures and exports see the frame as it is in the file.

use serde::{Deserialize, Serialize};

use super::{GrayFrame, Region};

/// Share of the pixels that an automatic stretch lets go black, and as many white.
const LEFT_OUT: f32 = 0.01;
/// Narrowest range that is stretched, gray values: less would only show noise.
const NARROWEST: u8 = 16;
/// Pixels that a histogram is made of, at least, where a frame has so many.
const SAMPLES: usize = 100_000;

/// How gray values are shown. The default is as in the file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PictureLook {
    /// Contrast, as a factor; 0.25 to 32.
    pub gain: f32,
    /// Brightness, gray values; -255 to 255.
    pub level: f32,
    /// Middle grays brighter above 1, darker below; 0.2 to 5. Black and white stay.
    pub gamma: f32,
    /// Stretched from the histogram of what lies inside the ultrasound.
    pub automatic: bool,
    /// Contrast evened out over the frame.
    pub clahe: bool,
    /// Colours of the file as they are, not their gray.
    pub colour: bool,
}

impl Default for PictureLook {
    fn default() -> Self {
        Self { gain: 1.0, level: 0.0, gamma: 1.0, automatic: false, clahe: false, colour: true }
    }
}

impl PictureLook {
    /// The nearest that can be shown; what is no number is as in the file.
    #[must_use]
    pub fn limited(self) -> Self {
        let within = |value: f32, low: f32, high: f32, usual: f32| {
            if value.is_finite() { value.clamp(low, high) } else { usual }
        };
        Self {
            gain: within(self.gain, 0.25, 32.0, 1.0),
            level: within(self.level, -255.0, 255.0, 0.0),
            gamma: within(self.gamma, 0.2, 5.0, 1.0),
            ..self
        }
    }

    /// What differs from the file, for people: "gain 1.3, gamma 0.8, auto, CLAHE"; nothing when
    /// nothing does.
    #[must_use]
    pub fn told(&self) -> String {
        let mut words = Vec::new();
        if self.gain != 1.0 {
            words.push(format!("gain {}", short(self.gain)));
        }
        if self.level != 0.0 {
            words.push(format!("level {:+.0}", self.level));
        }
        if self.gamma != 1.0 {
            words.push(format!("gamma {}", short(self.gamma)));
        }
        words.extend(self.automatic.then(|| "auto".to_owned()));
        words.extend(self.clahe.then(|| "CLAHE".to_owned()));
        words.extend((!self.colour).then(|| "no colour".to_owned()));
        words.join(", ")
    }
}

/// Two digits behind the point where they say something.
fn short(value: f32) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Darkest and brightest gray value worth showing of a frame: percentiles 1 and 99 of what lies
/// inside `region`; where none is known, of all that is not black. `None` when nothing is there.
#[must_use]
pub fn worth_showing(frame: &GrayFrame, region: Option<Region>) -> Option<[u8; 2]> {
    let width = frame.width_px as usize;
    // Every step-th pixel of every row in turn: a fan asks an angle of each.
    let step = (frame.pixels.len() / SAMPLES).max(1);
    let mut counts = [0u32; 256];
    for (i, &gray) in frame.pixels.iter().enumerate().step_by(step) {
        let inside = match region {
            Some(region) => region.contains((i % width) as u32, (i / width) as u32),
            None => gray > 0,
        };
        counts[usize::from(gray)] += u32::from(inside);
    }
    let all: u32 = counts.iter().sum();
    if all == 0 {
        return None;
    }
    let most = (all as f32 * LEFT_OUT) as u32;
    let from = |mut grays: Box<dyn Iterator<Item = usize>>| {
        let mut passed = 0;
        grays.find(|&gray| {
            passed += counts[gray];
            passed > most
        })
    };
    let (low, high) = (from(Box::new(0..256))? as u8, from(Box::new((0..256).rev()))? as u8);
    let high = high.max(low.saturating_add(NARROWEST));
    Some([low.min(high - NARROWEST), high])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_comes_from_what_lies_inside_and_leaves_stray_pixels_out() {
        // Grays 40 to 103 in the left half; a white border and a few stray pixels elsewhere.
        let gray = |i: usize| match (i % 100, i / 100) {
            (7, 7) => 255,
            (x, y) if x < 50 => 40 + (y % 64) as u8,
            _ => 240,
        };
        let frame = GrayFrame::new(100, 128, (0..12_800).map(gray).collect()).expect("it fits");
        let inside = Some(Region::Box([0, 0, 49, 127]));
        assert_eq!(worth_showing(&frame, inside), Some([40, 103]));
        assert_eq!(worth_showing(&frame, None), Some([41, 240]));
        let black = GrayFrame::new(2, 2, vec![0; 4]).expect("it fits");
        assert_eq!(worth_showing(&black, None), None);
        let flat = GrayFrame::new(2, 2, vec![250; 4]).expect("it fits");
        assert_eq!(worth_showing(&flat, None), Some([239, 255]));
    }

    #[test]
    fn what_differs_from_the_file_is_told_and_limits_hold() {
        assert_eq!(PictureLook::default().told(), "");
        let wild = PictureLook {
            gain: f32::NAN,
            level: -900.0,
            gamma: 1.15,
            automatic: true,
            clahe: true,
            colour: false,
        };
        assert_eq!(wild.limited().told(), "level -255, gamma 1.15, auto, CLAHE, no colour");
        let read: PictureLook = serde_json::from_str("{\"gamma\":0.8}").expect("old lines");
        assert_eq!(read, PictureLook { gamma: 0.8, ..PictureLook::default() });
    }
}

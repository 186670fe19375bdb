//! Registers of a picture: gray ramp, overlay colours, tinted ramps.

/// Most registers a palette may use: every sixel terminal met has at least 256 or says so.
const MAX_REGISTERS: usize = 256;
/// Most overlay colours.
const MAX_OVERLAY: usize = 24;
/// Most levels of a tinted ramp, and the fewest that are worth having.
const MAX_TINT_LEVELS: u8 = 32;
const MIN_TINT_LEVELS: usize = 12;
/// Most grays of sixels: percent are all they know.
const MAX_SIXEL_LEVELS: u8 = 101;
/// Share of the overlay colour in a tinted gray, percent.
const TINT_PERCENT: u32 = 28;

/// Number of an overlay colour, from 0, in the order in which the palette was given them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Colour(pub u8);

/// The registers of a picture; each is red, green and blue, in percent up to 101 grays (sixel knows no finer), else in
/// 255ths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Palette {
    levels: u8,
    overlay: u8,
    tint_levels: u8,
    tints: u8,
    /// What white is: 100 or 255.
    white: u8,
    registers: Vec<[u8; 3]>,
}

/// 8-bit RGB as percent, rounded.
#[must_use]
pub fn percent_from_rgb(rgb: [u8; 3]) -> [u8; 3] {
    rgb.map(|channel| ((u32::from(channel) * 100 + 127) / 255) as u8)
}

impl Palette {
    /// `levels` grays (2..=101 for sixels, 32 by default; up to [`super::FINEST`] for images in PNG), then
    /// `overlay` colours (percent, at most 24), then for each of the first `tinted` overlay colours a ramp tinted with it,
    /// the shorter the more grays there are. Ramps that do not fit into `registers` (what the terminal has) are left out:
    /// [`Palette::tint`] then returns the plain gray.
    #[must_use]
    pub fn new(levels: u8, overlay: &[[u8; 3]], tinted: usize, registers: usize) -> Self {
        let limit = registers.clamp(2, MAX_REGISTERS);
        let overlay = &overlay[..overlay.len().min(MAX_OVERLAY).min(limit - 2)];
        let levels = levels.clamp(2, super::FINEST).min((limit - overlay.len()).min(255) as u8);
        let white = if levels > MAX_SIXEL_LEVELS { 255 } else { 100 };
        let gray = |level: u8, of: u8| {
            (u32::from(level) * 2 * u32::from(white) / (u32::from(of) - 1)).div_ceil(2) as u8
        };
        let mut all: Vec<[u8; 3]> = (0..levels).map(|level| [gray(level, levels); 3]).collect();
        let scaled = |percent: u8| (u32::from(percent.min(100)) * u32::from(white) / 100) as u8;
        let overlay: Vec<[u8; 3]> = overlay.iter().map(|colour| colour.map(scaled)).collect();
        all.extend(&overlay);
        let share = (limit - all.len()) / tinted.clamp(1, MAX_OVERLAY);
        let most = if share < MIN_TINT_LEVELS { usize::from(MAX_TINT_LEVELS) } else { share };
        let tint_levels = levels.min(MAX_TINT_LEVELS).min(most.min(255) as u8);
        let mut tints = 0u8;
        for colour in overlay.iter().take(tinted) {
            if all.len() + tint_levels as usize > limit {
                break;
            }
            all.extend(
                (0..tint_levels).map(|level| tinted_gray(gray(level, tint_levels), *colour, white)),
            );
            tints += 1;
        }
        Self { levels, overlay: overlay.len() as u8, tint_levels, tints, white, registers: all }
    }

    /// Number of grays.
    #[must_use]
    pub fn levels(&self) -> u8 {
        self.levels
    }

    /// All registers; in percent up to 101 grays.
    #[must_use]
    pub fn registers(&self) -> &[[u8; 3]] {
        &self.registers
    }

    /// Register of an overlay colour; one that the palette does not have is drawn white.
    #[must_use]
    pub fn overlay(&self, colour: Colour) -> u8 {
        if colour.0 < self.overlay { self.levels + colour.0 } else { self.levels - 1 }
    }

    /// True when `colour` has a tinted ramp.
    #[must_use]
    pub fn has_tint(&self, colour: Colour) -> bool {
        colour.0 < self.tints
    }

    /// Register of gray `level` tinted with `colour`; the plain gray when it has no ramp.
    #[must_use]
    pub fn tint(&self, colour: Colour, level: u8) -> u8 {
        let level = level.min(self.levels - 1);
        if !self.has_tint(colour) {
            return level;
        }
        let (of, to) = (u32::from(self.levels) - 1, u32::from(self.tint_levels) - 1);
        let level = ((u32::from(level) * to * 2 + of) / (2 * of)) as usize;
        let start = self.levels as usize + self.overlay as usize;
        // At most 256 registers, so the number fits.
        (start + colour.0 as usize * self.tint_levels as usize + level) as u8
    }

    /// A register as 8-bit RGB, for half blocks and tests; unknown registers are black.
    #[must_use]
    pub fn rgb(&self, index: u8) -> [u8; 3] {
        let register = self.registers.get(index as usize).copied().unwrap_or_default();
        let white = u32::from(self.white);
        register.map(|channel| ((u32::from(channel) * 255 + white / 2) / white) as u8)
    }
}

/// Mixes in a share of the colour; black stays nearly black, so that the tint never hides dark
/// speckle.
fn tinted_gray(gray: u8, colour: [u8; 3], white: u8) -> [u8; 3] {
    let (gray, white) = (u32::from(gray), u32::from(white));
    colour.map(|channel| {
        let own = u32::from(channel) * (35 + gray * 65 / white) / 100;
        ((gray * (100 - TINT_PERCENT) + own * TINT_PERCENT) / 100).min(white) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ramp_is_uniform_from_black_to_white() {
        for levels in [2, 16, 32, 64, 101, super::super::FINEST] {
            let palette = Palette::new(levels, &[[100, 0, 0]], 0, 256);
            let ramp: Vec<u8> = (0..levels).map(|level| palette.rgb(level)[0]).collect();
            assert_eq!((ramp[0], ramp[levels as usize - 1]), (0, 255));
            assert_eq!(palette.rgb(levels), [255, 0, 0]);
            assert!(levels > 101 || palette.registers().iter().all(|c| c[0] <= 100));
            assert!(ramp.windows(2).all(|pair| pair[0] < pair[1]), "{levels}: {ramp:?}");
            assert_eq!(palette.overlay(Colour(0)), levels);
        }
    }

    #[test]
    fn tints_fit_the_registers_or_are_left_out() {
        let overlay = vec![[90, 60, 0]; 24];
        let palette = Palette::new(32, &overlay, 6, 256);
        assert!(palette.registers().len() <= 256 && palette.has_tint(Colour(5)));
        let last = palette.tint(Colour(5), 31) as usize;
        assert_eq!(last, palette.registers().len() - 1);
        for levels in [101, super::super::FINEST] {
            let many = Palette::new(levels, &overlay[..15], 5, 256);
            assert!(many.has_tint(Colour(4)) && many.registers().len() <= 256, "{levels}");
        }
        let small = Palette::new(101, &overlay, 6, 16);
        assert_eq!(small.registers().len(), 16);
        assert_eq!(small.tint(Colour(0), 1), 1);
    }
}

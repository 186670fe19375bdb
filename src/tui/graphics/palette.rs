//! Registers of a picture: gray ramp, overlay colours, a cube of colours, tinted ramps.

/// Most registers a palette may use: every sixel terminal met has at least 256 or says so.
const MAX_REGISTERS: usize = 256;
/// Most overlay colours.
const MAX_OVERLAY: usize = 24;
/// Most levels of a tinted ramp, and the fewest that are worth having.
const MAX_TINT_LEVELS: u8 = 32;
const MIN_TINT_LEVELS: usize = 12;
/// Most grays of sixels: percent are all they know.
const MAX_SIXEL_LEVELS: u8 = 101;
/// Steps of each channel in the cube of colours.
pub(super) const STEPS: u8 = 4;
/// Registers of the cube.
const CUBE: usize = 64;
/// Most grays beside the cube: with more no tint would have room.
const MAX_LEVELS_BESIDE: u8 = MAX_SIXEL_LEVELS;
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
    /// First register of the cube of colours.
    cube: Option<u8>,
    /// First register of the tints.
    tinted: usize,
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
        Self::made(levels, overlay, tinted, registers, false)
    }

    /// The same with a cube of colours for frames that are not gray alone, where the registers
    /// allow it; at most 101 grays then.
    #[must_use]
    pub fn with_cube(levels: u8, overlay: &[[u8; 3]], tinted: usize, registers: usize) -> Self {
        let levels = levels.min(MAX_LEVELS_BESIDE);
        Self::made(levels, overlay, tinted, registers, true)
    }

    fn made(levels: u8, overlay: &[[u8; 3]], tinted: usize, registers: usize, cube: bool) -> Self {
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
        // At most 256 registers, so the number fits.
        let cube = (cube && all.len() + CUBE <= limit).then_some(all.len() as u8);
        if cube.is_some() {
            let step = |step: u8| gray(step, STEPS);
            let mixed = |i: u8| [i / 16, i / 4 % 4, i % 4].map(step);
            all.extend((0..CUBE as u8).map(mixed));
        }
        let first_tint = all.len();
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
        let overlay = overlay.len() as u8;
        let tinted = first_tint;
        Self { levels, overlay, cube, tinted, tint_levels, tints, white, registers: all }
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

    /// True for a register of an overlay colour, a gray one too.
    pub(super) fn is_overlay(&self, register: u8) -> bool {
        register.checked_sub(self.levels).is_some_and(|at| at < self.overlay)
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
        // At most 256 registers, so the number fits.
        (self.tinted + colour.0 as usize * self.tint_levels as usize + level) as u8
    }

    /// True when frames that are not gray alone can be drawn in colour.
    #[must_use]
    pub fn has_cube(&self) -> bool {
        self.cube.is_some()
    }

    /// True for a register of that cube.
    pub(super) fn is_cube(&self, register: u8) -> bool {
        let above = |first: u8| register.checked_sub(first);
        self.cube.and_then(above).is_some_and(|at| usize::from(at) < CUBE)
    }

    /// Register of a colour of the cube, from black to full in [`STEPS`] steps of red, green and blue;
    /// white where there is no cube.
    pub(super) fn cube(&self, steps: [u8; 3]) -> u8 {
        let [red, green, blue] = steps.map(|step| step.min(STEPS - 1));
        self.cube.map_or(self.levels - 1, |first| first + red * 16 + green * 4 + blue)
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
        let cube = Palette::with_cube(super::super::FINEST, &overlay[..15], 5, 256);
        assert!(cube.has_cube() && cube.has_tint(Colour(4)) && cube.registers().len() <= 256);
        assert_eq!((cube.levels(), cube.rgb(cube.cube([3, 0, 3]))), (101, [255, 0, 255]));
        let dark = Palette::new(101, &overlay[..15], 5, 256);
        let darkest = |palette: &Palette| palette.rgb(palette.tint(Colour(4), 0));
        assert_eq!(darkest(&cube), darkest(&dark), "tints begin behind the cube");
        assert!(!Palette::with_cube(32, &overlay, 6, 64).has_cube());
        let small = Palette::new(101, &overlay, 6, 16);
        assert_eq!(small.registers().len(), 16);
        assert_eq!(small.tint(Colour(0), 1), 1);
    }
}

//! Smooth deformations: of a still, and of a clip from frame to frame.
//!
//! What decides whether this file is right: nothing is folded over, and a frame costs a few sines for each pixel.

use super::{chance, uniform};

/// The bending of a still, mostly some: a few hundred stills hold few shapes, bent ones any number. A wave moves a pixel
/// the less the shorter it is, so that nothing is folded over.
pub(super) fn folds(side: f32, rng: &mut fastrand::Rng) -> Vec<Mode> {
    const MOST: f32 = 0.04;
    if chance(rng, 0.35) {
        return Vec::new();
    }
    (0..4)
        .map(|_| {
            let (cycles, angle) = (uniform(rng, 0.5, 3.0), rng.f32() * std::f32::consts::TAU);
            let number = cycles / side * std::f32::consts::TAU;
            let most = MOST * side / cycles.max(1.0);
            let strength = [0, 1].map(|_| uniform(rng, -most, most));
            let phase = rng.f32() * std::f32::consts::TAU;
            ([number * angle.cos(), number * angle.sin()], phase, strength)
        })
        .collect()
}

/// Slow sine waves: the way tissue and hand move.
pub(super) struct Sway {
    waves: Vec<[f32; 3]>,
}

impl Sway {
    /// Up to `most` in size, over `frames` frames.
    pub(super) fn draw(most: f32, frames: usize, rng: &mut fastrand::Rng) -> Self {
        let waves = (0..2).map(|k| {
            let turns = uniform(rng, 0.2, 0.9) * (k + 1) as f32 / frames.max(2) as f32;
            [most * uniform(rng, 0.2, 0.7) / (k + 1) as f32, turns, rng.f32()]
        });
        Self { waves: waves.collect() }
    }

    pub(super) fn at(&self, frame: usize) -> f32 {
        let wave =
            |w: &[f32; 3]| w[0] * ((w[1] * frame as f32 + w[2]) * std::f32::consts::TAU).sin();
        self.waves.iter().map(wave).sum()
    }
}

/// A plane wave that moves pixels: its wave vector, its phase and how far.
pub(super) type Mode = ([f32; 2], f32, [f32; 2]);

/// A smooth bending of the picture: a few plane waves whose strength changes slowly.
pub(super) struct Bend {
    modes: Vec<([f32; 2], f32, [Sway; 2])>,
}

impl Bend {
    pub(super) fn draw(side: f32, frames: usize, rng: &mut fastrand::Rng) -> Self {
        let modes = (0..3).map(|_| {
            let wave = [0, 1].map(|_| uniform(rng, -1.5, 1.5) / side * std::f32::consts::TAU);
            let phase = rng.f32() * std::f32::consts::TAU;
            (wave, phase, [0, 1].map(|_| Sway::draw(0.025 * side, frames, rng)))
        });
        Self { modes: modes.collect() }
    }

    /// Strengths on a frame, so that each pixel costs three sines only.
    pub(super) fn on(&self, frame: usize) -> Vec<Mode> {
        self.modes
            .iter()
            .map(|(wave, phase, sway)| (*wave, *phase, [sway[0].at(frame), sway[1].at(frame)]))
            .collect()
    }
}

pub(super) fn bent(p: [f32; 2], modes: &[Mode]) -> [f32; 2] {
    let mut out = p;
    for (wave, phase, strength) in modes {
        let s = (wave[0] * p[0] + wave[1] * p[1] + phase).sin();
        out = [out[0] + s * strength[0], out[1] + s * strength[1]];
    }
    out
}

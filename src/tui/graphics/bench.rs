//! Measures the sixel encoders: rows for `sonomark bench sixel`.

use super::{Palette, Picture, Scene, Viewport, compose, sixel};
use crate::domain::GrayFrame;

/// One measurement of one encoder on one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchRow {
    /// Which picture.
    pub picture: String,
    /// Number of gray levels.
    pub levels: u8,
    /// "own" or "libsixel".
    pub encoder: &'static str,
    /// Length of the sixel, bytes.
    pub bytes: usize,
    /// CPU time of all threads, ms, median of the repeats.
    pub cpu_ms: f64,
}

/// Encodes each named frame, and a synthetic one of 1024 x 768 px, at 16, 32, 64 and 101 levels with
/// every encoder of this build, `repeats` times.
#[must_use]
pub fn bench_rows(frames: &[(String, GrayFrame)], repeats: usize) -> Vec<BenchRow> {
    let synthetic = ("synthetic 1024x768".to_owned(), synthetic_frame(1024, 768, 7));
    let mut rows = Vec::new();
    for (name, image) in std::iter::once(&synthetic).chain(frames) {
        for levels in [16, 32, 64, 101] {
            let palette = Palette::new(levels, &[], 0, 256);
            let (width, height) = (image.width_px as usize, image.height_px as usize);
            let view = Viewport::fit(image.width_px, image.height_px, width, height);
            let picture = compose(&Scene::new(Some(image), view), &palette);
            let mut measure = |encoder, encode: &dyn Fn(&Picture, &Palette) -> Vec<u8>| {
                let (bytes, cpu_ms) = timed(repeats, || encode(&picture, &palette).len());
                rows.push(BenchRow { picture: name.clone(), levels, encoder, bytes, cpu_ms });
            };
            measure("own", &sixel::encode);
            #[cfg(feature = "libsixel")]
            measure("libsixel", &|picture, palette| {
                super::libsixel::encode(picture, palette).unwrap_or_default()
            });
        }
    }
    rows
}

fn timed(repeats: usize, mut job: impl FnMut() -> usize) -> (usize, f64) {
    let mut bytes = 0;
    let mut times: Vec<f64> = (0..repeats.max(1))
        .map(|_| {
            let start = cpu_ms();
            bytes = job();
            cpu_ms() - start
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (bytes, times[times.len() / 2])
}

/// CPU time of the process, ms.
fn cpu_ms() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Unix and `time` is a valid place for its answer.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// A picture with what matters to an encoder: a convex sector on black with correlated Rayleigh
/// speckle, log compression, a dark mass, a bright capsule and a gray bar. Deterministic.
#[must_use]
pub fn synthetic_frame(width_px: u32, height_px: u32, seed: u64) -> GrayFrame {
    let (ranges, angles) = (640usize, 384usize);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = || {
        // Sum of uniform numbers of a xorshift generator: normal enough for speckle.
        let mut sum = 0.0f32;
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            sum += (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        }
        sum * 1.73
    };
    let mut field = || -> Vec<f32> { (0..ranges * angles).map(|_| noise()).collect() };
    let (real, imaginary) = (field(), field());
    let smooth = |field: &[f32]| blurred(&blurred(field, angles, 2), angles, 2);
    let (real, imaginary) = (smooth(&real), smooth(&imaginary));
    let echo = |i: usize| {
        let (r, a) = ((i / angles) as f32 / ranges as f32, (i % angles) as f32 / angles as f32);
        let reflect = reflectivity(r, a * 2.0 - 1.0);
        let amplitude = (real[i].hypot(imaginary[i])) * reflect.sqrt() * (-1.3 * r).exp();
        ((20.0 * (amplitude / 12.0 + 1e-6).log10() + 52.0) / 52.0).clamp(0.0, 1.0).powf(1.35)
    };
    let polar: Vec<f32> = (0..ranges * angles).map(echo).collect();
    let (w, h) = (width_px as f32, height_px as f32);
    let mut pixels = Vec::with_capacity(width_px as usize * height_px as usize);
    for y in 0..height_px {
        for x in 0..width_px {
            let (dx, dy) = (x as f32 - w / 2.0, y as f32 + 0.1 * h);
            let range = (dx.hypot(dy) / (h / 768.0) - 120.0) / 700.0 * (ranges - 1) as f32;
            let angle = (dx.atan2(dy) / 33f32.to_radians() + 1.0) / 2.0 * (angles - 1) as f32;
            pixels.push((sampled(&polar, angles, range, angle) * 255.0).round() as u8);
        }
    }
    GrayFrame { width_px, height_px, pixels, ..GrayFrame::default() }
}

fn reflectivity(r: f32, a: f32) -> f32 {
    let inside = |rc: f32, ac: f32, rr: f32, ra: f32| ((r - rc) / rr).hypot((a - ac) / ra) < 1.0;
    let tissue = 0.5 + 0.4 * (9.0 * r + 3.0 * a).sin() * (7.0 * a - 4.0 * r).cos();
    let capsule = 40.0 * (-((r - 0.78 - 0.03 * (3.0 * a).cos()) / 0.005).powi(2)).exp();
    match () {
        () if inside(0.45, 0.05, 0.16, 0.30) => 0.03,
        () if inside(0.30, -0.55, 0.07, 0.13) => 0.0008,
        () if (a - 0.6).abs() < 0.07 && r > 0.5 => 0.02,
        () => tissue.max(0.02) * (1.0 + capsule),
    }
}

/// Mean over a square of `2 * radius + 1`, separable; white noise keeps its strength.
fn blurred(field: &[f32], width: usize, radius: usize) -> Vec<f32> {
    let height = field.len() / width;
    let pass = |from: &[f32], across: bool| -> Vec<f32> {
        (0..from.len())
            .map(|i| {
                let (x, y) = (i % width, i / width);
                let (at, size) = if across { (x, width) } else { (y, height) };
                let range = at.saturating_sub(radius)..(at + radius + 1).min(size);
                let count = range.len() as f32;
                let value = |k: usize| {
                    if across { from[y * width + k] } else { from[k * width + x] }
                };
                range.map(value).sum::<f32>() / count.sqrt()
            })
            .collect()
    };
    pass(&pass(field, true), false)
}

/// Bilinear, 0 outside.
fn sampled(field: &[f32], width: usize, row: f32, column: f32) -> f32 {
    let height = field.len() / width;
    if row < 0.0 || column < 0.0 || row >= (height - 1) as f32 || column >= (width - 1) as f32 {
        return 0.0;
    }
    let (y, x) = (row as usize, column as usize);
    let (fy, fx) = (row - y as f32, column - x as f32);
    let at = |dy: usize, dx: usize| field[(y + dy) * width + x + dx];
    let (top, bottom) =
        (at(0, 0) * (1.0 - fx) + at(0, 1) * fx, at(1, 0) * (1.0 - fx) + at(1, 1) * fx);
    top * (1.0 - fy) + bottom * fy
}

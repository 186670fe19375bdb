//! A scan decoded line by line (ISO/IEC 14495-1, annexes A and B).
//!
//! Every sample is predicted from its neighbours `a` (left), `b` (above), `c` (above left) and `d` (above
//! right). What the prediction misses is coded by what the gradients around it have brought so far; where
//! there are none, a run is counted.

use super::bits::Bits;
use super::preset::Parameters;

/// Contexts of gradients: 9 x 9 x 9 signs and sizes, each with its mirror image.
const CONTEXTS: usize = 365;
/// Bounds of what corrects a prediction.
const CORRECTION: (i32, i32) = (-128, 127);
/// Bits that tell the length of a run after so many that went on (J).
const RUN_BITS: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];

/// Samples of a line of one component between a sample at either end that only predicts.
pub(super) type Line = Vec<u16>;

/// What the errors in the places of one kind were like.
#[derive(Clone, Copy)]
struct Context {
    /// Sum of the sizes of errors (A).
    size: u32,
    /// How many (N), at least 1.
    count: u32,
    /// Their sum less what corrects it (B).
    bias: i32,
    /// The correction (C).
    correction: i32,
}

/// The same where a run ends.
#[derive(Clone, Copy)]
struct RunContext {
    size: u32,
    count: u32,
    /// How many were negative (Nn).
    negative: u32,
}

/// The state of a decoder between two restarts.
pub(super) struct Scan<'a> {
    bits: Bits<'a>,
    own: Parameters,
    /// Distance of two values that are told apart, 2 NEAR + 1.
    step: i32,
    /// The class of a gradient (-4 to 4), from the lowest on.
    classes: &'a [i8],
    contexts: [Context; CONTEXTS],
    runs: [RunContext; 2],
    /// How far runs have gone on, for each component.
    grown: Vec<usize>,
}

/// The class of every gradient between two samples, from `-largest` on.
pub(super) fn gradient_classes(own: &Parameters) -> Vec<i8> {
    let [low, middle, high] = own.thresholds;
    let class = |gradient: i32| {
        let size = gradient.abs();
        let class =
            [own.near + 1, low, middle, high].iter().filter(|&&bound| size >= bound).count();
        class as i8 * gradient.signum() as i8
    };
    (-own.largest..=own.largest).map(class).collect()
}

/// The fewest bits into which an average error of `size / count` fits.
#[inline]
fn code_bits(size: u32, count: u32) -> u32 {
    let mut k = 0;
    while u64::from(count) << k < u64::from(size) {
        k += 1;
    }
    k
}

impl<'a> Scan<'a> {
    /// Of the bytes up to the next marker, for so many components; `classes` are those of
    /// [`gradient_classes`].
    pub(super) fn new(
        bytes: &'a [u8],
        own: Parameters,
        classes: &'a [i8],
        components: usize,
    ) -> Self {
        let size = ((own.range + 32) / 64).max(2) as u32;
        Self {
            bits: Bits::new(bytes),
            own,
            step: 2 * own.near + 1,
            classes,
            contexts: [Context { size, count: 1, bias: 0, correction: 0 }; CONTEXTS],
            runs: [RunContext { size, count: 1, negative: 0 }; 2],
            grown: vec![0; components],
        }
    }

    /// Bits that were not needed.
    pub(super) fn left(&self) -> usize {
        self.bits.left()
    }

    /// Decodes a line of component `which` below `above`; `None` where the bits end or make no sense.
    pub(super) fn line(&mut self, which: usize, above: &mut Line, line: &mut Line) -> Option<()> {
        let end = prepare(above, line)?;
        // The same length for both lets the compiler leave checks out.
        let (above, line) = (above.get(..end + 1)?, line.get_mut(..end + 1)?);
        let mut at = 1;
        while at < end {
            let [a, b, c] = [line[at - 1], above[at], above[at - 1]].map(i32::from);
            let class = self.class(a, b, c, above[at + 1].into());
            if class != 0 {
                line[at] = self.regular(class, a, b, c)?;
                at += 1;
                continue;
            }
            let (length, interrupted) = self.run(end - at, which)?;
            line[at..at + length].fill(a as u16);
            at += length;
            if interrupted {
                line[at] = self.after_run(a, above[at].into(), which, false)?;
                self.grown[which] = self.grown[which].saturating_sub(1);
                at += 1;
            }
        }
        Some(())
    }

    /// Decodes a line of all components pixel by pixel: runs are those of all of them.
    pub(super) fn pixels(&mut self, above: &mut [Line], lines: &mut [Line]) -> Option<()> {
        let mut end = 0;
        for (above, line) in above.iter_mut().zip(lines.iter_mut()) {
            end = prepare(above, line)?;
        }
        let mut at = 1;
        while at < end {
            let around = |above: &Line, line: &Line| {
                [line[at - 1], above[at], above[at - 1], above[at + 1]].map(i32::from)
            };
            let mut classes = [0; super::MOST_COMPONENTS];
            for (class, (above, line)) in classes.iter_mut().zip(above.iter().zip(lines.iter())) {
                let [a, b, c, d] = around(above, line);
                *class = self.class(a, b, c, d);
            }
            if classes.iter().any(|&class| class != 0) {
                for (class, (above, line)) in classes.iter().zip(above.iter().zip(lines.iter_mut()))
                {
                    let [a, b, c, _] = around(above, line);
                    line[at] = self.regular(*class, a, b, c)?;
                }
                at += 1;
                continue;
            }
            let (length, interrupted) = self.run(end - at, 0)?;
            for line in lines.iter_mut() {
                let a = line[at - 1];
                line[at..at + length].fill(a);
            }
            at += length;
            if interrupted {
                for (above, line) in above.iter().zip(lines.iter_mut()) {
                    line[at] = self.after_run(line[at - 1].into(), above[at].into(), 0, true)?;
                }
                self.grown[0] = self.grown[0].saturating_sub(1);
                at += 1;
            }
        }
        Some(())
    }

    /// The context of the gradients around a sample, -364 to 364; 0 where there are none.
    #[inline]
    fn class(&self, a: i32, b: i32, c: i32, d: i32) -> i32 {
        let class = |gradient: i32| {
            let class = self.classes.get((gradient + self.own.largest) as usize);
            i32::from(class.copied().unwrap_or(0))
        };
        81 * class(d - b) + 9 * class(b - c) + class(c - a)
    }

    /// A sample in a context (A.4 to A.6).
    #[inline]
    fn regular(&mut self, class: i32, a: i32, b: i32, c: i32) -> Option<u16> {
        let sign = if class < 0 { -1 } else { 1 };
        let (own, context) = (self.own, self.contexts.get_mut(class.unsigned_abs() as usize)?);
        let (low, high) = (a.min(b), a.max(b));
        let predicted = if c >= high {
            low
        } else if c <= low {
            high
        } else {
            a + b - c
        };
        let predicted = (predicted + sign * context.correction).clamp(0, own.largest);
        let k = code_bits(context.size, context.count);
        let code = self.bits.golomb(k, own.limit, own.wide)?;
        let mut error = (code >> 1) ^ -(code & 1);
        if own.near == 0 && k == 0 && 2 * context.bias <= -(context.count as i32) {
            error = !error;
        }
        if error.abs() > own.range {
            return None;
        }
        context.add(error, self.step, own.reset);
        Some(self.sample(predicted, sign * error))
    }

    /// How many samples, of `most`, repeat the one before, and whether another one ends them (A.7.1).
    fn run(&mut self, most: usize, which: usize) -> Option<(usize, bool)> {
        let mut length = 0;
        while self.bits.take(1)? == 1 {
            let grown = self.grown[which];
            let whole = 1 << RUN_BITS[grown];
            if length + whole <= most {
                length += whole;
                self.grown[which] = (grown + 1).min(RUN_BITS.len() - 1);
            } else {
                length = most;
            }
            if length == most {
                return Some((length, false));
            }
        }
        length += self.bits.take(RUN_BITS[self.grown[which]])? as usize;
        // The sample that ends it lies in the line, too.
        (length < most).then_some((length, true))
    }

    /// The sample that ends a run (A.7.2); with all components in a pixel it counts as unlike its
    /// neighbours.
    fn after_run(&mut self, a: i32, b: i32, which: usize, unlike: bool) -> Option<u16> {
        let own = self.own;
        let alike = !unlike && (a - b).abs() <= own.near;
        let kind = u32::from(alike);
        let context = &mut self.runs[kind as usize];
        let size = context.size + if alike { context.count >> 1 } else { 0 };
        let k = code_bits(size, context.count);
        let limit = own.limit - RUN_BITS[self.grown[which]] - 1;
        let code = self.bits.golomb(k, limit, own.wide)? as u32;
        // The lowest bit says by which of the two signs it is, of which the likelier has the 0.
        let (size, low) = ((code + kind).div_ceil(2), (code + kind) & 1 == 1);
        let positive_is_odd = k == 0 && 2 * context.negative < context.count;
        let error = if low == positive_is_odd { size as i32 } else { -(size as i32) };
        if size > own.range as u32 {
            return None;
        }
        context.negative += u32::from(error < 0);
        context.size = context.size.saturating_add((code + 1 - kind) >> 1);
        if context.count == own.reset {
            context.size >>= 1;
            context.count >>= 1;
            context.negative >>= 1;
        }
        context.count += 1;
        let sign = if !alike && a > b { -1 } else { 1 };
        Some(self.sample(if alike { a } else { b }, sign * error))
    }

    /// The sample at an error from its prediction; errors go round (A.4.5).
    #[inline]
    fn sample(&self, predicted: i32, error: i32) -> u16 {
        let own = &self.own;
        let mut value = predicted + error * self.step;
        if value < -own.near {
            value += own.range * self.step;
        } else if value > own.largest + own.near {
            value -= own.range * self.step;
        }
        value.clamp(0, own.largest) as u16
    }
}

impl Context {
    #[inline]
    fn add(&mut self, error: i32, step: i32, reset: u32) {
        self.size = self.size.saturating_add(error.unsigned_abs());
        self.bias += error * step;
        if self.count == reset {
            self.size >>= 1;
            self.bias >>= 1;
            self.count >>= 1;
        }
        self.count += 1;
        let count = self.count as i32;
        if self.bias <= -count {
            self.bias = (self.bias + count).max(1 - count);
            self.correction = (self.correction - 1).max(CORRECTION.0);
        } else if self.bias > 0 {
            self.bias = (self.bias - count).min(0);
            self.correction = (self.correction + 1).min(CORRECTION.1);
        }
    }
}

/// Gives both lines the samples at their ends and says where the last one stands.
fn prepare(above: &mut Line, line: &mut Line) -> Option<usize> {
    let end = above.len().checked_sub(1).filter(|&end| end > 1 && line.len() == end + 1)?;
    above[end] = above[end - 1];
    line[0] = above[1];
    Some(end)
}

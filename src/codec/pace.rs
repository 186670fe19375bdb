//! When the frames of a clip are shown, where that is not at a constant rate.

/// Times from the first frame and their mean step, ms; `None` where they keep a constant rate to
/// `slack_ms`, or do not ascend.
pub(super) fn uneven(times_ms: &[f64], slack_ms: f64) -> Option<(Vec<f64>, f64)> {
    let (first, last) = (times_ms.first()?, times_ms.last()?);
    let steps = times_ms.len() - 1;
    let times: Vec<f64> = times_ms.iter().map(|time| time - first).collect();
    let ascend = times.windows(2).all(|pair| pair[1] > pair[0]);
    let mean = (last - first) / steps.max(1) as f64;
    let off = |(at, time): (usize, &f64)| (time - mean * at as f64).abs() > slack_ms;
    (ascend && mean.is_finite() && times.iter().enumerate().any(off)).then_some((times, mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_stamps_keep_a_rate_and_gaps_do_not() {
        assert_eq!(uneven(&[0.0, 33.0, 67.0, 100.0], 1.0), None);
        assert_eq!(uneven(&[5.0, 38.0, 105.0], 1.0), Some((vec![0.0, 33.0, 100.0], 50.0)));
        for bad in [&[][..], &[1.0], &[0.0, 50.0, 40.0], &[0.0, f64::NAN, 3.0]] {
            assert_eq!(uneven(bad, 1.0), None, "{bad:?}");
        }
    }
}

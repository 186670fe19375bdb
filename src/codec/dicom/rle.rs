//! RLE of DICOM (PS3.5 annex G): PackBits segments, one per byte of a sample.

use super::frames::Shape;

/// RLE (PS3.5 annex G) to planes of little-endian samples.
pub(super) fn unpack(bytes: &[u8], shape: &Shape) -> Result<Vec<u8>, String> {
    let (count, width) = (shape.pixels(), shape.sample_bytes());
    let segments = shape.samples_per_pixel() * width;
    let number = |i: usize| -> Option<usize> {
        let raw = bytes.get(i * 4..i * 4 + 4)?;
        Some(u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]) as usize)
    };
    if number(0) != Some(segments) || bytes.len() < 64 {
        return Err(format!("its RLE header does not name {segments} segments"));
    }
    // Two bytes unpack to 128 at best: less than that cannot fill the frame, so nothing is
    // allocated for it.
    if bytes.len() * 64 < count * segments {
        return Err("it is too short for the declared size".to_owned());
    }
    let mut out = vec![0; count * segments];
    for segment in 0..segments {
        let start = number(segment + 1).unwrap_or(usize::MAX);
        let end =
            if segment + 1 < segments { number(segment + 2).unwrap_or(0) } else { bytes.len() };
        let packed = bytes.get(start..end).ok_or("its RLE segments lie beyond its end")?;
        let (sample, byte) = (segment / width, segment % width);
        // Segments come with the high byte first.
        let at = |i: usize| (sample * count + i) * width + (width - 1 - byte);
        unpack_bits(packed, count, |i, value| out[at(i)] = value)?;
    }
    Ok(out)
}

fn unpack_bits(packed: &[u8], count: usize, mut put: impl FnMut(usize, u8)) -> Result<(), String> {
    let short = || "an RLE segment is too short".to_owned();
    let (mut at, mut done) = (0, 0);
    while done < count {
        let control = *packed.get(at).ok_or_else(short)?;
        at += 1;
        match control {
            0..=127 => {
                let length = usize::from(control) + 1;
                let run = packed.get(at..at + length).ok_or_else(short)?;
                for &value in run.iter().take(count - done) {
                    put(done, value);
                    done += 1;
                }
                at += length;
            }
            128 => {}
            129..=255 => {
                let value = *packed.get(at).ok_or_else(short)?;
                at += 1;
                for _ in 0..(257 - usize::from(control)).min(count - done) {
                    put(done, value);
                    done += 1;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packed: &[u8], count: usize) -> Result<Vec<u8>, String> {
        let mut out = vec![0; count];
        unpack_bits(packed, count, |i, value| out[i] = value)?;
        Ok(out)
    }

    #[test]
    fn runs_and_literals_alternate() {
        // Three literals, 128 does nothing, a run of four.
        assert_eq!(unpacked(&[2, 7, 8, 9, 128, 253, 5], 7), Ok(vec![7, 8, 9, 5, 5, 5, 5]));
        // A run longer than the image is cut, one too short is refused.
        assert_eq!(unpacked(&[253, 5], 2), Ok(vec![5, 5]));
        assert!(unpacked(&[253, 5], 9).is_err() && unpacked(&[3, 1], 4).is_err());
    }
}

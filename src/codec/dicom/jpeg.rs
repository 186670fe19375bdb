//! What a JPEG frame says of itself that its decoder does not heed.
//!
//! What decides whether this file is right: a JFIF or Adobe marker says what three components are, else the DICOM header
//! does; the decoder goes by the names of the components before anything else, so they get the names that make it do the
//! same. Of lossless frames it takes whatever it does not know for what it knows, so they are looked at first.

/// The names by which the decoder knows colours that are stored as such, and luma with two chromas.
const RGB: [u8; 3] = *b"RGB";
const YCBCR: [u8; 3] = [1, 2, 3];

/// Gives the components of a JPEG of three the names of what they are; `declared_rgb` is what the DICOM header says.
pub(super) fn settle_colours(jpeg: &mut [u8], declared_rgb: bool) {
    let (mut jfif, mut adobe) = (false, None);
    each_segment(jpeg, |marker, segment| match marker {
        0xe0 => jfif |= segment.starts_with(b"JFIF\0"),
        0xee if segment.starts_with(b"Adobe") => adobe = segment.get(11).copied(),
        _ => {}
    });
    let rgb = match adobe {
        _ if jfif => false,
        Some(transform) => transform == 0,
        None => declared_rgb,
    };
    let names = if rgb { RGB } else { YCBCR };
    let mut old = Vec::new();
    each_segment(jpeg, |marker, segment| {
        let named: Vec<usize> = match marker {
            // Precision, two sizes and a count before three bytes for each component.
            0xc0..=0xc2 => (6..segment.len()).step_by(3).collect(),
            // A count before two bytes for each component, and three bytes behind them.
            0xda => (1..segment.len().saturating_sub(3)).step_by(2).collect(),
            _ => return,
        };
        if marker != 0xda {
            old = named.iter().map(|&at| segment[at]).collect();
        }
        for at in named {
            let which = old.iter().position(|name| *name == segment[at]);
            if let Some(name) = which.and_then(|which| names.get(which)) {
                segment[at] = *name;
            }
        }
    });
}

/// Whether a lossless frame has components of one size, no restart marks and no point transform: all that its decoder
/// decodes as it should.
pub(super) fn is_plain(jpeg: &mut [u8]) -> bool {
    let mut plain = true;
    each_segment(jpeg, |marker, segment| match marker {
        0xc3 => {
            let mut sizes = segment.iter().skip(7).step_by(3);
            plain &= segment.get(5) == Some(&1) || sizes.all(|size| *size == 0x11);
        }
        0xda => plain &= segment.last().is_some_and(|last| last & 0x0f == 0),
        0xdd => plain &= segment.iter().all(|byte| *byte == 0),
        _ => {}
    });
    plain
}

/// Shows every segment without its marker and length, up to where the bytes make no sense.
fn each_segment(jpeg: &mut [u8], mut see: impl FnMut(u8, &mut [u8])) {
    let mut at = 2usize;
    while let Some(&[0xff, marker]) = jpeg.get(at..at + 2) {
        if marker == 0xff {
            at += 1;
            continue;
        }
        if matches!(marker, 0x01 | 0xd0..=0xd9) {
            at += 2;
            continue;
        }
        let Some(&[high, low]) = jpeg.get(at + 2..at + 4) else { return };
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        let Some(segment) = jpeg.get_mut(at + 4..end) else { return };
        see(marker, segment);
        at = end;
        if marker == 0xda {
            // Coded data: zeros follow its own 0xff, and restart markers belong to it.
            let rest = jpeg[at..].windows(2);
            let coded = |pair: &[u8]| pair[0] != 0xff || matches!(pair[1], 0 | 0xd0..=0xd7);
            at += rest.take_while(|pair| coded(pair)).count();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame header and two scans, of the first component and of the others.
    fn stream(app: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8];
        bytes.extend(app);
        bytes.extend([0xff, 0xc0, 0, 17, 8, 0, 2, 0, 2, 3, 0, 0x11, 0, 1, 0x11, 0, 7, 0x11, 0]);
        bytes.extend([0xff, 0xda, 0, 8, 1, 0, 0, 0, 63, 0, 9, 0xff, 0, 0xff, 0xd0, 9]);
        bytes.extend([0xff, 0xda, 0, 10, 2, 1, 0, 7, 0, 0, 63, 0, 5, 0xff, 0xd9]);
        bytes
    }

    fn names(jpeg: &mut [u8], declared_rgb: bool) -> (Vec<u8>, Vec<u8>) {
        settle_colours(jpeg, declared_rgb);
        let (mut frame, mut scans) = (Vec::new(), Vec::new());
        each_segment(jpeg, |marker, segment| match marker {
            0xc0 => frame = vec![segment[6], segment[9], segment[12]],
            0xda => scans.extend(segment[1..segment.len() - 3].iter().step_by(2)),
            _ => {}
        });
        (frame, scans)
    }

    #[test]
    fn markers_say_what_the_components_are_and_without_them_the_header_does() {
        let jfif = [&[0xff, 0xe0, 0, 16][..], b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"].concat();
        let adobe = |how| [&[0xff, 0xee, 0, 14][..], b"Adobe\0\x64\0\0\0\0", &[how]].concat();
        let cases = [
            (vec![], true, RGB),
            (vec![], false, YCBCR),
            (jfif, true, YCBCR),
            (adobe(0), false, RGB),
            (adobe(1), true, YCBCR),
        ];
        for (app, declared_rgb, wanted) in cases {
            let found = names(&mut stream(&app), declared_rgb);
            assert_eq!(found, (wanted.to_vec(), wanted.to_vec()), "{app:?}");
        }
        // Whatever the bytes, nothing but names changes, and nothing panics.
        let whole = stream(&[]);
        for cut in 0..whole.len() {
            settle_colours(&mut whole[..cut].to_vec(), true);
            is_plain(&mut whole[..cut].to_vec());
        }
    }

    #[test]
    fn lossless_frames_that_the_decoder_takes_for_others_are_told_apart() {
        let lossless = |size: u8, interval: u8, transform: u8| {
            let mut bytes = vec![0xff, 0xd8, 0xff, 0xc3, 0, 17, 8, 0, 2, 0, 2, 3];
            bytes.extend([1, size, 0, 2, 0x11, 0, 3, 0x11, 0, 0xff, 0xdd, 0, 4, 0, interval]);
            bytes.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 1, 0, transform, 0xff, 0xd9]);
            bytes
        };
        let plain = |size, interval, transform| is_plain(&mut lossless(size, interval, transform));
        assert!(plain(0x11, 0, 0));
        assert!(!plain(0x12, 0, 0) && !plain(0x11, 8, 0) && !plain(0x11, 0, 2));
    }
}

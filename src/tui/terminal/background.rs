//! What the terminal says of the colour of its background.

/// How the answer begins, behind its escape.
const BEGINNING: &[u8] = b"]11;rgb";

/// Whether a string of the terminal is about its background.
pub(super) fn is_said(text: &[u8]) -> bool {
    text.starts_with(BEGINNING)
}

/// Whether `]11;rgb:RRRR/GGGG/BBBB` (one to four digits each; an escape may stand behind) is a light colour; `None` where it is
/// none.
pub(super) fn is_light(text: &[u8]) -> Option<bool> {
    let (_, colour) = std::str::from_utf8(text).ok()?.trim_end_matches('\u{1b}').split_once(':')?;
    let share = |part: &str| {
        let most = 16f32.powi(part.len() as i32) - 1.0;
        u16::from_str_radix(part, 16).ok().map(|value| f32::from(value) / most)
    };
    let mut shares = colour.split('/').map(share);
    let (red, green, blue) = (shares.next()??, shares.next()??, shares.next()??);
    Some(0.299 * red + 0.587 * green + 0.114 * blue > 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_light_background_is_told_from_a_dark_one() {
        let light = |colour: &str| is_light(format!("]11;{colour}").as_bytes());
        for white in ["rgb:ffff/ffff/ffff\u{1b}", "rgb:f/f/e", "rgba:fd/f6/e3/ff"] {
            assert_eq!(light(white), Some(true), "{white:?}");
        }
        for dark in ["rgb:0000/2b2b/3636\u{1b}", "rgb:0/0/0"] {
            assert_eq!(light(dark), Some(false), "{dark:?}");
        }
        for none in ["rgb:ffff", "rgb:x/y/z", "rgb:fffff/0/0", "rgb"] {
            assert_eq!(light(none), None, "{none:?}");
        }
        assert!(is_said(b"]11;rgb:0/0/0") && !is_said(b"]10;rgb:0/0/0"));
    }
}

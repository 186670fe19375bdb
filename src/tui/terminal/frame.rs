//! The bytes of one frame. Pure.

use super::{Capabilities, tmux};
use crate::tui::graphics::PlacedSixel;

/// One frame: text, then pictures at their cells, the cursor back where the text left it.
pub(super) fn frame_bytes(
    text: &[u8],
    sixels: &[PlacedSixel],
    capabilities: &Capabilities,
) -> Vec<u8> {
    let pictures: usize = sixels.iter().map(|sixel| sixel.bytes.len() + 16).sum();
    let mut frame = Vec::with_capacity(text.len() + pictures + 64);
    frame.extend_from_slice(b"\x1b[?2026h");
    frame.extend_from_slice(text);
    if !sixels.is_empty() {
        frame.extend_from_slice(b"\x1b7");
        for sixel in sixels {
            match capabilities.passthrough {
                // tmux leaves the real cursor where it is, so the place goes through as well.
                Some(corner) => tmux::wrap(&placed(sixel, corner), &mut frame),
                None => frame.extend_from_slice(&placed(sixel, (0, 0))),
            }
        }
        frame.extend_from_slice(b"\x1b8");
    }
    frame.extend_from_slice(b"\x1b[?2026l");
    if capabilities.fence {
        frame.extend_from_slice(b"\x1b[5n");
    }
    frame
}

/// A picture at its cell, counted from a corner of the terminal.
fn placed(sixel: &PlacedSixel, (left, top): (u16, u16)) -> Vec<u8> {
    let row = u32::from(sixel.row) + u32::from(top) + 1;
    let column = u32::from(sixel.column) + u32::from(left) + 1;
    let mut bytes = format!("\x1b[{row};{column}H").into_bytes();
    bytes.extend_from_slice(&sixel.bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sixel() -> PlacedSixel {
        PlacedSixel { column: 4, row: 2, bytes: b"\x1bPq~\x1b\\".to_vec() }
    }

    #[test]
    fn a_frame_is_one_synchronised_write_with_the_cursor_kept() {
        let mut capabilities = Capabilities::unknown(false);
        capabilities.fence = true;
        let frame = frame_bytes(b"text", &[sixel()], &capabilities);
        let wanted = b"\x1b[?2026htext\x1b7\x1b[3;5H\x1bPq~\x1b\\\x1b8\x1b[?2026l\x1b[5n";
        assert_eq!(frame, wanted, "{}", frame.escape_ascii());
    }

    #[test]
    fn tmux_gets_doubled_escapes_and_the_place_on_the_real_terminal() {
        let mut capabilities = Capabilities::unknown(true);
        capabilities.passthrough = Some((81, 1));
        let frame = frame_bytes(b"", &[sixel()], &capabilities);
        let wrapped = b"\x1b7\x1bPtmux;\x1b\x1b[4;86H\x1b\x1bPq~\x1b\x1b\\\x1b\\\x1b8";
        assert!(
            frame.windows(wrapped.len()).any(|part| part == wrapped),
            "{}",
            frame.escape_ascii()
        );
    }
}

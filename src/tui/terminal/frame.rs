//! The bytes of one frame. Pure.

use super::Capabilities;
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
            let place =
                format!("\x1b[{};{}H", u32::from(sixel.row) + 1, u32::from(sixel.column) + 1);
            frame.extend_from_slice(place.as_bytes());
            if capabilities.passthrough {
                wrap_for_tmux(&sixel.bytes, &mut frame);
            } else {
                frame.extend_from_slice(&sixel.bytes);
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

/// `ESC P tmux ;` with every escape doubled: tmux hands the inside on.
fn wrap_for_tmux(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1bPtmux;");
    for &byte in bytes {
        if byte == 0x1b {
            out.push(byte);
        }
        out.push(byte);
    }
    out.extend_from_slice(b"\x1b\\");
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
    fn tmux_gets_doubled_escapes() {
        let mut capabilities = Capabilities::unknown(true);
        capabilities.passthrough = true;
        let frame = frame_bytes(b"", &[sixel()], &capabilities);
        let wrapped = b"\x1b[3;5H\x1bPtmux;\x1b\x1bPq~\x1b\x1b\\\x1b\\\x1b8";
        assert!(
            frame.windows(wrapped.len()).any(|part| part == wrapped),
            "{}",
            frame.escape_ascii()
        );
    }
}

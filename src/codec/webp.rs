//! The parts of a WebP: its size, and the moments of an animation.
//!
//! A moment is drawn over what the ones before it left, so a decoder is given a scene: the moments from one that
//! covers everything up to the next such one, and goes through it (`moving.rs`).

use std::ops::Range;

use super::limits::MAX_FRAMES;

/// Bits of the flags of a moment: the picture replaces what is there instead of being blended in.
const REPLACES: u8 = 0b10;

/// An animation.
pub(super) struct Animation {
    /// The chunks before its first moment.
    head: Range<usize>,
    moments: Vec<Moment>,
}

struct Moment {
    chunk: Range<usize>,
    shown_ms: u32,
    /// Nothing of the moments before is seen.
    alone: bool,
    /// Its picture is compressed with loss.
    lossy: bool,
}

/// What a picture begins with that is compressed with loss: its pixels, or a plane of alpha in front of them, which
/// others have in themselves.
const LOSSY: [&[u8; 4]; 2] = [b"VP8 ", b"ALPH"];

/// Whether the bytes begin like a WebP.
pub(super) fn is_webp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP")
}

/// Whether its picture is compressed with loss, as far as the first bytes tell.
pub(super) fn is_lossy(head: &[u8]) -> bool {
    is_webp(head) && head.windows(4).any(|name| LOSSY.iter().any(|lossy| name == *lossy))
}

/// Columns and rows, from the first bytes.
pub(super) fn size_of(head: &[u8]) -> Option<(u32, u32)> {
    let content = head.get(20..)?;
    match head.get(12..16)? {
        b"VP8X" => Some((three(content, 4)? + 1, three(content, 7)? + 1)),
        b"VP8L" => {
            let bits = u32::from_le_bytes(content.get(1..5)?.try_into().ok()?);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        // A frame tag of three bytes and a start code come first.
        b"VP8 " => {
            let side = |at: usize| Some((three(content, at)? & 0x3fff, at));
            Some((side(6)?.0, side(8)?.0))
        }
        _ => None,
    }
}

/// Three bytes, the lowest first; two where the content ends there.
fn three(bytes: &[u8], at: usize) -> Option<u32> {
    let low = bytes.get(at..at + 2)?;
    let high = bytes.get(at + 2).copied().unwrap_or(0);
    Some(u32::from_le_bytes([low[0], low[1], high, 0]))
}

/// The name and the content of a chunk, and where the next one begins.
fn chunk(bytes: &[u8], at: usize) -> Option<(&[u8], Range<usize>, usize)> {
    let head = bytes.get(at..at + 8)?;
    let length = u32::from_le_bytes(head[4..].try_into().ok()?) as usize;
    let end = (at + 8).checked_add(length)?;
    bytes.get(at + 8..end)?;
    Some((&head[..4], at + 8..end, end + length % 2))
}

impl Animation {
    /// The moments of an animation; `None` for a still.
    ///
    /// # Errors
    /// What contradicts itself.
    pub(super) fn of(bytes: &[u8]) -> Result<Option<Self>, String> {
        if !is_webp(bytes) || bytes.get(12..16) != Some(b"VP8X") {
            return Ok(None);
        }
        let size = size_of(bytes).ok_or("its header is cut off")?;
        let (mut at, mut first, mut moments) = (12, None, Vec::new());
        // Programs that write into a pipe leave the length open; others declare too little. What stands behind the declared
        // end and is no chunk is no part of it.
        let declared = match u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) {
            0 => bytes.len(),
            length => (length as usize).saturating_add(8),
        };
        while at < declared.max(bytes.len()) {
            let Some((name, content, next)) = chunk(bytes, at) else {
                let begun = bytes.get(at..).is_some_and(|rest| rest.starts_with(b"ANMF"));
                if at < declared || begun {
                    return Err("a chunk reaches beyond its end".to_owned());
                }
                break;
            };
            if name == b"ANMF" {
                first.get_or_insert(at);
                let told = bytes.get(content).ok_or("a chunk reaches beyond its end")?;
                let moment = Moment::of(told, size, at..next.min(bytes.len()));
                moments.push(moment.ok_or("one of its moments is cut off")?);
            }
            if moments.len() > MAX_FRAMES {
                return Err(format!("it has more than {MAX_FRAMES} moments"));
            }
            at = next;
        }
        Ok(first.map(|first| Self { head: 12..first, moments }))
    }

    pub(super) fn len(&self) -> usize {
        self.moments.len()
    }

    /// Whether one of its moments is compressed with loss.
    pub(super) fn is_lossy(&self) -> bool {
        self.moments.iter().any(|moment| moment.lossy)
    }

    /// When each moment begins, ms; nothing where one of them takes no time.
    pub(super) fn times_ms(&self) -> Vec<f64> {
        if self.moments.iter().any(|moment| moment.shown_ms == 0) {
            return Vec::new();
        }
        let begin = |now: &mut f64, moment: &Moment| {
            let begun = *now;
            *now += f64::from(moment.shown_ms);
            Some(begun)
        };
        self.moments.iter().scan(0.0, begin).collect()
    }

    /// The scene of a moment below [`Animation::len`]: nothing of the moments before is seen in its first one.
    pub(super) fn scene_of(&self, index: usize) -> Range<usize> {
        let begun = self.moments[..=index].iter().rposition(|moment| moment.alone).unwrap_or(0);
        let ended = self.moments[index + 1..].iter().position(|moment| moment.alone);
        begun..ended.map_or(self.len(), |ended| index + 1 + ended)
    }

    /// An animation of the moments of a scene alone. `bytes` are those of the whole; `None` when they are no longer the
    /// same.
    pub(super) fn part(&self, bytes: &[u8], scene: Range<usize>) -> Option<Vec<u8>> {
        let mut out = b"RIFF\0\0\0\0WEBP".to_vec();
        out.extend(bytes.get(self.head.clone())?);
        for moment in &self.moments[scene] {
            out.extend(bytes.get(moment.chunk.clone())?);
            // The last one may lack its padding.
            out.resize(out.len().next_multiple_of(2), 0);
        }
        let length = u32::try_from(out.len() - 8).ok()?;
        out[4..8].copy_from_slice(&length.to_le_bytes());
        Some(out)
    }
}

impl Moment {
    /// From the content of its chunk.
    fn of(told: &[u8], whole: (u32, u32), chunk: Range<usize>) -> Option<Self> {
        let flags = *told.get(15)?;
        let covers = three(told, 0)? == 0
            && three(told, 3)? == 0
            && (three(told, 6)? + 1, three(told, 9)? + 1) == whole;
        let name = told.get(16..20)?;
        // Without a plane of its own in front of it, a lossy picture is opaque.
        let alone = covers && (name == b"VP8 " || flags & REPLACES != 0);
        let lossy = LOSSY.iter().any(|lossy| name == *lossy);
        Some(Self { chunk, shown_ms: three(told, 12)?, alone, lossy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk_of(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut out = [&name[..], &(content.len() as u32).to_le_bytes()[..], content].concat();
        out.resize(out.len().next_multiple_of(2), 0);
        out
    }

    /// A moment of 3 x 2 pixels, or of one of them.
    fn moment(whole: bool, flags: u8, ms: u8) -> Vec<u8> {
        let size = if whole { [2, 0, 0, 1, 0, 0] } else { [0; 6] };
        let content = [&[0; 6][..], &size, &[ms, 0, 0, flags], &chunk_of(b"VP8L", b"x")].concat();
        chunk_of(b"ANMF", &content)
    }

    #[test]
    fn a_scene_begins_where_nothing_before_is_seen() {
        let mut bytes = b"RIFF\0\0\0\0WEBP".to_vec();
        bytes.extend(chunk_of(b"VP8X", &[2, 0, 0, 0, 2, 0, 0, 1, 0, 0]));
        bytes.extend(chunk_of(b"ANIM", &[0; 6]));
        for (whole, flags) in [(true, 0), (false, REPLACES), (true, REPLACES), (false, 0)] {
            bytes.extend(moment(whole, flags, 40));
        }
        let length = bytes.len() as u32 - 8;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        let film = Animation::of(&bytes).expect("whole").expect("moves");
        assert_eq!(
            (size_of(&bytes), film.len(), film.times_ms()),
            (Some((3, 2)), 4, vec![0.0, 40.0, 80.0, 120.0])
        );
        assert_eq!([0, 1, 2, 3].map(|index| film.scene_of(index)), [0..2, 0..2, 2..4, 2..4]);
        let given = film.part(&bytes, 2..4).expect("given");
        let part = Animation::of(&given).expect("whole").expect("moves");
        assert_eq!((part.len(), part.scene_of(0)), (2, 0..2));
        // Cut anywhere it is refused, or has fewer moments; nothing panics.
        for cut in 0..bytes.len() {
            let fewer = Animation::of(&bytes[..cut]).ok().flatten();
            assert!(fewer.is_none_or(|film| film.len() < 4), "{cut}");
            size_of(&bytes[..cut]);
        }
        assert!(film.part(&bytes[..60], 2..4).is_none() && !film.is_lossy());
        // A length that was left open, or is too short, costs no moment; of what is cut nothing else is known.
        for declared in [0, 22, length - 9, length - 50] {
            let mut open = [&bytes[..], b"\n"].concat();
            open[4..8].copy_from_slice(&declared.to_le_bytes());
            let end = if declared == 0 { open.len() - 1 } else { open.len() };
            let film = Animation::of(&open[..end]).expect("whole").expect("moves");
            assert_eq!(film.len(), 4, "{declared}");
            assert!(Animation::of(&open[..bytes.len() - 3]).is_err(), "{declared}");
        }
        // One of them with loss, far behind the first bytes.
        let last = bytes.windows(4).rposition(|name| name == b"VP8L").expect("a picture");
        for name in LOSSY {
            bytes[last..last + 4].copy_from_slice(name);
            let film = Animation::of(&bytes).expect("whole").expect("moves");
            assert!(film.is_lossy());
        }
    }
}

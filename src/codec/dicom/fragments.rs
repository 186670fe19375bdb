//! Which fragments of compressed pixel data make up which frame.

use std::path::Path;

use super::input::Input;
use super::reader::DataSet;
use super::tags;
use crate::codec::CodecError;
use crate::domain::counted;

/// The fragments of every frame, each as its place and length: one each, by the offset tables, or by the starts of JPEG
/// streams. The first of `fragments` is the basic offset table.
///
/// # Errors
/// When there are not as many frames as are declared.
pub(super) fn assign(
    path: &Path,
    input: &Input,
    set: &DataSet,
    fragments: &[(u64, u32)],
    frames: usize,
    jpeg: bool,
) -> Result<Vec<Vec<(u64, u32)>>, CodecError> {
    let Some((&(table_at, table_length), data)) = fragments.split_first() else {
        return Err(CodecError::damaged(path, "it holds no compressed frames"));
    };
    if data.len() == frames {
        return Ok(data.iter().map(|&fragment| vec![fragment]).collect());
    }
    if frames == 1 && !data.is_empty() {
        return Ok(vec![data.to_vec()]);
    }
    // A frame begins with a fragment, so no more offsets than these can be of use.
    let useful = (table_length as usize).min(4 * data.len());
    let table = input.bytes_at(table_at, useful).map_err(|e| CodecError::unreadable(path, e))?;
    let basic =
        table.chunks_exact(4).map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    let extended = set.bytes(tags::EXTENDED_OFFSETS).unwrap_or_default().chunks_exact(8);
    let extended = extended.map(|b| b.iter().rev().fold(0, |all, &b| (all << 8) | u64::from(b)));
    let first = table_at + u64::from(table_length);
    // A frame's offset points at the item header, 8 bytes before its first fragment.
    let mut starts: Vec<u64> = basic.chain(extended).map(|o| o.saturating_add(first + 8)).collect();
    if starts.len() != frames && jpeg {
        starts.clear();
        for &(at, _) in data {
            let mut mark = [0u8; 3];
            input.read_at(&mut mark, at).map_err(|e| CodecError::unreadable(path, e))?;
            starts.extend((mark == [0xff, 0xd8, 0xff]).then_some(at));
        }
    }
    // Both may be a million: compared one by one they would cost minutes.
    starts.sort_unstable();
    let mut assigned: Vec<Vec<(u64, u32)>> = Vec::with_capacity(frames.min(data.len()));
    for &fragment in data {
        match assigned.last_mut() {
            Some(frame) if starts.binary_search(&fragment.0).is_err() => frame.push(fragment),
            _ => assigned.push(vec![fragment]),
        }
    }
    if assigned.len() != frames {
        let cause =
            format!("it declares {} and holds {}", counted(frames, "frame"), assigned.len());
        return Err(CodecError::damaged(path, cause));
    }
    Ok(assigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared one by one, these take many minutes.
    #[test]
    fn many_fragments_of_many_frames_are_assigned_at_once() {
        const FRAMES: usize = 900_000;
        // Two empty fragments each: their item headers alone follow the table.
        let table: Vec<u8> =
            (0..FRAMES as u32).flat_map(|frame| (16 * frame).to_le_bytes()).collect();
        let first = table.len() as u64 + 8;
        let data = (0..2 * FRAMES as u64).map(|number| (first + 8 * number, 0));
        let fragments: Vec<(u64, u32)> =
            std::iter::once((0, table.len() as u32)).chain(data).collect();
        let (input, set) = (Input::Memory(table), DataSet::default());
        let path = Path::new("a.dcm");
        let found = assign(path, &input, &set, &fragments, FRAMES, false).expect("frames");
        let pair = |frame: usize| &fragments[2 * frame + 1..2 * frame + 3];
        assert!(found.iter().enumerate().all(|(frame, held)| held == pair(frame)));
        assert_eq!(found.len(), FRAMES);
        let told = assign(path, &input, &set, &fragments, FRAMES - 1, false).expect_err("refused");
        assert!(told.to_string().contains("holds 900000"), "{told}");
    }
}

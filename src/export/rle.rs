//! Run lengths as COCO and CVAT write them.

use crate::domain::{Bitmap, Mask};

/// COCO's runs go down the columns, background first.
pub(super) fn by_columns(bitmap: &Bitmap) -> Vec<u32> {
    let columns = Bitmap::from_fn(bitmap.height_px, bitmap.width_px, |y, x| {
        bitmap.pixels[y as usize * bitmap.width_px as usize + x as usize]
    });
    // The bitmap on its side: its rows are the columns of the image.
    columns.to_mask().runs().to_vec()
}

/// The bitmap of runs down the columns, or `None` when they do not fill it.
pub(super) fn from_columns(width: u32, height: u32, runs: Vec<u32>) -> Option<Bitmap> {
    let columns = Mask::from_runs(height, width, runs).ok()?.to_bitmap();
    let upright = |x: u32, y: u32| columns.pixels[x as usize * height as usize + y as usize];
    Some(Bitmap::from_fn(width, height, upright))
}

/// COCO's compressed runs: each a number of 5-bit digits, lowest first, as printable characters;
/// from the fourth run on the difference to the run two before.
pub(super) fn decompressed(text: &str) -> Option<Vec<u32>> {
    let mut runs: Vec<u32> = Vec::new();
    let mut bytes = text.bytes();
    while let Some(mut byte) = bytes.next() {
        let (mut value, mut shift) = (0i64, 0);
        loop {
            let digit = i64::from(byte.checked_sub(48)?);
            value |= (digit & 0x1f) << shift;
            shift += 5;
            if digit & 0x20 == 0 {
                // The highest digit carries the sign.
                if digit & 0x10 != 0 {
                    value |= -1 << shift;
                }
                break;
            }
            if shift > 35 {
                return None;
            }
            byte = bytes.next()?;
        }
        if runs.len() > 2 {
            value += i64::from(runs[runs.len() - 2]);
        }
        runs.push(u32::try_from(value).ok()?);
    }
    Some(runs)
}

/// CVAT's runs: of the box around the mask, row by row, background first. Gives left, top, width
/// and height as well; `None` for an empty mask.
pub(super) fn of_box(bitmap: &Bitmap) -> Option<([u32; 4], Vec<u32>)> {
    let bounds = bitmap.bounds()?;
    let [left, top, right, low] =
        [bounds.min.x, bounds.min.y, bounds.max.x, bounds.max.y].map(|v| v as u32);
    let (width, height) = (right - left, low - top);
    let cut =
        Bitmap::from_fn(width, height, |x, y| bitmap.get(i64::from(left + x), i64::from(top + y)));
    Some(([left, top, width, height], cut.to_mask().runs().to_vec()))
}

/// Adds the mask of such runs to `bitmap`; false when they do not fill their box.
pub(super) fn put_box(
    bitmap: &mut Bitmap,
    [left, top, width, height]: [u32; 4],
    runs: Vec<u32>,
) -> bool {
    let Ok(cut) = Mask::from_runs(width, height, runs) else {
        return false;
    };
    let inside = left.checked_add(width).is_some_and(|right| right <= bitmap.width_px)
        && top.checked_add(height).is_some_and(|low| low <= bitmap.height_px);
    if !inside {
        return false;
    }
    let cut = cut.to_bitmap();
    for y in 0..height as usize {
        let from = &cut.pixels[y * width as usize..][..width as usize];
        let at = (top as usize + y) * bitmap.width_px as usize + left as usize;
        for (to, from) in bitmap.pixels[at..].iter_mut().zip(from) {
            *to |= *from;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_go_down_the_columns() {
        // . #
        // # #   columns: (. #), (# #), (. .) -> 1 background, 3 structure, 2 background
        let bitmap = Bitmap {
            width_px: 3,
            height_px: 2,
            pixels: vec![false, true, false, true, true, false],
        };
        let runs = by_columns(&bitmap);
        assert_eq!(runs, [1, 3, 2]);
        assert_eq!(from_columns(3, 2, runs), Some(bitmap));
        assert_eq!(from_columns(3, 2, vec![5]), None);
    }

    #[test]
    fn compressed_runs_are_those_of_pycocotools() {
        // pycocotools: encode(asfortranarray) of rows 0011, 0110, 1100 -> counts "21130M1"
        assert_eq!(decompressed("21130M1"), Some(vec![2, 1, 1, 4, 1, 1, 2]));
        assert_eq!(decompressed(""), Some(Vec::new()));
        assert_eq!(decompressed("!"), None);
        assert_eq!(decompressed("oooooooooooooooo"), None);
    }

    #[test]
    fn boxes_are_put_where_they_belong() {
        let bitmap = Bitmap::from_fn(7, 5, |x, y| (x + y) % 3 == 0 && x > 1 && y < 4);
        let (place, runs) = of_box(&bitmap).expect("not empty");
        let mut found = Bitmap::empty(7, 5);
        assert!(put_box(&mut found, place, runs.clone()));
        assert_eq!(found, bitmap);
        assert!(!put_box(&mut Bitmap::empty(4, 4), place, runs));
        assert_eq!(of_box(&Bitmap::empty(3, 3)), None);
    }
}

//! Clips that lie frame by frame in one HDF5 file become folders of frames and of masks.

use std::path::{Path, PathBuf};

use hdf5_pure::File;

use crate::export::write_atomic;
use crate::learn::dataset::{DataError, undecoded, unfit, unreadable};

/// Frames, and bytes of them, that are read at once; one frame at least.
const ROWS: u64 = 8;
const MAX_BYTES: u64 = 64 << 20;

/// A clip, unpacked.
pub(super) struct Unpacked {
    /// Its name in the file.
    pub name: String,
    /// Folder of its frames.
    pub frames: PathBuf,
    /// Folder of their masks.
    pub masks: PathBuf,
}

/// Unpacks the data sets `image` and `mask` `[N, H, W]` below `out`; the rows of one `annot_id` are one clip, in the
/// order of `frame_num`, without one in that of the file. The file is read piece by piece: the published one has 36 GB.
/// What a longer clip left there before is taken away.
pub(super) fn unpack(file: &Path, out: &Path) -> Result<Vec<Unpacked>, DataError> {
    let as_published = "check that it is the file as published";
    let fault = |e: hdf5_pure::Error| unfit(file, format!("{e}; {as_published}"));
    let odd = |cause: &str| unfit(file, format!("{cause}; {as_published}"));
    let hdf5 = File::open_streaming(file).map_err(fault)?;
    let [image, mask] =
        [hdf5.dataset("image").map_err(fault)?, hdf5.dataset("mask").map_err(fault)?];
    let names = hdf5.dataset("annot_id").and_then(|ids| ids.read_string()).map_err(fault)?;
    let shape = image.shape().map_err(fault)?;
    let [rows, height, width] = shape[..] else {
        return Err(odd("`image` must have three axes: frame, row, column"));
    };
    if mask.shape().map_err(fault)? != shape || names.len() as u64 != rows {
        return Err(odd("`image`, `mask` and `annot_id` differ in length"));
    }
    let sides =
        [width, height].map(|side| u32::try_from(side).ok().filter(|s| (1..=16_384).contains(s)));
    let [Some(width), Some(height)] = sides else {
        return Err(odd("its frames have no size that an image can have"));
    };
    let pixels = width as usize * height as usize;
    let places = places(&names, numbers(&hdf5).as_deref());
    let mut clips: Vec<Unpacked> = Vec::new();
    let at_once = (MAX_BYTES / pixels as u64).clamp(1, ROWS);
    for start in (0..rows).step_by(at_once as usize) {
        let count = at_once.min(rows - start);
        let images = image.read_u8_rows(start, count).map_err(fault)?;
        let masks = mask.read_u8_rows(start, count).map_err(fault)?;
        let frames = images.chunks_exact(pixels).zip(masks.chunks_exact(pixels));
        for (row, (image, mask)) in (start as usize..).zip(frames) {
            let clip = clip_of(&mut clips, &names[row], out)?;
            let file = format!("{:05}.png", places[row]);
            write(&clip.frames.join(&file), [width, height], image)?;
            write(&clip.masks.join(&file), [width, height], mask)?;
        }
    }
    for clip in &clips {
        let count = names.iter().filter(|name| **name == clip.name).count();
        cut(&clip.frames, count)?;
        cut(&clip.masks, count)?;
    }
    Ok(clips)
}

/// Removes the frames from number `count` on: those of an earlier unpacking, which would be a part of the clip. Other files
/// are none of it.
fn cut(folder: &Path, count: usize) -> Result<(), DataError> {
    for entry in std::fs::read_dir(folder).map_err(|e| unreadable(folder, e))? {
        let file = entry.map_err(|e| unreadable(folder, e))?.path();
        let stem = file.file_stem().filter(|_| file.extension().is_some_and(|e| e == "png"));
        let number = stem.and_then(|stem| stem.to_str()?.parse::<usize>().ok());
        if number.is_some_and(|number| number >= count) {
            std::fs::remove_file(&file).map_err(|e| unreadable(&file, e))?;
        }
    }
    Ok(())
}

/// `frame_num` of every row, as numbers or as text that holds them.
fn numbers(hdf5: &File) -> Option<Vec<f64>> {
    let rows = hdf5.dataset("frame_num").ok()?;
    let from_text = || {
        let texts = rows.read_string().ok()?;
        // Numbers may end like an `annot_id`.
        texts.iter().map(|text| text.trim().trim_end_matches('_').parse().ok()).collect()
    };
    rows.read_f64().ok().or_else(from_text)
}

/// The place of every row in its clip, from 0.
fn places(names: &[String], numbers: Option<&[f64]>) -> Vec<usize> {
    let number = |row: usize| numbers.and_then(|all| all.get(row)).copied().unwrap_or_default();
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|a, b| names[*a].cmp(&names[*b]).then(number(*a).total_cmp(&number(*b))));
    let mut places = vec![0; names.len()];
    for pair in order.windows(2).filter(|pair| names[pair[0]] == names[pair[1]]) {
        places[pair[1]] = places[pair[0]] + 1;
    }
    places
}

/// The clip of that name; its folders are made when it is new.
fn clip_of<'a>(
    clips: &'a mut Vec<Unpacked>,
    name: &str,
    out: &Path,
) -> Result<&'a Unpacked, DataError> {
    let at = match clips.iter().position(|clip| clip.name == name) {
        Some(at) => at,
        None => {
            // The name comes from a file: it must not lead out of the folder.
            let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
            let folder: String = name.chars().take(64).map(safe).collect();
            let folder = format!("{}_{folder}", clips.len());
            let (frames, masks) =
                (out.join("frames").join(&folder), out.join("masks").join(&folder));
            for dir in [&frames, &masks] {
                std::fs::create_dir_all(dir).map_err(|e| unreadable(dir, e))?;
            }
            clips.push(Unpacked { name: name.to_owned(), frames, masks });
            clips.len() - 1
        }
    };
    Ok(&clips[at])
}

fn write(file: &Path, [width, height]: [u32; 2], pixels: &[u8]) -> Result<(), DataError> {
    let picture = image::GrayImage::from_raw(width, height, pixels.to_vec())
        .ok_or_else(|| unfit(file, "its size and its pixels disagree; please report it"))?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).map_err(|e| undecoded(file, e))?;
    Ok(write_atomic(file, bytes.get_ref())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_stand_in_the_order_of_their_numbers() {
        let names = ["a", "b", "a", "a", "b"].map(str::to_owned);
        assert_eq!(places(&names, None), [0, 0, 1, 2, 1]);
        assert_eq!(places(&names, Some(&[12.0, 1.0, 3.0, 7.0, 0.0])), [2, 1, 0, 1, 0]);
    }
}

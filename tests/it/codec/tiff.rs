//! TIFF of several pages, of every order of bytes and width of offsets, and of any length.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use sonomark::codec::is_complete;
use sonomark::domain::ClipKind;

use super::{opened, refusal};

#[test]
fn kinds_of_tiff_that_are_not_known_are_not_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tif");
    // A palette without colours, and CIE L*a*b*: photometric interpretation.
    for photometric in [3u16, 8] {
        let entries = [
            (256, 4u16),
            (257, 3),
            (258, 8),
            (259, 1),
            (262, photometric),
            (273, 8),
            (277, 1),
            (278, 3),
            (279, 12),
            (339, 1),
        ];
        let mut bytes = b"II*\0\x14\0\0\0".to_vec();
        bytes.extend([7; 12]);
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, value) in entries {
            bytes.extend((tag as u16).to_le_bytes());
            bytes.extend([3, 0, 1, 0, 0, 0]);
            bytes.extend(value.to_le_bytes());
            bytes.extend([0, 0]);
        }
        bytes.extend([0; 4]);
        fs::write(&path, bytes).unwrap();
        let why = refusal(&path);
        assert!(why.contains("save it as gray or RGB") && !why.contains("damaged"), "{why}");
    }
}

/// How a TIFF writes its numbers.
#[derive(Clone, Copy, Debug)]
struct Order {
    little: bool,
    /// BigTIFF: offsets of 64 bits.
    wide: bool,
}

const USUAL: Order = Order { little: true, wide: false };

impl Order {
    fn bytes(self, value: u64, length: usize) -> Vec<u8> {
        match self.little {
            true => value.to_le_bytes()[..length].to_vec(),
            false => value.to_be_bytes()[8 - length..].to_vec(),
        }
    }

    /// Bytes of an offset.
    fn offset(self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    /// Writes gray pages of 16 bits, 5 x 4, that lie at these places and are filled with these values. Each says of its
    /// pixels that they take so many bytes.
    fn write(self, path: &Path, pages: &[(u64, u16)], said: u64) {
        let file = File::create(path).unwrap();
        let mut head = if self.little { b"II".to_vec() } else { b"MM".to_vec() };
        head.extend(self.bytes(if self.wide { 43 } else { 42 }, 2));
        if self.wide {
            head.extend([self.bytes(8, 2), self.bytes(0, 2)].concat());
        }
        let mut link = head.len() as u64;
        head.extend(self.bytes(0, self.offset()));
        file.write_all_at(&head, 0).unwrap();
        for &(start, value) in pages {
            let mut out = self.bytes(value.into(), 2).repeat(20);
            let directory = start + out.len() as u64;
            file.write_all_at(&self.bytes(directory, self.offset()), link).unwrap();
            let entries = [
                (256, 5),
                (257, 4),
                (258, 16),
                (259, 1),
                (262, 1),
                (273, start),
                (277, 1),
                (278, 4),
                (279, said),
            ];
            out.extend(self.bytes(entries.len() as u64, if self.wide { 8 } else { 2 }));
            for (tag, value) in entries {
                let kind = if self.wide && tag == 273 { 16 } else { 4 };
                out.extend([self.bytes(tag, 2), self.bytes(kind, 2)].concat());
                out.extend(self.bytes(1, self.offset()));
                // It stands at the beginning of its field.
                let mut field = self.bytes(value, if kind == 16 { 8 } else { 4 });
                field.resize(self.offset(), 0);
                out.extend(field);
            }
            link = start + out.len() as u64;
            out.extend(self.bytes(0, self.offset()));
            file.write_all_at(&out, start).unwrap();
        }
    }
}

const ORDERS: [Order; 4] = [
    USUAL,
    Order { little: false, wide: false },
    Order { little: true, wide: true },
    Order { little: false, wide: true },
];

/// Gray of the last pixel of each frame.
fn last_pixels(path: &Path) -> Vec<u8> {
    let clip = opened(path);
    (0..clip.info().frames).map(|i| clip.frame(i).unwrap().pixels[19]).collect()
}

#[test]
fn the_pages_of_a_tiff_are_frames() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stack.tif");
    for order in ORDERS {
        // Neither beside each other nor in order; and pixels that say of themselves that they are none.
        for said in [40, 0] {
            order.write(&path, &[(900, 1000), (16, 3000), (400, 2000)], said);
            is_complete(&path).unwrap();
            let info = opened(&path).info().clone();
            let size = (info.width_px, info.height_px);
            assert_eq!((info.kind, info.frames, size), (ClipKind::Cine, 3, (5, 4)), "{order:?}");
            assert_eq!(last_pixels(&path), [0, 255, 128], "{order:?}: one ramp for all pages");
        }
    }
    assert!(refusal(dir.path()).contains("several pages in a folder"));
    // The last page points to the first, or is cut off.
    USUAL.write(&path, &[(8, 1), (300, 2)], 40);
    let whole = fs::read(&path).unwrap();
    let mut circle = whole.clone();
    let end = circle.len();
    circle[end - 4..].copy_from_slice(&48u32.to_le_bytes());
    fs::write(&path, circle).unwrap();
    assert!(refusal(&path).contains("circle"));
    fs::write(&path, &whole[..end - 60]).unwrap();
    assert!(refusal(&path).contains("beyond its end"));
}

/// Were the whole file read for a page, or were it given to a decoder, it would take more memory than either may.
#[test]
fn a_stack_may_be_longer_than_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stack.tif");
    for (order, far) in [(USUAL, 3 << 30), (ORDERS[3], 5 << 30)] {
        // What lies between is nowhere on the disk.
        order.write(&path, &[(16, 1000), (far, 3000), (400, 2000)], 40);
        is_complete(&path).unwrap();
        assert_eq!(last_pixels(&path), [0, 255, 128], "{order:?}");
    }
}

/// A stack of gray images of 8 bits, 3 x 2, as ImageJ writes it from 4 GiB on, which says that it holds so many.
fn of_imagej(said: usize, held: u8) -> Vec<u8> {
    let text = format!("ImageJ=1.54f\nimages={said}\nslices={said}\nloop=false\n\0");
    let pixels = (10 + 10 * 12 + 4 + text.len()) as u32;
    let entries = [
        (256, 3, 3, 1),
        (257, 3, 2, 1),
        (258, 3, 8, 1),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (270, 2, 10 + 10 * 12 + 4, text.len() as u32),
        (273, 4, pixels, 1),
        (277, 3, 1, 1),
        (278, 3, 2, 1),
        (279, 4, 6, 1),
    ];
    let mut bytes = b"II*\0\x08\0\0\0\x0a\0".to_vec();
    for (tag, kind, value, count) in entries {
        bytes.extend([tag, kind].map(u16::to_le_bytes).concat());
        bytes.extend([count, value].map(u32::to_le_bytes).concat());
    }
    bytes.extend([0; 4]);
    bytes.extend(text.into_bytes());
    bytes.extend((0..held).flat_map(|image| [10 * image; 6]));
    bytes
}

#[test]
fn a_long_stack_of_imagej_has_one_directory_and_all_its_images() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stack.tif");
    fs::write(&path, of_imagej(5, 5)).unwrap();
    let clip = opened(&path);
    assert_eq!((clip.info().kind, clip.info().frames), (ClipKind::Cine, 5));
    let values: Vec<u8> = (0..5).map(|i| clip.frame(i).unwrap().pixels[5]).collect();
    assert_eq!(values, [0, 10, 20, 30, 40]);
    is_complete(&path).unwrap();
    // One image that was copied from a stack is one; a stack that is cut off is none.
    fs::write(&path, of_imagej(5, 1)).unwrap();
    assert_eq!(opened(&path).info().frames, 1);
    fs::write(&path, of_imagej(5, 4)).unwrap();
    let why = refusal(&path);
    assert!(why.contains("holds 5 images, and it has 4"), "{why}");
}

/// A picture of three indices of 8 bits, into a map whose numbers are these: those of red, of green, of blue.
fn of_palette(map: &[[u16; 256]; 3]) -> Vec<u8> {
    let indices = [0u8, 7, 255];
    let mut bytes = b"II*\0\x0c\0\0\0".to_vec();
    bytes.extend(indices);
    bytes.push(0);
    let entries: [(u16, u16, u32, u32); 9] = [
        (256, 3, 1, 3),
        (257, 3, 1, 1),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 3),
        (273, 4, 1, 8),
        (278, 3, 1, 1),
        (279, 4, 1, 3),
        (320, 3, 768, 12 + 2 + 9 * 12 + 4),
    ];
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend([tag, kind].map(u16::to_le_bytes).concat());
        bytes.extend([count, value].map(u32::to_le_bytes).concat());
    }
    bytes.extend([0; 4]);
    bytes.extend(map.iter().flatten().flat_map(|word| word.to_le_bytes()));
    bytes
}

#[test]
fn a_map_of_colours_of_8_bits_is_taken_for_that() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tif");
    let eight = |index: u16| [index, 255 - index, index / 2];
    let of =
        |scale: u16| [0, 1, 2].map(|part| std::array::from_fn(|i| eight(i as u16)[part] * scale));
    let shown = |map: &[[u16; 256]; 3]| {
        fs::write(&path, of_palette(map)).unwrap();
        opened(&path).frame(0).unwrap().rgb()
    };
    let wanted = [[0, 255, 0], [7, 248, 3], [255, 0, 127]];
    // As the standard has them, and as some writers put them there.
    assert_eq!(shown(&of(257)), wanted);
    assert_eq!(shown(&of(1)), wanted);
    // One number that needs more bits: then all have them, and these are dark.
    let mut one = of(1);
    one[0][3] = 256;
    assert_eq!(shown(&one), [[0; 3]; 3]);
}

#[test]
fn smaller_copies_are_no_frames_whichever_tag_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tif");
    // The old tag: 1 is the picture, 2 a smaller copy, 3 one page of several.
    for (tag, value, frames) in [(255u16, 2u32, 1), (255, 1, 2), (255, 3, 2), (254, 1, 1)] {
        let mut bytes = b"II*\0\x14\0\0\0".to_vec();
        bytes.extend([9; 12]);
        for page in 0..2 {
            let mut entries =
                vec![(256u16, 4u32), (257, 3), (258, 8), (259, 1), (262, 1), (273, 8)];
            entries.extend([(278, 3), (279, 12)]);
            if page == 1 {
                entries.insert(0, (tag, value));
            }
            bytes.extend((entries.len() as u16).to_le_bytes());
            for (tag, value) in &entries {
                bytes.extend(tag.to_le_bytes());
                bytes.extend([4, 0, 1, 0, 0, 0]);
                bytes.extend(value.to_le_bytes());
            }
            let next = if page == 0 { bytes.len() as u32 + 4 } else { 0 };
            bytes.extend(next.to_le_bytes());
        }
        fs::write(&path, bytes).unwrap();
        assert_eq!(opened(&path).info().frames, frames, "{tag}: {value}");
    }
}

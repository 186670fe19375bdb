//! What opening an image costs.

use super::*;

#[test]
fn opening_an_image_decodes_it_once() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, deep) in [("eight.png", false), ("sixteen.png", true)] {
        let path = dir.path().join(name);
        let saved = match deep {
            false => {
                image::GrayImage::from_fn(3, 1, |x, _| image::Luma([x as u8 * 100])).save(&path)
            }
            true => {
                image::ImageBuffer::from_fn(3, 1, |x, _| image::Luma([x as u16 * 100])).save(&path)
            }
        };
        saved.expect("written");
        let Opened { info, source, .. } = open_still(&path).expect("opened");
        // What was decoded to tell what it is needs the file no more.
        fs::remove_file(&path).expect("removed");
        let frame = source.read(0, &mut |_, _| {}).expect("decoded already");
        let last = if deep { 255 } else { 200 };
        assert_eq!((frame.pixels.first(), frame.pixels.last()), (Some(&0), Some(&last)));
        assert!(info.format.contains(if deep { "16-bit" } else { "8-bit" }), "{}", info.format);
        assert!(source.read(0, &mut |_, _| {}).is_err(), "it is not kept twice");
    }
}

//! libsixel as the second encoder, behind a checked wrapper.
//!
//! Only for comparison and for people who trust it more: the own encoder is smaller and faster.
//! `sixel_rs`' safe layer is neither sound nor right for gray pictures (it writes into borrowed
//! pixels and reads past short ones), so its `sys` layer is called directly: the length is
//! checked, pixels and palette are copies, everything is released on every path.

use std::os::raw::{c_char, c_int, c_uchar, c_void};
use std::ptr::null_mut;

use sixel_rs::sys;

use super::{Palette, Picture};

/// Sides that libsixel is trusted with, px: pictures less than a band high are shifted by it,
/// and its sizes are ints.
const WIDTHS: std::ops::RangeInclusive<usize> = 2..=4096;
const HEIGHTS: std::ops::RangeInclusive<usize> = 6..=4096;

/// Why libsixel gave no picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LibsixelError {
    /// The picture is too small, too large, or has not as many pixels as its size says.
    #[error(
        "libsixel is not given a picture of {width_px} x {height_px} px with {pixels} pixels; use the own encoder"
    )]
    Size {
        /// Width, px.
        width_px: usize,
        /// Height, px.
        height_px: usize,
        /// Number of pixels.
        pixels: usize,
    },
    /// A call failed.
    #[error("libsixel failed to {what} (status {status:#x}); use the own encoder")]
    Failed {
        /// What it was asked.
        what: &'static str,
        /// Its answer.
        status: i32,
    },
}

/// The picture as one sixel control sequence, with `P2=1` as the own encoder writes it.
///
/// # Errors
/// A picture that is not handed over, or a failing call.
pub fn encode(picture: &Picture, palette: &Palette) -> Result<Vec<u8>, LibsixelError> {
    let (width, height, pixels) = (picture.width_px, picture.height_px, picture.indices.len());
    if !WIDTHS.contains(&width) || !HEIGHTS.contains(&height) || pixels != width * height {
        return Err(LibsixelError::Size { width_px: width, height_px: height, pixels });
    }
    // libsixel reads 256 entries of three bytes, however many are used.
    let mut colours = vec![0u8; 256 * 3];
    for (to, index) in colours.chunks_exact_mut(3).zip(0..=255u8) {
        to.copy_from_slice(&palette.rgb(index));
    }
    let mut indices = picture.indices.clone();
    let mut bytes: Vec<u8> = Vec::with_capacity(pixels / 2 + 4096);
    let mut handles = Handles { output: null_mut(), dither: null_mut() };
    // SAFETY: `bytes`, `colours` and `indices` outlive every call that is given a pointer to
    // them, none of them is touched meanwhile, their lengths are those that libsixel derives
    // from width, height and number of colours; the handles are released by `Handles`.
    let status = unsafe {
        let sink = std::ptr::addr_of_mut!(bytes).cast::<c_void>();
        check(
            "make an output",
            sys::sixel_output_new(&mut handles.output, Some(collect), sink, null_mut()),
        )?;
        sys::sixel_output_set_encode_policy(handles.output, sys::EncodePolicy::Size);
        let count = palette.registers().len() as c_int;
        check("make a palette", sys::sixel_dither_new(&mut handles.dither, count, null_mut()))?;
        sys::sixel_dither_set_palette(handles.dither, colours.as_mut_ptr());
        sys::sixel_dither_set_pixelformat(handles.dither, sys::PixelFormat::Pal8);
        let (w, h) = (width as c_int, height as c_int);
        sys::sixel_encode(
            indices.as_mut_ptr().cast::<c_uchar>(),
            w,
            h,
            8,
            handles.dither,
            handles.output,
        )
    };
    check("encode", status)?;
    drop(handles);
    Ok(transparent(bytes))
}

/// Owns what libsixel allocated.
struct Handles {
    output: *mut sys::Output,
    dither: *mut sys::Dither,
}

impl Drop for Handles {
    fn drop(&mut self) {
        // SAFETY: both are null or owned by this struct alone, with one reference each.
        unsafe {
            if !self.output.is_null() {
                sys::sixel_output_unref(self.output);
            }
            if !self.dither.is_null() {
                sys::sixel_dither_unref(self.dither);
            }
        }
    }
}

fn check(what: &'static str, status: c_int) -> Result<(), LibsixelError> {
    if status & 0x1000 == 0 { Ok(()) } else { Err(LibsixelError::Failed { what, status }) }
}

/// libsixel's writer: appends to the vector behind `sink`.
unsafe extern "C" fn collect(data: *mut c_char, length: c_int, sink: *mut c_void) -> c_int {
    let Ok(length) = usize::try_from(length) else {
        return -1;
    };
    // SAFETY: `sink` is the vector that `encode` handed over, and libsixel passes `length`
    // readable bytes.
    unsafe {
        let bytes = &mut *sink.cast::<Vec<u8>>();
        bytes.extend_from_slice(std::slice::from_raw_parts(data.cast::<u8>(), length));
    }
    0
}

/// libsixel has no way to ask for `P2=1`: its plain header is replaced.
fn transparent(bytes: Vec<u8>) -> Vec<u8> {
    match bytes.strip_prefix(b"\x1bPq") {
        Some(rest) => [b"\x1bP0;1;0q".as_slice(), rest].concat(),
        None => bytes,
    }
}

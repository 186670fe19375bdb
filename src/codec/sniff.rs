//! What a file is: by its first bytes, and by its name only where bytes do not tell.

use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::CodecError;
use super::limits::open_regular;

/// What kind of clip a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// PNG, JPEG, TIFF, BMP or WebP.
    Image,
    /// DICOM, with or without preamble.
    Dicom,
    /// Anything ffmpeg reads.
    Video,
    /// NIfTI, NRRD or MetaImage.
    Volume,
}

const IMAGE_NAMES: [&str; 8] = ["png", "jpg", "jpeg", "jfif", "tif", "tiff", "bmp", "webp"];
const VIDEO_NAMES: [&str; 38] = [
    "mp4", "m4v", "mov", "avi", "mkv", "webm", "wmv", "asf", "mpg", "mpeg", "ts", "m2ts", "mts",
    "flv", "f4v", "ogv", "3gp", "3g2", "gif", "apng", "vob", "divx", "mxf", "y4m", "m1v", "m2v",
    "nut", "dv", "ivf", "rm", "rmvb", "wtv", "swf", "mjpeg", "mjpg", "h264", "hevc", "h265",
];
/// JPEG after JPEG without a container: only the name tells them from a still.
const MOTION_JPEG_NAMES: [&str; 2] = ["mjpeg", "mjpg"];
/// Brands of stills in the container of MP4.
const STILLS_IN_MP4: [&[u8]; 6] = [b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif"];
const VOLUME_NAMES: [&str; 5] = ["nii", "nrrd", "nhdr", "mha", "mhd"];
const DICOM_NAMES: [&str; 3] = ["dcm", "dicom", "ima"];
const PACKED_NIFTI: &str = ".nii.gz";

/// The lower-case extension, or "".
fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// Whether the name ends as those of images do.
pub(crate) fn has_image_ending(path: &Path) -> bool {
    IMAGE_NAMES.contains(&extension(path).as_str())
}

/// Whether the name is that of a frame: an image that is no mask (`NAME.mask.png`) and not hidden.
pub(super) fn is_frame_name(path: &Path) -> bool {
    let name = file_name(path);
    !name.starts_with('.') && !name.ends_with(".mask.png") && has_image_ending(path)
}

/// How long the ending is that promises a clip, with its dot; 0 where the name has no such.
pub(super) fn ending_bytes(path: &Path) -> usize {
    let ending = extension(path);
    let all: [&[&str]; 4] = [&IMAGE_NAMES, &VIDEO_NAMES, &DICOM_NAMES, &VOLUME_NAMES];
    if file_name(path).ends_with(PACKED_NIFTI) {
        PACKED_NIFTI.len()
    } else if all.iter().any(|names| names.contains(&ending.as_str())) {
        ending.len() + 1
    } else {
        0
    }
}

/// Whether the name alone promises a clip; `None` when the name says nothing.
pub(super) fn promised_by_name(path: &Path) -> Option<bool> {
    let (name, ending) = (file_name(path), extension(path));
    if name.starts_with('.') || name.ends_with(".mask.png") {
        return Some(false);
    }
    // Files of DICOM media carry names such as IM_0001 or 1.2.840.113619: no extension, or digits.
    let silent = ending.is_empty() || ending.chars().all(|c| c.is_ascii_digit());
    if ending_bytes(path) > 0 {
        Some(true)
    } else if silent {
        None
    } else {
        Some(false)
    }
}

/// What the file at `path` is.
pub(super) fn kind_of(path: &Path) -> Result<Kind, CodecError> {
    let mut head = Vec::with_capacity(512);
    let mut file = open_regular(path)?.take(512);
    file.read_to_end(&mut head).map_err(|e| CodecError::unreadable(path, e))?;
    if head.is_empty() {
        return Err(CodecError::damaged(path, "it is empty"));
    }
    if is_heif(&head) {
        let cause = "it is a HEIC or AVIF picture";
        return Err(CodecError::unsupported(path, cause, "save it as PNG or JPEG"));
    }
    match by_magic(&head) {
        Some(Kind::Image) if moves(path)? => return Ok(Kind::Video),
        Some(kind) => return Ok(kind),
        None => {}
    }
    if head.starts_with(&[0x1f, 0x8b]) && gzip_holds_nifti(path)? {
        return Ok(Kind::Volume);
    }
    let (name, ending) = (file_name(path), extension(path));
    if DICOM_NAMES.contains(&ending.as_str()) || starts_like_a_data_set(&head) {
        return Ok(Kind::Dicom);
    }
    if VIDEO_NAMES.contains(&ending.as_str()) {
        return Ok(Kind::Video);
    }
    let volume = VOLUME_NAMES.contains(&ending.as_str()) || name.ends_with(PACKED_NIFTI);
    if is_frame_name(path) || volume {
        return Err(CodecError::damaged(path, "its content is not what its name says"));
    }
    Err(CodecError::Unknown { name: super::error::name_of(path) })
}

/// Whether what begins like a still is an animated PNG or motion JPEG.
fn moves(path: &Path) -> Result<bool, CodecError> {
    let named = MOTION_JPEG_NAMES.contains(&extension(path).as_str());
    Ok(named || super::png::is_animated(std::io::BufReader::new(open_regular(path)?)))
}

/// Whether it is a still of those that telephones make in the container of MP4; rows of pictures in it are videos.
fn is_heif(head: &[u8]) -> bool {
    let brand = head.get(8..12).filter(|_| head.get(4..8) == Some(b"ftyp"));
    brand.is_some_and(|brand| STILLS_IN_MP4.contains(&brand))
}

fn by_magic(head: &[u8]) -> Option<Kind> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|h| h.starts_with(magic));
    if at(128, b"DICM") {
        return Some(Kind::Dicom);
    }
    let image = at(0, b"\x89PNG\r\n\x1a\n")
        || at(0, b"\xff\xd8\xff")
        || super::pages::is_tiff(head)
        || super::webp::is_webp(head)
        || (at(0, b"BM") && (at(6, &[0; 4]) || at(14, &[40, 0, 0, 0])));
    if image {
        return Some(Kind::Image);
    }
    if at(344, b"n+1\0")
        || at(344, b"ni1\0")
        || at(4, b"n+2\0\r\n")
        || super::volume::is_text_header(head)
    {
        return Some(Kind::Volume);
    }
    let video = at(4, b"ftyp")
        || at(4, b"moov")
        || at(4, b"mdat")
        || at(0, b"\x1a\x45\xdf\xa3")
        || (at(0, b"RIFF") && at(8, b"AVI "))
        || at(0, b"OggS")
        || at(0, b"FLV\x01")
        || at(0, b"GIF8")
        || at(0, &[0x06, 0x0e, 0x2b, 0x34])
        || at(0, b"YUV4MPEG2 ")
        || at(0, b"nut/multimedia container")
        || at(0, b"DKIF")
        || at(0, b".RMF")
        || at(0, &[0xb7, 0xd8, 0x00, 0x20, 0x37, 0x49, 0xda, 0x11])
        || at(0, &[0, 0, 1, 0xb3])
        || at(0, &[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11])
        || at(0, &[0, 0, 1, 0xba])
        || (at(0, b"G") && at(188, b"G") && at(376, b"G"));
    video.then_some(Kind::Video)
}

/// A DICOM data set without preamble begins with group 0002 or 0008, little endian.
fn starts_like_a_data_set(head: &[u8]) -> bool {
    let known_group = head.starts_with(&[2, 0]) || head.starts_with(&[8, 0]);
    let even_short_element = head.get(3).is_some_and(|&high| high < 0x40);
    let length = head.get(4..8).map_or(u32::MAX, |l| u32::from_le_bytes([l[0], l[1], l[2], l[3]]));
    let explicit = head.get(4..6).is_some_and(|vr| vr.iter().all(u8::is_ascii_uppercase));
    known_group && even_short_element && (explicit || length < 1024)
}

fn gzip_holds_nifti(path: &Path) -> Result<bool, CodecError> {
    let mut head = Vec::with_capacity(352);
    // A damaged stream is looked at again, and named, when the volume is opened.
    let _ = MultiGzDecoder::new(open_regular(path)?).take(352).read_to_end(&mut head);
    let magic = head.get(344..348);
    Ok(magic == Some(b"n+1\0") || magic == Some(b"ni1\0") || head.get(4..10) == Some(b"n+2\0\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_something_unknown_is_told_all_kinds_of_images() {
        let told = CodecError::Unknown { name: "a.txt".into() }.to_string().to_lowercase();
        for ending in
            IMAGE_NAMES.into_iter().filter(|ending| !["jpg", "jfif", "tif"].contains(ending))
        {
            assert!(told.contains(ending), "{ending}: {told}");
            assert!(has_image_ending(Path::new(&format!("a.{}", ending.to_uppercase()))));
        }
    }

    #[test]
    fn names_promise_clips() {
        let promised = |name: &str| promised_by_name(Path::new(name));
        for name in ["a.PNG", "b.mp4", "b.apng", "b.y4m", "b.h265", "c.dcm", "d.nii.gz", "e.Tiff"] {
            assert_eq!(promised(name), Some(true), "{name}");
        }
        for name in ["a.mask.png", ".a.png", "b.txt", "c.png.part", "d.gz"] {
            assert_eq!(promised(name), Some(false), "{name}");
        }
        assert_eq!((promised("IM_0001"), promised("1.2.840.1")), (None, None));
        let ends = |name: &str| ending_bytes(Path::new(name));
        assert_eq!([ends("a.PNG"), ends("d.nii.gz"), ends("e.nii")], [4, 7, 4]);
        assert_eq!([ends("1.2.840.1"), ends("d.gz"), ends("IM_0001"), ends("png")], [0; 4]);
    }
}

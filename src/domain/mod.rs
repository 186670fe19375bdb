//! What an annotation is, without I/O, clock or tensor.
//!
//! Everything here is plain data and pure functions; time and files are other layers' business. Loops over pixels are
//! shared out among threads, which changes no result.
//! Pixel coordinates: origin at the top left corner of the top left pixel of the original image,
//! so the centre of the pixel in column `i`, row `j` is `(i + 0.5, j + 0.5)`.

mod axis;
mod bisect;
mod carry;
mod clip;
mod code;
mod colours;
mod contour;
mod deed;
mod distance;
mod edit;
mod geometry;
mod history;
mod look;
mod lru;
mod mask;
mod mask_edit;
mod measure;
mod metrics;
mod motion;
mod pixel_box;
mod prompt;
mod rays;
mod region;
pub mod review;
mod ruler;
mod scale;
mod shown;
mod signature;
mod snap;
mod strip;
mod tidy;
mod touch;
mod track;
mod wide;
mod words;

pub use axis::{Axis, Cut};
pub use bisect::Bisection;
pub use carry::{Carrier, Tissue};
pub use clip::{ClipInfo, ClipKind, ContentHash, DicomOrigin, FrameIndex, GrayFrame};
pub use code::{Code, Codes};
pub use colours::{COLOURED, Colours, is_coloured};
pub use contour::{closed_catmull_rom, closed_curve, curve_logits, filled};
pub use deed::{deed, frames_named, mask_frame, prompt_name};
pub use edit::{Annotation, Edit, Refused, prompted};
pub use geometry::{BoxPx, GridMap, Placement, PointPx};
pub use history::{History, Mark, Step};
pub use look::{PictureLook, worth_showing};
pub use lru::Lru;
pub use mask::{Bitmap, Mask, MaskError};
pub use mask_edit::{Between, MaskEdit, edited, paint};
pub use measure::{Measures, measured};
pub use metrics::{Overlap, overlap};
pub use motion::{Motion, Places, Registrable, Shrunk, register};
pub use pixel_box::PixelBox;
pub use prompt::{FramePrompts, PlacedPrompt, PointKind, Prompt, PromptId};
pub use rays::{
    Edge, HOURS, Ray, centre_of, contour_radius, edges_along, least_certain, likeliest,
    likeliest_near,
};
pub use region::{Boxes, Fan, NoRegion, OutsideChoice, Region};
pub use ruler::{MARKS_ASIDE, RayMark, marks_along};
pub use scale::{NoMm, Scale, same_scale};
pub use shown::{in_words, panic_told, shown, shown_in_json};
pub use signature::{
    Agreement, MaskOrigins, Signature, TrackOrigins, frame_signature, mask_fingerprint,
};
pub use snap::snap_to_points;
pub use strip::{crossings, sampled};
pub use tidy::tidied;
pub use touch::{moved_through, off_by};
pub use track::{
    Attributes, FrameMask, MaskSource, Track, TrackId, TrackInfo, TrackOrder, Window,
    insert_window, remove_from_windows,
};
pub use wide::wide;
pub use words::{TOO_DEEP, counted, nearest_word, too_deep};

//! The engine: threads, one network, one clip.
//!
//! A screen or a batch run owns a [`Session`]. It asks (frames, refreshes, propagations,
//! exports) and returns to its work at once; everything that happens comes back as an [`Event`]
//! through the inbox that it gave. What decides whether this is right: nothing here waits for
//! the screen, a panic ends a job and never a thread, a device that hangs costs its thread and
//! never the clip, and an answer to an older question is recognised by its [`Ticket`].

mod corrected;
mod event;
mod failing;
mod frames;
mod jobs;
mod meanwhile;
mod net_segmenter;
pub mod propagate;
mod read_ahead;
mod retrace;
mod segmenter;
mod session;
mod shelf;
mod shipped;
mod walkers;
mod walking;
mod watch;
mod worker;

pub use event::{Event, Opened, SegmenterSource, SessionError, Surround, Ticket};
pub use failing::{Start, device_gave_up};
pub use frames::Frames;
pub use meanwhile::gpu_warming;
pub use net_segmenter::NetSegmenter;
pub use propagate::{
    Plan, PlanError, Span, Walk, plan, plan_both_passes, plan_both_passes_where, plan_where,
};
pub use segmenter::{
    Anchor, Decided, Direction, Image, SegmentError, Segmenter, SegmenterInfo, WalkId,
};
pub use session::{
    Session, decided, export_clip, export_formats, export_name, format_named, import_format_named,
    key_for, open_known,
};
pub use shelf::{Lent, Shelf};
pub use shipped::{CardFault, load_exact, load_network, read_card, shipped_card};
pub use walking::{Asker, Ended, Role, TOGETHER_MAX, WalkError, Walking, walk, walk_together};
pub use watch::{Limits, in_parts, timed};
pub use worker::{Builder, Outbox, Worker};

pub use crate::export::{ExportFormat, Structure};
pub use crate::project::{Others, View, now_ms};

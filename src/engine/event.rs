//! What the engine tells and what it is told: plain data, no thread, no tensor.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::{
    Annotation, ClipInfo, Cut, Edit, FrameIndex, GrayFrame, History, MaskOrigins, Region, TrackId,
};
use crate::export::Structure;
use crate::project::View;

use super::{Decided, Segmenter, SegmenterInfo, Shelf};

/// Which question an answer belongs to. The asker raises the generation with every change of the
/// track and drops answers of older generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The track it was asked for.
    pub track: TrackId,
    /// State of the track when it was asked.
    pub generation: u64,
}

/// What happened.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "every field is named by what it is")]
pub enum Event {
    /// The network is loaded; pictures come before it.
    Ready(SegmenterInfo),
    /// There is no network: drawing, windows and points go on working.
    EngineFailed { why: String },
    /// A frame asked for with [`super::Session::want_frame`].
    Frame { frame: FrameIndex, pixels: Arc<GrayFrame> },
    /// The frame cannot be decoded.
    FrameFailed { frame: FrameIndex, why: String },
    /// The mask of a frame from its own prompts.
    Refreshed { ticket: Ticket, frame: FrameIndex, decided: Decided },
    /// A frame of a propagation, as it comes.
    Tracked { ticket: Ticket, frame: FrameIndex, decided: Decided },
    /// How far a propagation is, in frames to be decided.
    Progress { ticket: Ticket, done: usize, total: usize },
    /// A propagation ended; what was decided before a cancel stays.
    Finished { ticket: Ticket, cancelled: bool },
    /// A refresh or a propagation failed; the annotation is untouched.
    JobFailed { ticket: Ticket, why: String },
    /// Steps written to the journal that a power cut could still take; 0 means all is safe.
    Saved { unsynced: usize },
    /// The journal cannot be written; editing goes on in memory.
    SaveFailed { why: String },
    /// Another session changed the same clip: [`super::Session::take_others`] has its edits.
    OthersWrote,
    /// Edits of another session on the same clip; fit them with [`Edit::rebased`]. What the masks of the structures that
    /// they concern were made from is as all sessions together say.
    Others { edits: Vec<Edit>, origins: MaskOrigins },
    /// What is wrong with journals of the clip, found while it is open: ready to show.
    JournalNotes { notes: Vec<String> },
    /// The ultrasound region was looked for.
    RegionFound {
        /// The region; `None`: there is none, or nothing is to be seen outside of it.
        region: Option<Region>,
        /// The file itself names it; else it was found in the pixels.
        named: bool,
    },
    /// What lies outside this region is black from now on; `None`: everything is shown. Frames
    /// that come later are such frames, and the network starts anew.
    OutsideChanged { region: Option<Region> },
    /// How far an export is that reads frames.
    Exporting { done: usize, total: usize },
    /// An export was written and read back.
    Exported { path: PathBuf, what: String },
    /// An export was not written.
    ExportFailed { why: String },
    /// Columns of an M-mode strip from frame `first` on; one that cannot be decoded is empty.
    Strip { number: u64, first: FrameIndex, columns: Vec<Vec<u8>> },
    /// What somebody else made of the clip, asked for with [`super::Session::overlay`]; `notes` are sentences on what was
    /// left out or assumed, as an import tells them (not escaped).
    Overlay { name: String, structures: Vec<Structure>, notes: Vec<String> },
    /// It cannot be read.
    OverlayFailed { why: String },
    /// A watched folder received complete clips.
    ClipsArrived { paths: Vec<PathBuf> },
    /// A watched folder received things that are no clips: where they lie, and why they are none.
    ClipsRefused { refused: Vec<(PathBuf, String)> },
}

/// What becomes of the pixels outside the ultrasound region.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Surround {
    /// Nobody is to be asked: the settings say it, or the file that its pixels are clean.
    #[default]
    Given,
    /// A region is still to be looked for, in the file and the pixels, or there is none.
    Open,
    /// This one was found, and a person is to say whether it is the ultrasound.
    Found(Region),
    /// Somebody wants to see everything.
    Shown,
    /// It is black: somebody said that this is the ultrasound.
    Black(Region),
}

/// What is known when a clip was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Size, spacing, name, identity.
    pub info: ClipInfo,
    /// Which part of a volume it is, also where nobody named one.
    pub part: Cut,
    /// The merge of all journals of this clip.
    pub annotation: Annotation,
    /// What its masks were made from, which tells those that are older than their points.
    pub origins: MaskOrigins,
    /// Undo and redo over restarts.
    pub history: History,
    /// Where the last session stopped.
    pub view: Option<View>,
    /// What becomes of the pixels outside the ultrasound.
    pub surround: Surround,
    /// The clip may hold patient data: its file does not say that it was de-identified.
    pub private: bool,
    /// Sentences for the person: damage found, another session open, ...
    pub notes: Vec<String>,
    /// Unique among all sessions of this clip: shift it into the high 32 bits of new prompt and
    /// group numbers.
    pub session_seed: u32,
}

/// Where the network comes from.
pub enum SegmenterSource {
    /// A network from a model card (`None`: the shipped one) on `auto`, `gpu`, `gpu:N` or `cpu`.
    Net {
        /// Path of the card, or the one compiled in.
        card: Option<PathBuf>,
        /// As given with `--device`.
        device: String,
        /// Memory for the features of visited frames, MiB.
        features_mib: usize,
        /// Where the network waits between clips.
        shelf: Shelf,
    },
    /// A double.
    Scripted(Box<dyn Segmenter + Send>),
    /// No network at all.
    None,
}

impl fmt::Debug for SegmenterSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net { card, device, features_mib, .. } => f
                .debug_struct("Net")
                .field("card", card)
                .field("device", device)
                .field("features_mib", features_mib)
                .finish(),
            Self::Scripted(_) => f.write_str("Scripted"),
            Self::None => f.write_str("None"),
        }
    }
}

/// Why a clip does not open or an edit is not kept.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The clip cannot be read; the sentence names it.
    #[error("{0}")]
    Clip(String),
    /// The project folder cannot be read or written; the sentence names it.
    #[error("{0}")]
    Project(String),
    /// The system gives no thread.
    #[error("cannot start a thread ({0}); close other programs and open the clip again")]
    Thread(std::io::Error),
}

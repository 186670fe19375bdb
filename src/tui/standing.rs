//! Whether a command changed anything, for those who do not see the screen.
//!
//! What decides whether this file is right: what a command changes is an effect that acts, or stands in [`Standing`];
//! what comes and goes by itself does neither, so a command that found nothing to do is never taken for one that did.

use std::collections::BTreeSet;

use super::command::Command;
use super::model::{Cine, Effect, Looks, Mode, Model, Pending, Picture};
use super::tools::{Review, Tools};
use crate::domain::{PointPx, PromptId, TrackId};
use crate::engine::{Surround, View};

/// How things stand for the person, beside what is in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    view: View,
    chosen: Option<PromptId>,
    corner: Option<PointPx>,
    hidden: BTreeSet<TrackId>,
    picture: Picture,
    looks: Looks,
    surround: Surround,
    cine: Cine,
    mode: Mode,
    pending: Pending,
    tools: Tools,
}

impl Model {
    /// How things stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        // What is only computed, counted or recalled.
        let mut tools = Tools {
            review: Review::default(),
            ahead: None,
            nothing_ahead: false,
            answered: None,
            played: 0,
            lines: Vec::new(),
            ..self.tools.clone()
        };
        if let Some(strip) = &mut tools.strip {
            strip.columns.clear();
        }
        Standing {
            view: View { keys: 0, ..self.view() },
            chosen: self.chosen,
            corner: self.corner,
            hidden: self.hidden.clone(),
            // Frames with colours come when they are decoded.
            picture: Picture { flow: false, ..self.picture },
            looks: self.looks.clone(),
            surround: self.surround,
            cine: self.cine,
            mode: self.mode.clone(),
            pending: self.pending.clone(),
            tools,
        }
    }
}

impl Effect {
    /// Whether it does something that lasts, and not only shows or prepares what is there.
    #[must_use]
    pub fn acts(&self) -> bool {
        use Effect as E;
        match self {
            E::Journal(_)
            | E::Refresh(..)
            | E::Propagate(..)
            | E::Cancel(_)
            | E::Export { .. }
            | E::Picture { .. }
            | E::Outside(_)
            | E::Overlay(_)
            | E::Remember(_)
            | E::OpenClip(..)
            | E::Quit => true,
            // Where the person is stands in the model; what they decided of the outside is kept nowhere else.
            E::JournalView(view) => view.outside.is_some(),
            E::TakeOthers
            | E::WantFrame(_)
            | E::PropagateAhead(..)
            | E::EncodeAhead(..)
            | E::FindRegion
            | E::Strip(..)
            | E::StopOpening
            | E::Suspend
            | E::Bell
            | E::Redraw => false,
        }
    }
}

impl Command {
    /// Whether it is there to change something: others only tell, or say how the screen is reached.
    #[must_use]
    pub fn is_to_change(&self) -> bool {
        !matches!(self, Self::Nothing | Self::Write | Self::Clip(_) | Self::Link(_))
    }
}

//! The screen: keys in, edits and questions out, pictures and text back.
//!
//! ```text
//! terminal --Msg--> update(model) --Effect--> session, journal      (run.rs carries them out)
//! engine   --Msg-->     |
//!                       '--> view(model) --text, Scene--> graphics --> terminal
//! ```
//!
//! The loop drains its inbox, updates the model, carries out effects (the journal first: nothing
//! is shown that is not written), and draws once. What happened ([`model::Msg`]) and what a key
//! can name ([`action::Action`]) are different types. Nothing here reads a file, holds a tensor,
//! or waits for anything but the inbox.

pub mod action;
pub mod command;
pub mod graphics;
pub mod hurry;
pub mod key;
pub mod keymap;
pub mod line;
pub mod marks;
pub mod model;
mod msg;
mod naming;
mod parts;
pub mod range;
mod run;
mod standing;
pub mod terminal;
pub mod theme;
pub mod tools;
pub mod tutor;
mod update;
pub mod view;
pub mod vision;

pub use run::{Ended, OpenClip, Start, TuiError, furnish, hand_over, keymap_of, run};
pub use update::{REST, begin, fit_look, recall, update};

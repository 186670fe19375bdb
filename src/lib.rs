//! sonomark: a keyboard-driven terminal workstation that annotates ultrasound.
//!
//! A person marks boundary points and the windows in which a structure is visible; a SAM
//! 2-family network (SAMUSA), written in Burn, draws the mask and carries it through the clip.
//!
//! # Map
//!
//! | module | holds | may name |
//! |---|---|---|
//! | [`domain`] | clips, masks, prompts, tracks, edits, history; no I/O, clock or tensor; threads share loops out and end with them | nothing |
//! | [`codec`] | bytes of stills, folders, DICOM, video and volumes -> frames | domain |
//! | [`export`] | annotation -> files, read back and compared; files of others -> masks | domain, codec |
//! | [`project`] | the journal: one writer per file, merged on reading; the watched folder | domain, codec |
//! | [`net`] | the SAM 2.1 network and what SAMUSA changes; burn lives here and in learn | domain |
//! | [`config`] | settings of file, environment and flags; labels that a study asks for; the YAML reader | domain |
//! | [`engine`] | the worker thread that owns the network, propagation plans, a clip's session | the above, not config |
//! | [`learn`] | data sets, losses, simulated annotator, training, evaluation | the above, not engine; of config the YAML reader |
//! | [`study`] | simulated and real studies: statistics, STAPLE, tables and figures | the above |
//! | [`tui`] | keys, model, pure update, views, sixel | domain, engine, config |
//! | [`cli`] | one file per command | everything |
//!
//! # Invariants
//!
//! `tests/it/layers.rs` keeps the map and the invariants 1, 2 and 4.
//!
//! 1. `burn` is named only in net and learn; backends only in `net/device.rs` and the kernels of `net/gpu`.
//! 2. `ratatui` and `crossterm` are named only in tui; `clap` only in cli.
//! 3. An [`domain::Annotation`] changes only through `apply(&Edit)`; a refused edit changes
//!    nothing.
//! 4. The screen holds no tensor and reads no file; it waits for nothing but its inbox.
//! 5. Recovery never needs the network: masks are in the journal.
//! 6. One own trait for the network seam, [`engine::Segmenter`]: the real one, and a scripted
//!    double for tests.

pub mod cli;
pub mod codec;
pub mod config;
pub mod domain;
pub mod engine;
pub mod export;
pub mod learn;
pub mod net;
pub mod project;
pub mod study;
pub mod tui;

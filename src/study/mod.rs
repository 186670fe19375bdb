//! Studies: the paper's comparison on simulated annotators, and what real sessions say.
//!
//! [`config`] reads what to compare, [`simulate`] clicks through it with what `networks` finds or trains, and [`clips`]
//! propagates, [`tables`] sums up with the measures of [`stats`], [`claims`] holds the paper against the figures, [`report`]
//! and [`figure`] are what people see; [`staple`] makes a reference of several raters. [`plan`] sets up a study of people,
//! [`sessions`] and [`questionnaire`] read what they left, [`analyse`] and [`people`] say what it means. What decides whether
//! this layer is right: a figure names the data and the seed it comes from, and a claim that does not hold is told first.

pub mod analyse;
pub mod claims;
pub mod clips;
mod columns;
pub mod config;
pub mod figure;
mod networks;
pub mod people;
pub mod plan;
pub mod questionnaire;
pub mod report;
pub mod sessions;
mod sheets;
pub mod simulate;
pub mod staple;
pub mod stats;
pub mod tables;

use std::path::Path;

use crate::domain::shown;
use crate::engine::CardFault;
use crate::export::ExportError;
use crate::learn::TrainError;
use crate::learn::dataset::DataError;
use crate::learn::evaluate::EvalError;
use crate::net::library::LibraryError;
use crate::project::ProjectError;
use staple::StapleError;

/// Why a study has no result.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A network's card or weights.
    #[error(transparent)]
    Card(#[from] CardFault),
    /// No network of that name.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A training run.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The network failed.
    #[error("the network failed: {0}; try --device cpu")]
    Network(String),
    /// A study that cannot be set up.
    #[error("the study cannot be made: {0}")]
    Plan(String),
    /// A project of a rater.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// Masks of a clip that cannot be compared.
    #[error("clip {clip} cannot be compared: {cause}")]
    Staple {
        /// Name of the clip.
        clip: String,
        /// Why.
        cause: StapleError,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A file or folder of the study.
    #[error("cannot use {file}: {cause}; check the path, the rights and the disk")]
    Io {
        /// Which.
        file: String,
        /// What the system says.
        cause: String,
    },
    /// A folder that does not hold what it should.
    #[error("{file} cannot be used: {cause}")]
    Unfit {
        /// Which.
        file: String,
        /// What is wrong with it, and what to do.
        cause: String,
    },
    /// A figure cannot be drawn.
    #[error("cannot draw a figure: {0}")]
    Figure(String),
    /// The user; what was finished is kept.
    #[error("cancelled")]
    Cancelled,
}

impl StudyError {
    fn io(file: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Io { file: shown(&file.to_string_lossy()), cause: shown(&cause.to_string()) }
    }

    fn unfit(file: &Path, cause: &str) -> Self {
        Self::Unfit { file: shown(&file.to_string_lossy()), cause: cause.to_owned() }
    }
}

impl From<EvalError> for StudyError {
    fn from(error: EvalError) -> Self {
        match error {
            EvalError::Data(data) => Self::Data(data),
            EvalError::Network(cause) => Self::Network(cause),
            EvalError::Cancelled => Self::Cancelled,
        }
    }
}

//! What is wrong with a file, all at once.

use std::fmt;

use crate::domain::counted;

/// Everything that is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults {
    /// The file, for people.
    pub file: String,
    /// Line from 1 (0: no particular line) and a sentence, in order of the text.
    pub list: Vec<(usize, String)>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {}:", self.file, counted(self.list.len(), "fault"))?;
        for (line, fault) in &self.list {
            match line {
                0 => write!(f, "\n  - {fault}")?,
                _ => write!(f, "\n  - line {line}: {fault}")?,
            }
        }
        Ok(())
    }
}

impl Faults {
    /// No fault yet.
    #[must_use]
    pub fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), list: Vec::new() }
    }

    /// Notes one.
    pub fn add(&mut self, line: usize, fault: impl Into<String>) {
        self.list.push((line, fault.into()));
    }

    /// Each fault as one line that names the file.
    pub fn sentences(&self) -> impl Iterator<Item = String> + '_ {
        self.list.iter().map(|(line, fault)| match line {
            0 => format!("{}: {fault}", self.file),
            _ => format!("{}:{line}: {fault}", self.file),
        })
    }

    /// `value`, or all faults in order of the text.
    ///
    /// # Errors
    /// When there is a fault.
    pub fn or<T>(mut self, value: T) -> Result<T, Self> {
        self.list.sort_by_key(|(line, _)| *line);
        if self.list.is_empty() { Ok(value) } else { Err(self) }
    }
}

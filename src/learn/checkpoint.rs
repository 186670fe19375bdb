//! A run's state on disk: weights, optimiser, running average, step and seed.
//!
//! One line of JSON, then the numbers as little-endian `f32` in the order of the header's list. What decides whether
//! this file is right: it is written beside the old one and renamed, so a crash leaves one whole checkpoint; a file of
//! another network, recipe, start, seed, data (learned from or held back) or options is refused; every number comes back
//! with the same bits. What is never trained is not in it: it follows from seed or start.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::optimise::{Optimiser, Slot};
use crate::codec::part::{make_part, sweep};
use crate::domain::shown;

const MAGIC: &str = "sonomark-checkpoint-2";
/// Did not say what a run started from and what was held back.
const MAGIC_BEFORE: &str = "sonomark-checkpoint-1";

/// Why a checkpoint is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read or written.
    #[error("cannot access checkpoint {file}: {cause}; check the folder's rights and free space")]
    Io {
        /// The file.
        file: String,
        /// What the system says.
        cause: String,
    },
    /// The file is not a whole checkpoint.
    #[error("{file} is not a whole checkpoint ({cause}); delete it to start over")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        cause: String,
    },
    /// The file was written by an older version.
    #[error(
        "{0} is of an older version and does not say all that its run was made of; delete it to start over, or name another output folder"
    )]
    Older(String),
    /// The checkpoint belongs to another run.
    #[error(
        "the checkpoint belongs to another run: {0}; use the same version, card, data, seed and options, or another output folder"
    )]
    Foreign(String),
    /// A run would go over another one.
    #[error(
        "{0} is there already: go on from it with --resume, begin anew with --overwrite, or name another output folder"
    )]
    InTheWay(String),
}

/// What stands in the first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    magic: String,
    /// Steps done.
    pub step: u64,
    /// Steps of the optimiser (bad steps do not count).
    pub optimiser_steps: u64,
    /// Images encoded.
    pub images: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Wall clock used, s.
    pub seconds: f64,
    /// Dice on the stills held back of the weights that were kept, if any were held back.
    #[serde(default)]
    pub best: Option<f64>,
    /// What else the run was made of, by name.
    #[serde(default)]
    pub made_of: BTreeMap<String, String>,
    /// Parameter names and sizes in order.
    pub parameters: Vec<(String, usize)>,
}

/// Where a run stands, beside its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Seed of the run.
    pub seed: u64,
    /// Steps done.
    pub step: u64,
    /// Images encoded.
    pub images: u64,
    /// Wall clock used, s.
    pub seconds: f64,
    /// Dice of the weights that were kept, if stills are held back.
    pub best: Option<f64>,
    /// Data and options of the run, by name; none of them may change.
    pub made_of: BTreeMap<String, String>,
}

/// A whole checkpoint in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The first line.
    pub head: Head,
    /// Per parameter: weights, mean, square, average.
    numbers: Vec<[Vec<f32>; 4]>,
}

impl Checkpoint {
    /// The state of a run that stands at `at`.
    #[must_use]
    pub fn of(optimiser: &Optimiser, at: &Standing) -> Self {
        let parts =
            |s: &Slot| [s.weights.clone(), s.mean.clone(), s.square.clone(), s.average.clone()];
        let head = Head {
            magic: MAGIC.into(),
            step: at.step,
            optimiser_steps: optimiser.steps,
            images: at.images,
            seed: at.seed,
            seconds: at.seconds,
            best: at.best,
            made_of: at.made_of.clone(),
            parameters: optimiser.slots.iter().map(|s| (s.name.clone(), s.weights.len())).collect(),
        };
        Self { head, numbers: optimiser.slots.iter().map(parts).collect() }
    }

    /// Puts the state into an optimiser of the same network; `made_of` is what the run is made of now.
    ///
    /// # Errors
    /// When network, seed, data or options differ.
    pub fn restore(
        &self,
        optimiser: &mut Optimiser,
        seed: u64,
        made_of: &BTreeMap<String, String>,
    ) -> Result<(), CheckpointError> {
        let own: Vec<_> =
            optimiser.slots.iter().map(|s| (s.name.clone(), s.weights.len())).collect();
        if own != self.head.parameters {
            return Err(CheckpointError::Foreign(
                "its parameters are not those of the card's network".into(),
            ));
        }
        if seed != self.head.seed {
            return Err(CheckpointError::Foreign(format!(
                "its seed is {}, not {seed}",
                self.head.seed
            )));
        }
        for (name, is) in made_of {
            let was = self.head.made_of.get(name).map_or("nothing", String::as_str);
            if was == is {
                continue;
            }
            return Err(CheckpointError::Foreign(format!("its {name}: {was}, not {is}")));
        }
        for (slot, [weights, mean, square, average]) in
            optimiser.slots.iter_mut().zip(&self.numbers)
        {
            slot.weights.clone_from(weights);
            slot.mean.clone_from(mean);
            slot.square.clone_from(square);
            slot.average.clone_from(average);
        }
        optimiser.steps = self.head.optimiser_steps;
        Ok(())
    }

    /// Writes the checkpoint in place of an older one.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, file: &Path) -> Result<(), CheckpointError> {
        let head = serde_json::to_string(&self.head).map_err(|e| io(file, e))?;
        let numbers = self.numbers.iter().flatten().map(Vec::len).sum::<usize>();
        let mut bytes = Vec::with_capacity(head.len() + 1 + 4 * numbers);
        bytes.extend_from_slice(head.as_bytes());
        bytes.push(b'\n');
        bytes.extend(self.numbers.iter().flatten().flatten().flat_map(|v| v.to_le_bytes()));
        write_atomically(file, &bytes)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// Unreadable or incomplete files.
    pub fn read(file: &Path) -> Result<Self, CheckpointError> {
        let bytes = std::fs::read(file).map_err(|e| io(file, e))?;
        let damaged =
            |cause: &str| CheckpointError::Damaged { file: name(file), cause: cause.to_owned() };
        let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(|| damaged("no header"))?;
        let head: Head =
            serde_json::from_slice(&bytes[..end]).map_err(|e| damaged(&e.to_string()))?;
        let body = &bytes[end + 1..];
        if head.magic == MAGIC_BEFORE {
            return Err(CheckpointError::Older(name(file)));
        }
        // Numbers in a damaged header may be of any size.
        let whole = head.parameters.iter().try_fold(0usize, |sum, (_, n)| {
            n.checked_mul(4 * size_of::<f32>()).and_then(|bytes| sum.checked_add(bytes))
        });
        if head.magic != MAGIC || whole != Some(body.len()) {
            return Err(damaged("its length does not fit its header"));
        }
        let (values, _) = body.as_chunks::<4>();
        let mut values = values.iter().map(|c| f32::from_le_bytes(*c));
        let mut take = |n: usize| -> Vec<f32> { values.by_ref().take(n).collect() };
        let numbers =
            head.parameters.iter().map(|(_, n)| [take(*n), take(*n), take(*n), take(*n)]).collect();
        Ok(Self { head, numbers })
    }
}

fn name(file: &Path) -> String {
    shown(&file.display().to_string())
}

fn io(file: &Path, cause: impl std::fmt::Display) -> CheckpointError {
    CheckpointError::Io { file: name(file), cause: cause.to_string() }
}

/// Writes beside `file`, syncs and renames: readers see the old bytes or the new ones. What a run that was killed in the
/// midst of that left beside it is taken away.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_atomically(file: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| io(file, e))?;
    sweep(file);
    let mut beside = make_part(folder).map_err(|e| io(file, e))?;
    beside.write_all(bytes).map_err(|e| io(file, e))?;
    readable_by_all(beside.as_file()).map_err(|e| io(file, e))?;
    beside.as_file().sync_all().map_err(|e| io(file, e))?;
    beside.persist(file).map_err(|e| io(file, e))?;
    Ok(())
}

/// Temporary files are private; weights and cards are meant to be shared.
fn readable_by_all(file: &std::fs::File) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_half_goes_with_the_next_write() {
        let dir = tempfile::tempdir().expect("a folder");
        let left = dir.path().join(".sonomark-AbC012.part");
        std::fs::write(&left, b"half").expect("written");
        let held = std::fs::OpenOptions::new().write(true).open(&left).expect("there");
        let at = held.metadata().and_then(|meta| meta.modified()).expect("a time");
        held.set_modified(at - std::time::Duration::from_secs(2 * 86_400)).expect("set");
        let file = dir.path().join("a.safetensors");
        write_atomically(&file, b"whole").expect("written");
        assert!(!left.exists());
        assert_eq!(std::fs::read(&file).expect("there"), b"whole");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_header_with_absurd_sizes_is_damage() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("a.checkpoint");
        for n in [usize::MAX, usize::MAX / 4, usize::MAX / 16 + 1] {
            let head = Head {
                magic: MAGIC.into(),
                step: 1,
                optimiser_steps: 1,
                images: 1,
                seed: 0,
                seconds: 1.0,
                best: None,
                made_of: BTreeMap::new(),
                parameters: vec![("a".into(), n), ("b".into(), n)],
            };
            let head = serde_json::to_string(&head).expect("plain data");
            std::fs::write(&file, format!("{head}\n")).expect("written");
            let read = Checkpoint::read(&file);
            assert!(matches!(read, Err(CheckpointError::Damaged { .. })), "{n}: {read:?}");
        }
    }
}

//! The folder of imported networks: `NAME.safetensors` and its card `NAME.yaml`, side by side.
//!
//! What decides whether this file is right: a network is there when its card is there, so the weights are put in place
//! first and taken away last; nothing that stands in the folder is ever replaced; what an import leaves that was ended in
//! its midst goes with the next one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use super::config::{CardError, ModelCard};
use super::weights::{WeightsError, check_hash, sha256_of_file};
use crate::domain::shown;

/// A folder of imported networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    dir: PathBuf,
}

/// How the names of folders begin in which weights are on their way in.
const ON_ITS_WAY: &str = ".import-";

/// Weights on their way in, in a folder of their own. Dropped, all of it is gone, whatever was written beside them.
#[derive(Debug)]
pub struct Staged {
    file: NamedTempFile,
    folder: TempDir,
    /// Locked as long as this process lives; `None` on file systems without locks.
    _held: Option<File>,
}

impl Staged {
    /// Where the weights are to be written.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// A folder for what is needed meanwhile.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// An imported network.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Its name: that of its files.
    pub name: String,
    /// Where its card lies.
    pub card_path: PathBuf,
    /// Where its weights lie, by the card; beside it by name where the card is faulty.
    pub weights_path: PathBuf,
    /// The card.
    pub card: Result<ModelCard, CardError>,
    /// Size of the weights; `None` when they are gone.
    pub bytes: Option<u64>,
}

/// Why the folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// A name that is no file name.
    #[error(
        "\"{0}\" is no name for a network: letters, digits, `.`, `-` and `_`, up to 64, not `.` first"
    )]
    Name(String),
    /// The name is taken.
    #[error(
        "there is a network {0} already; choose another --name, or `sonomark models remove {0}` first"
    )]
    Taken(String),
    /// The file that would hold the weights holds those of another network.
    #[error("{name}.safetensors holds the weights of {by}; choose another --name")]
    Serves {
        /// The name.
        name: String,
        /// The network that they serve.
        by: String,
    },
    /// Nothing of that name.
    #[error("there is no imported network {}; {}", shown(.name), known(.held))]
    Absent {
        /// The name.
        name: String,
        /// What there is.
        held: Vec<String>,
    },
    /// The system refuses.
    #[error("{}: {cause}; check the folder or set XDG_DATA_HOME elsewhere", shown(&.path.to_string_lossy()))]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The weights are not the ones of the card.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The card is faulty.
    #[error("{}: {cause}", shown(&.path.to_string_lossy()))]
    Card {
        /// The card.
        path: PathBuf,
        /// Its faults.
        cause: CardError,
    },
}

fn known(held: &[String]) -> String {
    match held {
        [] => "none was imported yet".to_owned(),
        _ => format!("there are {}", held.join(", ")),
    }
}

/// Whether `name` can name a network: it becomes a file name.
///
/// # Errors
/// [`LibraryError::Name`].
pub fn check_name(name: &str) -> Result<(), LibraryError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let fine = (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(plain);
    if fine { Ok(()) } else { Err(LibraryError::Name(name.chars().take(80).collect())) }
}

impl Library {
    /// The folder `dir`, which need not exist.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The names of all networks in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let stem = |entry: fs::DirEntry| {
            let path = entry.path();
            let name = path.file_stem()?.to_str()?.to_owned();
            (path.extension()? == "yaml" && check_name(&name).is_ok() && path.is_file())
                .then_some(name)
        };
        let mut names: Vec<String> =
            fs::read_dir(&self.dir).into_iter().flatten().flatten().filter_map(stem).collect();
        names.sort();
        names
    }

    /// The network of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> Result<Held, LibraryError> {
        let card_path = self.dir.join(format!("{name}.yaml"));
        if check_name(name).is_err() || !card_path.is_file() {
            let (name, held) = (name.chars().take(80).collect(), self.names());
            return Err(LibraryError::Absent { name, held });
        }
        let card = ModelCard::read_file(&card_path);
        let named = card.as_ref().ok().map(|card| card.weights.file.clone());
        let file = named.filter(|file| !file.is_empty());
        let weights_path = self.dir.join(file.unwrap_or_else(|| format!("{name}.safetensors")));
        let bytes = fs::metadata(&weights_path).ok().map(|meta| meta.len());
        Ok(Held { name: name.to_owned(), card_path, weights_path, card, bytes })
    }

    /// That a network may be called `name`: neither its card nor its weights would replace anything.
    ///
    /// # Errors
    /// A name that is impossible or taken, or whose file of weights serves another card.
    pub fn check_vacant(&self, name: &str) -> Result<(), LibraryError> {
        check_name(name)?;
        if self.dir.join(format!("{name}.yaml")).exists() {
            return Err(LibraryError::Taken(name.to_owned()));
        }
        let weights_path = self.dir.join(format!("{name}.safetensors"));
        let mut others = self.names().into_iter().filter_map(|other| self.find(&other).ok());
        match others.find(|other| other.weights_path == weights_path) {
            Some(other) => Err(LibraryError::Serves { name: name.to_owned(), by: other.name }),
            None => Ok(()),
        }
    }

    /// An empty file, for weights on their way in. What others left that were ended in their midst is taken away.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn stage(&self) -> Result<Staged, LibraryError> {
        let refused = |cause| LibraryError::Io { path: self.dir.clone(), cause };
        fs::create_dir_all(&self.dir).map_err(refused)?;
        let _alone = self.alone();
        self.sweep();
        let folder = tempfile::Builder::new().prefix(ON_ITS_WAY).tempdir_in(&self.dir);
        let folder = folder.map_err(refused)?;
        let held = File::open(folder.path()).ok().filter(|dir| dir.try_lock().is_ok());
        let file = NamedTempFile::new_in(folder.path()).map_err(refused)?;
        Ok(Staged { file, folder, _held: held })
    }

    /// Takes away the folders of weights on their way in that no living process holds.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let on_its_way = entry.file_name().to_string_lossy().starts_with(ON_ITS_WAY)
                && entry.file_type().is_ok_and(|kind| kind.is_dir());
            // Locked until it is gone: who sweeps beside us leaves it.
            let nobodys = |dir: &File| dir.try_lock().is_ok();
            if on_its_way && let Some(_dir) = File::open(entry.path()).ok().filter(nobodys) {
                // What cannot be taken away is in nobody's way.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Puts staged weights and their card in place under the card's name; the card's `weights.file` is set here.
    ///
    /// # Errors
    /// A name that is taken or impossible, or a folder that cannot be written; then nothing is left behind.
    pub fn install(&self, staged: Staged, card: ModelCard) -> Result<Held, LibraryError> {
        let name = card.name.clone();
        let _alone = self.alone();
        self.check_vacant(&name)?;
        let weights_path = self.dir.join(format!("{name}.safetensors"));
        let card_path = self.dir.join(format!("{name}.yaml"));
        let refused = |cause| LibraryError::Io { path: self.dir.clone(), cause };
        let mut card = card;
        card.weights.file = format!("{name}.safetensors");
        let mut text = NamedTempFile::new_in(staged.folder()).map_err(refused)?;
        text.write_all(card.to_yaml().as_bytes()).map_err(refused)?;
        text.as_file().sync_all().map_err(refused)?;
        staged.file.as_file().sync_all().map_err(refused)?;
        // Weights that no card names are left over from a crash between the two steps below.
        staged.file.persist(&weights_path).map_err(|e| refused(e.error))?;
        if let Err(error) = text.persist_noclobber(&card_path) {
            let _ = fs::remove_file(&weights_path);
            return Err(refused(error.error));
        }
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(refused)?;
        self.find(&name)
    }

    /// Lets other processes that put something in place wait until it is dropped: who comes second must neither replace nor
    /// take back the weights of the first. `None` on file systems without locks.
    fn alone(&self) -> Option<File> {
        let dir = File::open(&self.dir).ok()?;
        dir.lock().ok()?;
        Some(dir)
    }

    /// Takes a network away: its card, then its weights where no other card names them.
    ///
    /// # Errors
    /// There is none of that name, or the system refuses.
    pub fn remove(&self, name: &str) -> Result<Held, LibraryError> {
        let held = self.find(name)?;
        let others = self.names().into_iter().filter(|other| other != name);
        let mut others = others.filter_map(|other| self.find(&other).ok());
        // One file of weights may serve cards of several sizes.
        let shared = others.any(|other| other.weights_path == held.weights_path);
        let weights = (!shared).then_some(&held.weights_path);
        for path in [Some(&held.card_path), weights].into_iter().flatten() {
            match fs::remove_file(path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    return Err(LibraryError::Io { path: path.clone(), cause });
                }
                _ => {}
            }
        }
        Ok(held)
    }
}

impl Held {
    /// Reads the weights through and compares their hash with the card's.
    ///
    /// # Errors
    /// A faulty card, weights that cannot be read, or other ones than the card says.
    pub fn verify(&self) -> Result<(), LibraryError> {
        let card = self.card.as_ref().map_err(|cause| LibraryError::Card {
            path: self.card_path.clone(),
            cause: cause.clone(),
        })?;
        let name = self.weights_path.display().to_string();
        let found = sha256_of_file(&self.weights_path)
            .map_err(|cause| LibraryError::Io { path: self.weights_path.clone(), cause })?;
        Ok(check_hash(&name, found, &card.weights)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::cards;
    use crate::net::weights::sha256_hex;

    fn install(library: &Library, name: &str, weights: &[u8]) -> Result<Held, LibraryError> {
        let mut card = cards::known("sam2.1-tiny").expect("a card");
        card.name = name.to_owned();
        card.weights.sha256 = sha256_hex(weights);
        let mut staged = library.stage()?;
        staged.file.write_all(weights).expect("written");
        library.install(staged, card)
    }

    #[test]
    fn weights_that_serve_another_card_are_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let library = Library::new(folder.path().to_owned());
        install(&library, "mine", b"first").expect("the name is free");
        // The same weights at another size, by a card that a person wrote.
        let card = fs::read_to_string(folder.path().join("mine.yaml")).expect("a card");
        let half = card.replace("name: mine", "name: half");
        fs::write(folder.path().join("half.yaml"), half).expect("written");
        library.remove("mine").expect("the card goes, the weights stay");
        let why = install(&library, "mine", b"other").expect_err("they are in use").to_string();
        assert!(why.contains("the weights of half") && why.contains("--name"), "{why}");
        library.find("half").expect("a card").verify().expect("its own weights");
        // A folder of that name is no card.
        fs::create_dir(folder.path().join("folder.yaml")).expect("made");
        assert_eq!(library.names(), ["half"]);
        // Weights without any card are left over from a crash.
        library.remove("half").expect("both go");
        fs::write(folder.path().join("mine.safetensors"), b"left over").expect("written");
        install(&library, "mine", b"other").expect("nobody's").verify().expect("the new ones");
    }

    #[test]
    fn what_an_import_left_that_was_ended_goes_with_the_next_and_what_is_held_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let library = Library::new(folder.path().to_owned());
        let left = folder.path().join(".import-left");
        fs::create_dir(&left).expect("made");
        fs::write(left.join("part"), b"half of the weights").expect("written");
        let mine = library.stage().expect("a folder of its own");
        assert!(!left.exists() && mine.path().starts_with(mine.folder()));
        fs::write(mine.folder().join("copy"), b"for a while").expect("written");
        let other = library.stage().expect("another one");
        assert!(mine.path().exists(), "it is on its way");
        drop((mine, other));
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 0);
    }

    #[test]
    fn of_several_imports_of_one_name_one_wins_with_its_own_weights() {
        let folder = tempfile::tempdir().expect("a folder");
        let library = &Library::new(folder.path().to_owned());
        let ends: Vec<_> = std::thread::scope(|scope| {
            let import = |i: u8| scope.spawn(move || install(library, "mine", &[i; 9]).is_ok());
            let threads: Vec<_> = (0..8).map(import).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
        });
        assert_eq!(ends.iter().filter(|done| **done).count(), 1);
        library.find("mine").expect("the winner").verify().expect("its own weights");
    }
}

//! Cards and weights: the network compiled in, or one beside a card file.

use std::path::Path;

use crate::domain::shown;
use crate::net::budget::{Budget, free_bytes};
use crate::net::config::{CardError, ModelCard};
use crate::net::device::{Picked, caught, first_line};
use crate::net::half::halved_where_safe;
use crate::net::sam2::Sam2;
use crate::net::weights::WeightsError;

/// The card of the network that ships inside the program.
const CARD: &str = include_str!("../../models/samusa-nano.yaml");
/// Its weights, safetensors.
const WEIGHTS: &[u8] = include_bytes!("../../models/samusa-nano.safetensors");

/// Why a network cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum CardFault {
    /// The card is faulty.
    #[error("{card}: {cause}")]
    Card {
        /// Path of the card, safe to show.
        card: String,
        /// All faults.
        cause: CardError,
    },
    /// The card names no weights.
    #[error(
        "the model card {card} names no weights yet; train them with `sonomark train --card {card}`, or give another --card"
    )]
    NoWeights {
        /// Path of the card, safe to show.
        card: String,
    },
    /// The weights do not fit.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Computing would take more memory than is free.
    #[error("{0}")]
    Memory(String),
    /// The GPU takes no network.
    #[error("{device} stopped while the network was loaded ({cause}); use --device cpu")]
    Device {
        /// Which one.
        device: String,
        /// What its driver says.
        cause: String,
    },
}

/// The card of the shipped network.
///
/// # Errors
/// Never for the card that was compiled in and tested.
pub fn shipped_card() -> Result<ModelCard, CardFault> {
    ModelCard::from_yaml(CARD)
        .map_err(|cause| CardFault::Card { card: "(shipped)".to_owned(), cause })
}

/// Reads a card file.
///
/// # Errors
/// When it cannot be read or is faulty; all faults at once.
pub fn read_card(path: &Path) -> Result<ModelCard, CardFault> {
    let card = || shown(&path.to_string_lossy());
    ModelCard::read_file(path).map_err(|cause| CardFault::Card { card: card(), cause })
}

/// Loads the network of the card file `card`, or the shipped one, onto the picked device, its encoder in f16 where the card
/// asks for that and no mask changes.
///
/// # Errors
/// A card or weights that cannot be used, and too little memory to compute at all.
pub fn load_network(card: Option<&Path>, picked: &Picked) -> Result<(ModelCard, Sam2), CardFault> {
    load_with_room(card, picked).map(|(card, sam, _)| (card, sam))
}

/// The same, and for how many bytes of features there is room beside it; `usize::MAX` where nobody says what is free.
pub(super) fn load_with_room(
    card: Option<&Path>,
    picked: &Picked,
) -> Result<(ModelCard, Sam2, usize), CardFault> {
    let room_bytes = room_beside(&card.map_or_else(shipped_card, read_card)?, picked)?;
    on_device(picked, || {
        let (card, sam) = loaded(card, picked)?;
        let sam = if card.network.encoder_f16 { halved_where_safe(sam, picked) } else { sam };
        Ok((card, sam, room_bytes))
    })
}

/// How many bytes of features may be kept beside the network of `card`.
fn room_beside(card: &ModelCard, picked: &Picked) -> Result<usize, CardFault> {
    // Where a GPU's driver does not say what is free, the first job that fails does.
    let (free, budget, whose) = match picked.gpu {
        true => (
            picked.gpu_memory().map(|memory| memory.free()),
            Budget::of(&card.network).on_gpu(),
            format!("{}: ", picked.description),
        ),
        false => (free_bytes(), Budget::of(&card.network), String::new()),
    };
    let Some(free) = free else { return Ok(usize::MAX) };
    let room = budget.cache_bytes(card, free, usize::MAX);
    room.map_err(|why| CardFault::Memory(format!("{whose}{why}")))
}

/// As [`load_network`], all of it in f32: what training goes on from.
///
/// # Errors
/// A card or weights that cannot be used.
pub fn load_exact(card: Option<&Path>, picked: &Picked) -> Result<(ModelCard, Sam2), CardFault> {
    on_device(picked, || loaded(card, picked))
}

/// Does `work`, in which a driver that panics is an error; on the CPU a panic is a defect.
fn on_device<T>(
    picked: &Picked,
    work: impl FnOnce() -> Result<T, CardFault>,
) -> Result<T, CardFault> {
    if !picked.gpu {
        return work();
    }
    caught(work).unwrap_or_else(|cause| {
        let (device, cause) = (picked.description.clone(), first_line(&cause));
        Err(CardFault::Device { device, cause })
    })
}

fn loaded(card: Option<&Path>, picked: &Picked) -> Result<(ModelCard, Sam2), CardFault> {
    let device = &picked.device;
    let Some(path) = card else {
        let card = shipped_card()?;
        if WEIGHTS.is_empty() {
            return Err(CardFault::NoWeights { card: "(shipped)".to_owned() });
        }
        let sam = card.network.init(device);
        let sam = sam.load_bytes("(shipped)", WEIGHTS.to_vec(), &card.weights)?;
        return Ok((card, sam));
    };
    let card = read_card(path)?;
    if card.weights.file.is_empty() {
        return Err(CardFault::NoWeights { card: shown(&path.to_string_lossy()) });
    }
    let file = path.parent().unwrap_or(Path::new(".")).join(&card.weights.file);
    let sam = card.network.init(device).load_file(&file, &card.weights)?;
    Ok((card, sam))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::device::cpu;

    #[test]
    fn a_gpu_that_takes_no_network_is_an_error_with_its_words() {
        let gpu = Picked { gpu: true, description: "GPU of the test".into(), ..cpu("") };
        let lost = on_device::<()>(&gpu, || panic!("out of device memory\n0: backtrace"));
        let told = "GPU of the test stopped while the network was loaded (out of device memory)";
        assert_eq!(lost.expect_err("it panicked").to_string(), format!("{told}; use --device cpu"));
        assert!(matches!(on_device(&gpu, || Ok(7)), Ok(7)));
    }
}

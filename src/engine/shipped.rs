//! Cards and weights: the network compiled in, or one beside a card file.

use std::path::Path;

use crate::domain::shown;
use crate::net::config::{CardError, ModelCard};
use crate::net::device::Picked;
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
/// A card or weights that cannot be used.
pub fn load_network(card: Option<&Path>, picked: &Picked) -> Result<(ModelCard, Sam2), CardFault> {
    let (card, sam) = load_exact(card, picked)?;
    let sam = if card.network.encoder_f16 { halved_where_safe(sam, picked) } else { sam };
    Ok((card, sam))
}

/// As [`load_network`], all of it in f32: what training goes on from.
///
/// # Errors
/// A card or weights that cannot be used.
pub fn load_exact(card: Option<&Path>, picked: &Picked) -> Result<(ModelCard, Sam2), CardFault> {
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

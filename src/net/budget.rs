//! What a network will need of this machine's memory, known before it is loaded.
//!
//! What decides whether this file is right: the estimate lies above what is measured and not far above; what is not needed
//! to compute (the features of visited frames) is given only what is left. A program that runs out of memory is ended by the
//! system without a word, so the word is said here.

use std::fs;
use std::path::Path;

use super::cards;
use super::config::{ModelCard, ModelConfig};
use super::import::keys_of;

/// Bytes of a number.
const F32: u64 = 4;
/// Maps of the first stage, the largest there are, alive at once.
const STAGE_MAPS: u64 = 6;
/// Attention scores held at once, their copies included.
const SCORES_BYTES: u64 = 64 << 20;
/// As much on a GPU, where they are written down whole: fewer, larger pieces keep it busy.
pub(super) const GPU_SCORES_BYTES: u64 = 256 << 20;
/// What a GPU's driver and the gaps between its tensors take.
const GPU_DRIVER_BYTES: u64 = 128 << 20;
/// The program itself, frames, screen.
const PROGRAM_BYTES: u64 = 64 << 20;
/// Memories of tracked frames ([`super::tracker::TrackerOptions::bank_bytes`]).
const BANK_BYTES: u64 = 64 << 20;
/// Those of the structures that walk beside the first one, eight together at most (`engine::TOGETHER_MAX`).
const BESIDE_BYTES: u64 = 7 * BANK_BYTES;
/// Features are worth keeping from so many frames on.
const FEATURE_FRAMES_MIN: u64 = 2;

/// What a network needs, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The weights.
    pub weights: u64,
    /// Everything else alive while one frame is computed; while the weights are loaded, their second copy takes its place.
    pub work: u64,
    /// The features of one frame, kept for later.
    pub features: u64,
}

impl Budget {
    /// Of a network of these sizes.
    #[must_use]
    pub fn of(network: &ModelConfig) -> Self {
        let keys = keys_of(network);
        let parameters: usize = keys.values().map(|shape| shape.iter().product::<usize>()).sum();
        let (side, d) = (network.image_size as u64, network.neck.d_model as u64);
        let cells = |shrink: u64| (side / shrink).pow(2);
        let memory = &network.memory;
        let first = cells(4) * network.trunk.embed_dim as u64;
        // Keys and values of every remembered frame in every layer.
        let read = 2 * d * cells(16) * (memory.num_maskmem * memory.attention_layers) as u64;
        let weights = F32 * parameters as u64;
        let work = F32 * (STAGE_MAPS * first + read) + SCORES_BYTES + BANK_BYTES;
        Self {
            weights,
            work: work.max(weights) + PROGRAM_BYTES,
            features: F32 * d * (cells(4) / 8 + cells(8) / 4 + cells(16)),
        }
    }

    /// The same network's on a GPU. Measured on an H200 (tiny at 1024 px, features of 64 frames kept): 1,956 MiB, by this 2,053.
    #[must_use]
    pub fn on_gpu(mut self) -> Self {
        self.work += GPU_SCORES_BYTES - SCORES_BYTES + GPU_DRIVER_BYTES;
        self
    }

    /// The least that computing takes, bytes.
    #[must_use]
    pub fn least(&self) -> u64 {
        self.weights + self.work + FEATURE_FRAMES_MIN * self.features
    }

    /// How many bytes of features may be kept where `free` bytes are free, `most` at best.
    ///
    /// # Errors
    /// A sentence, when there is not enough to compute at all: what `card` needs, what there is, and what would fit.
    pub fn cache_bytes(&self, card: &ModelCard, free: u64, most: usize) -> Result<usize, String> {
        let spare = free.checked_sub(self.weights + self.work);
        match spare.filter(|spare| *spare >= FEATURE_FRAMES_MIN * self.features) {
            // Half of what the memories of further structures leave: other programs live here too.
            Some(spare) => {
                let left = spare.saturating_sub(BESIDE_BYTES);
                let wanted = (left / 2).max(FEATURE_FRAMES_MIN * self.features);
                Ok(usize::try_from(wanted).unwrap_or(most).min(most))
            }
            None => Err(too_small(card, self.least(), free)),
        }
    }
}

fn too_small(card: &ModelCard, need: u64, free: u64) -> String {
    let size = card.network.image_size;
    let at_512 = Budget::of(&card.network.clone().at_size(512)).least();
    let advice = if size > 512 && at_512 <= free {
        format!("use 512 pixels ({} GiB; import the weights with a card at 512 px)", gib(at_512))
    } else {
        let smaller = cards::names()
            .filter_map(cards::known)
            .map(|known| (Budget::of(&known.network).least(), known.name))
            .filter(|(least, _)| *least <= free)
            .max();
        smaller.map_or_else(
            || "use the shipped network, or end other programs".to_owned(),
            |(least, name)| format!("{name} would fit ({} GiB), or end other programs", gib(least)),
        )
    };
    format!(
        "{} at {size} pixels needs {} GiB of memory, {} GiB are free: {advice}",
        card.name,
        gib(need),
        gib(free)
    )
}

fn gib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1u64 << 30) as f64)
}

/// Memory that this process may still take, bytes: the least of what the system has, what is left of its control group's
/// limit and what is left of the limit on its address space (`ulimit -v`). `None` where the system does not say.
#[must_use]
pub fn free_bytes() -> Option<u64> {
    let text = |path: &str| fs::read_to_string(path).ok();
    let group = text("/proc/self/cgroup").and_then(|groups| group_bytes(&groups, &text));
    let space = text("/proc/self/limits")
        .zip(text("/proc/self/status"))
        .and_then(|(limits, status)| unmapped(&limits, &status));
    let system = kib_of(&text("/proc/meminfo")?, "MemAvailable:")?;
    Some([group, space].into_iter().flatten().fold(system, u64::min))
}

/// What the limits of this process's control groups (the lines of `/proc/self/cgroup`) and of those above them leave,
/// bytes. `text` reads a file.
fn group_bytes(groups: &str, text: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let number = |path: String| text(&path)?.trim().parse::<u64>().ok();
    let left = |folder: &str, most: &str, taken: &str, kept: &[&str]| {
        let most = number(format!("{folder}/{most}"))?;
        let taken = number(format!("{folder}/{taken}"))?;
        // Copies of files are dropped where memory is wanted.
        let stat = text(&format!("{folder}/memory.stat")).unwrap_or_default();
        let copies: u64 = kept.iter().filter_map(|key| number_of(&stat, key)).sum();
        Some(most.saturating_sub(taken.saturating_sub(copies)))
    };
    let second = |folder: &str| {
        let kept = ["inactive_file", "active_file", "slab_reclaimable"];
        left(folder, "memory.max", "memory.current", &kept)
    };
    let first = |folder: &str| {
        let kept = ["total_inactive_file", "total_active_file"];
        left(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", &kept)
    };
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            _ if controllers.split(',').any(|each| each == "memory") => "/sys/fs/cgroup/memory",
            _ => continue,
        };
        // A container may not see the path that the line names, but sees its own group at the root.
        for above in Path::new(path).ancestors() {
            let folder = format!("{root}{}", above.display());
            let folder = folder.trim_end_matches('/');
            let here = if controllers.is_empty() { second(folder) } else { first(folder) };
            least = least.into_iter().chain(here).min();
        }
    }
    least
}

/// The number of the line `KEY 1234`.
fn number_of(table: &str, key: &str) -> Option<u64> {
    table.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Bytes of the line `KEY   1234 kB` of one of the system's tables.
fn kib_of(table: &str, key: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// What the line `Max address space   SOFT   HARD   bytes` leaves beside `VmSize:`; `None` where nothing is limited.
fn unmapped(limits: &str, status: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let most: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(most.saturating_sub(kib_of(status, "VmSize:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_budget_grows_with_weights_and_pixels() {
        let least = |name: &str| Budget::of(&cards::known(name).expect("a card").network).least();
        assert!(least("sam2.1-tiny-512") < least("sam2.1-tiny"));
        assert!(least("sam2.1-tiny") < least("sam2.1-base-plus"));
        assert!(least("sam2.1-base-plus") < least("sam2.1-large"));
    }

    #[test]
    fn a_gpus_budget_lies_above_what_was_measured_and_not_far() {
        let tiny = Budget::of(&cards::known("sam2.1-tiny").expect("a card").network).on_gpu();
        let need = (tiny.weights + tiny.work + 64 * tiny.features) >> 20;
        assert!((1956..2200).contains(&need), "{need} MiB");
    }

    #[test]
    fn the_limits_of_all_groups_count_and_copies_of_files_do_not() {
        let files = |held: &'static [(&'static str, &'static str)]| {
            move |path: &str| {
                held.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
            }
        };
        // A job of a batch system: its own group is not limited, the one above is.
        let job = files(&[
            ("/sys/fs/cgroup/slurm/job/step/memory.max", "max"),
            ("/sys/fs/cgroup/slurm/job/step/memory.current", "100"),
            ("/sys/fs/cgroup/slurm/job/memory.max", "1000"),
            ("/sys/fs/cgroup/slurm/job/memory.current", "950"),
            (
                "/sys/fs/cgroup/slurm/job/memory.stat",
                "anon 100\ninactive_file 600\nactive_file 200\n",
            ),
        ]);
        assert_eq!(group_bytes("0::/slurm/job/step\n", &job), Some(850));
        let container = files(&[
            ("/sys/fs/cgroup/memory.max", "500"),
            ("/sys/fs/cgroup/memory.current", "200"),
        ]);
        assert_eq!(group_bytes("0::/\n", &container), Some(300));
        let old = files(&[
            ("/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "700"),
            ("/sys/fs/cgroup/memory/docker/memory.usage_in_bytes", "600"),
            ("/sys/fs/cgroup/memory/docker/memory.stat", "cache 5\ntotal_inactive_file 50\n"),
        ]);
        assert_eq!(group_bytes("5:cpu:/docker\n4:memory:/docker\n", &old), Some(150));
        assert_eq!(group_bytes("0::/user.slice\n", &files(&[])), None);
    }

    #[test]
    fn too_little_memory_is_a_sentence_with_a_way_out() {
        let card = cards::known("sam2.1-large").expect("a card");
        let budget = Budget::of(&card.network);
        let why = budget.cache_bytes(&card, budget.least() - 1, 1 << 29).expect_err("too little");
        assert!(why.contains("sam2.1-large at 1024 pixels needs"), "{why}");
        assert!(why.contains("use 512 pixels"), "{why}");
        let why = budget.cache_bytes(&card, GIB, 1 << 29).expect_err("far too little");
        assert!(why.contains("1.0 GiB are free") && why.contains("would fit"), "{why}");
        let why = budget.cache_bytes(&card, 0, 1 << 29).expect_err("nothing");
        assert!(why.contains("shipped network"), "{why}");
    }

    #[test]
    fn features_get_what_is_left_and_never_more_than_wanted() {
        let card = cards::known("sam2.1-tiny").expect("a card");
        let budget = Budget::of(&card.network);
        let cache = |free: u64| budget.cache_bytes(&card, free, 512 << 20).expect("enough");
        assert_eq!(cache(64 * GIB), 512 << 20);
        assert_eq!(cache(budget.least()) as u64, FEATURE_FRAMES_MIN * budget.features);
        // Where there is room for the memories of eight structures, features do not take it.
        let beside = cache(budget.least() + BESIDE_BYTES) as u64;
        assert_eq!(beside, FEATURE_FRAMES_MIN * budget.features);
        let tight = cache(budget.least() + BESIDE_BYTES + 10 * budget.features) as u64;
        assert_eq!(tight, 6 * budget.features);
    }

    #[test]
    fn what_is_available_is_read_from_the_systems_own_table() {
        let text = "MemTotal:  24 kB\nMemFree: 1 kB\nMemAvailable:    2048 kB\nBuffers: 3 kB\n";
        assert_eq!(kib_of(text, "MemAvailable:"), Some(2 << 20));
        assert_eq!(kib_of("MemTotal: 24 kB\n", "MemAvailable:"), None);
        assert_eq!(kib_of("MemAvailable: many kB\n", "MemAvailable:"), None);
        let limits = |soft: &str| format!("Max address space         {soft}  unlimited  bytes\n");
        let status = "VmPeak: 9 kB\nVmSize:     1 kB\n";
        assert_eq!(unmapped(&limits("3072"), status), Some(2048));
        assert_eq!(unmapped(&limits("512"), status), Some(0));
        assert_eq!(unmapped(&limits("unlimited"), status), None);
    }
}

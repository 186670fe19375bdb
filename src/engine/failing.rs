//! What becomes of the network when its device gives up.
//!
//! What decides whether this file is right: the person reads one sentence without a backtrace that says what happened and
//! what happens next; a device that is out of memory gets a second chance, a lost one none (its runtime stays broken for
//! the life of the process) and one that hangs none, and then the CPU takes over and says so, whatever device was asked for.

use super::SegmenterInfo;
use crate::net::device::first_line;

/// How a job failed, as far as it matters to the jobs after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The device has no memory left.
    Memory,
    /// The device is gone, or nothing it says can be trusted.
    Lost,
    /// A call into the device does not come back.
    Hung,
}

/// How the network is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// On the device that was asked for.
    Asked,
    /// On the CPU, because that device failed.
    OnCpu,
}

/// The words in which drivers and the layers above them say it: their letters alone, in small, because the same is said as
/// a sentence, as `VK_ERROR_DEVICE_LOST` and as `OutOfMemory`.
const MEMORY: [&str; 5] =
    ["outofmemory", "outofdevicememory", "notenoughmemory", "memorylimit", "memoryisfull"];
const TOO_BIG: [&str; 2] = ["bufferistoobig", "bytesistoobig"];
const LOST: [&str; 7] = [
    "devicelost",
    "deviceislost",
    "devicewaslost",
    "devicehung",
    "poisoned",
    // CUDA's: whatever is asked after them fails alike.
    "illegalmemoryaccess",
    "unspecifiedlaunchfailure",
];

/// What a failure of a job means for the device, or nothing.
pub(super) fn trouble(why: &str) -> Option<Trouble> {
    let why: String =
        why.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect();
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    // A lost device may well complain about memory too.
    match (says(&LOST), says(&MEMORY) || says(&TOO_BIG)) {
        (true, _) => Some(Trouble::Lost),
        (false, true) => Some(Trouble::Memory),
        (false, false) => None,
    }
}

/// Whether a failure of the network says that its device gave up; for work without a [`super::Worker`].
#[must_use]
pub fn device_gave_up(why: &str) -> bool {
    trouble(why).is_some()
}

/// What a panic of a driver says, in one line that still tells what it means for the device.
pub(super) fn in_short(why: &str) -> String {
    let line = first_line(why);
    match trouble(why) {
        Some(found) if trouble(&line).is_none() => format!("{} ({line})", what(found)),
        _ => line,
    }
}

/// How the network goes on after `trouble`, which struck for the `times`-th time on a device other than the CPU.
pub(super) fn next_start(trouble: Trouble, times: u32) -> Start {
    match trouble {
        Trouble::Memory if times < 2 => Start::Asked,
        Trouble::Memory | Trouble::Lost | Trouble::Hung => Start::OnCpu,
    }
}

/// The sentence for the person.
pub(super) fn sentence(trouble: Trouble, start: Start, why: &str) -> String {
    let what = what(trouble);
    let next = match start {
        Start::Asked => "starts again",
        Start::OnCpu => "moves to the CPU, which is slower",
    };
    format!(
        "{what} ({}); what was decided stays, the network {next}: repeat the last step",
        brief(why)
    )
}

/// What happened, in few words.
pub(super) fn what(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Memory => "the device's memory is full",
        Trouble::Lost => "the device was lost",
        Trouble::Hung => "the device did not answer",
    }
}

/// Who answers after `trouble`, with it in the place of the usual reason for the device.
pub(super) fn because(mut info: SegmenterInfo, trouble: Trouble) -> SegmenterInfo {
    let device = info.device.split(':').next().unwrap_or_default();
    info.device = format!("{device}: {}", what(trouble));
    info
}

/// The first line that says something; backtraces are for nobody here.
fn brief(why: &str) -> String {
    let line =
        why.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
    let line = line.strip_prefix("the network stopped: ").unwrap_or(line);
    let line = line.split(';').next().unwrap_or(line);
    line.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_words_are_understood() {
        for (words, expected) in [
            ("out of device memory allocating 268435456 bytes\n0: burn", Some(Trouble::Memory)),
            ("An out-of-memory error happened during launch\nCaused by:", Some(Trouble::Memory)),
            ("wgpu error: Out of Memory", Some(Trouble::Memory)),
            ("Validation Error: Parent device is lost", Some(Trouble::Lost)),
            ("The device was poisoned during launch, out of memory", Some(Trouble::Lost)),
            ("`unwrap()` on an `Err` value: OutOfMemory", Some(Trouble::Memory)),
            ("VK_ERROR_OUT_OF_DEVICE_MEMORY", Some(Trouble::Memory)),
            ("VK_ERROR_DEVICE_LOST", Some(Trouble::Lost)),
            ("CUDA_ERROR_ILLEGAL_ADDRESS, an illegal memory access was", Some(Trouble::Lost)),
            ("frame 7 is unbearable", None),
        ] {
            assert_eq!(trouble(words), expected, "{words}");
        }
    }

    #[test]
    fn one_line_of_a_panic_tells_what_it_means() {
        for (words, line) in [
            ("no kernel\nCaused by: OutOfMemory", "the device's memory is full (no kernel)"),
            ("no kernel\nCaused by: DEVICE_LOST", "the device was lost (no kernel)"),
            ("device lost\n0: backtrace", "device lost"),
            ("no kernel\n0: backtrace", "no kernel"),
        ] {
            assert_eq!(in_short(words), line);
            assert_eq!(trouble(&in_short(words)), trouble(words));
        }
    }

    #[test]
    fn the_sentence_says_what_happened_and_what_comes_next() {
        let why = "the network stopped: out of device memory allocating 9 bytes\n0: backtrace";
        let first = sentence(Trouble::Memory, next_start(Trouble::Memory, 1), why);
        assert_eq!(
            first,
            "the device's memory is full (out of device memory allocating 9 bytes); what was decided stays, the network \
             starts again: repeat the last step"
        );
        let second = sentence(Trouble::Memory, next_start(Trouble::Memory, 2), why);
        assert!(second.contains("moves to the CPU") && !second.contains("backtrace"));
        assert_eq!(next_start(Trouble::Lost, 1), Start::OnCpu);
    }
}

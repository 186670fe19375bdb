//! How much of a GPU's memory is free, asked before a network is loaded onto it.
//!
//! Vulkan's own answer needs an extension that the runtime does not open, so the drivers are asked: AMD's tell in the
//! system's device tree, NVIDIA's by their own tool. What decides whether this file is right: the card is named by its place
//! on the bus, never by its position in somebody's list; a driver that does not answer counts as "not known".

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The system's device tree.
const DEVICES: &str = "/sys/bus/pci/devices";
/// A driver in trouble answers late or never.
const PATIENCE: Duration = Duration::from_secs(5);

/// A GPU's memory, bytes, everybody's use counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuMemory {
    /// All there is.
    pub total: u64,
    /// What is taken.
    pub used: u64,
}

impl GpuMemory {
    /// Of the card at `pci` (`0000:01:00.0`); `None` where its driver does not say.
    #[must_use]
    pub fn at(pci: &str) -> Option<Self> {
        if pci.is_empty() || !pci.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c)) {
            return None;
        }
        Self::in_tree(&Path::new(DEVICES).join(pci.to_lowercase())).or_else(|| Self::asked(pci))
    }

    /// What is free.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.total.saturating_sub(self.used)
    }

    /// From the files of AMD's driver.
    fn in_tree(device: &Path) -> Option<Self> {
        let number = |name: &str| -> Option<u64> {
            fs::read_to_string(device.join(name)).ok()?.trim().parse().ok()
        };
        Some(Self { total: number("mem_info_vram_total")?, used: number("mem_info_vram_used")? })
    }

    /// From NVIDIA's tool.
    fn asked(pci: &str) -> Option<Self> {
        let mut tool = Command::new("nvidia-smi");
        tool.arg(format!("--id={pci}"))
            .args(["--query-gpu=memory.total,memory.used", "--format=csv,noheader,nounits"])
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let (answer, heard) = mpsc::channel();
        thread::spawn(move || answer.send(tool.output().ok()));
        let output = heard.recv_timeout(PATIENCE).ok()??;
        output.status.success().then(|| Self::told(&String::from_utf8_lossy(&output.stdout)))?
    }

    /// The line `81559, 12345` in MiB.
    fn told(line: &str) -> Option<Self> {
        let (total, used) = line.lines().next()?.split_once(',')?;
        let mib = |text: &str| text.trim().parse::<u64>().ok()?.checked_mul(1 << 20);
        Some(Self { total: mib(total)?, used: mib(used)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_answers_are_read() {
        let told = GpuMemory::told("81559, 559\n").expect("two numbers");
        assert_eq!(told.free(), 81_000 << 20);
        for odd in ["", "81559", "[N/A], [N/A]", "No devices were found", "-1, 2"] {
            assert_eq!(GpuMemory::told(odd), None, "{odd}");
        }
        let tree = tempfile::tempdir().expect("a folder");
        assert_eq!(GpuMemory::in_tree(tree.path()), None);
        fs::write(tree.path().join("mem_info_vram_total"), "17163091968\n").expect("written");
        fs::write(tree.path().join("mem_info_vram_used"), "163091968\n").expect("written");
        let held = GpuMemory::in_tree(tree.path()).expect("both files");
        assert_eq!(held.free(), 17_000_000_000);
    }

    #[test]
    fn a_name_that_is_no_place_on_the_bus_asks_nobody() {
        for odd in ["", "../../etc", "--help", "0000:01:00.0;ls"] {
            assert_eq!(GpuMemory::at(odd), None, "{odd}");
        }
    }
}

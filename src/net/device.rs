//! Which device computes: the only file that names a backend, beside the kernels in `gpu`.
//!
//! What decides whether this file is right: `gpu` never becomes the CPU in silence; `auto` takes a GPU only after it gave
//! the same numbers as the CPU on a convolution, a norm and an attention; a software rasteriser counts as no GPU unless
//! it is named. Which device was taken, and why, is a sentence for the status line.

use super::blocks::{attend, constant};
#[cfg(feature = "gpu")]
use super::findings;
use super::gpu_memory::GpuMemory;
use crate::domain::counted;
use burn::tensor::module::{conv2d, layer_norm};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use burn_flex::{Flex, FlexTensor};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

/// Lets `gpu` take a software rasteriser, for tests.
pub const ALLOW_SOFTWARE: &str = "SONOMARK_ALLOW_SOFTWARE_GPU";
/// Largest difference between GPU and CPU in the self-test.
const SELF_TEST_TOLERANCE: f32 = 1e-3;

/// What the user asked for with `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceWant {
    /// A GPU that passes the self-test, else the CPU.
    #[default]
    Auto,
    /// A GPU or an error; with a number, that entry of [`adapters`].
    Gpu(Option<usize>),
    /// The CPU.
    Cpu,
}

impl FromStr for DeviceWant {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu(None)),
            _ => match text.strip_prefix("gpu:").map(str::parse) {
                Some(Ok(index)) => Ok(Self::Gpu(Some(index))),
                _ => Err(DeviceError::Unknown(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for DeviceWant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(None) => f.write_str("gpu"),
            Self::Gpu(Some(index)) => write!(f, "gpu:{index}"),
        }
    }
}

/// Why no device was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Not a device name.
    #[error("`{0}` is no device; say auto, gpu, gpu:0, gpu:1, ... or cpu")]
    Unknown(String),
    /// A GPU was demanded and there is none that can be used.
    #[error("no GPU: {0}; use --device cpu, or `sonomark doctor` to see what was found")]
    NoGpu(String),
}

/// The device that computes from now on.
#[derive(Debug, Clone)]
pub struct Picked {
    /// For tensors and modules; `.device.clone().autodiff()` for training.
    pub device: Device,
    /// Which device and why, for the status line.
    pub description: String,
    /// Whether it is a GPU.
    pub gpu: bool,
    /// Its place on the bus (`0000:01:00.0`); empty where it has none or the driver does not say.
    pub pci: String,
}

impl Picked {
    /// The memory of the GPU, where its driver tells.
    #[must_use]
    pub fn gpu_memory(&self) -> Option<GpuMemory> {
        GpuMemory::at(&self.pci)
    }

    /// Where the shares of a training step are computed: on a GPU all of it, on the CPU one share for each thread.
    #[must_use]
    pub fn shares(&self, threads: usize) -> Vec<Device> {
        vec![self.device.clone(); if self.gpu { 1 } else { threads.max(1) }]
    }
}

/// A way to a GPU of this machine: a graphics adapter, or one of CUDA's devices in builds with the feature `cuda`. The same
/// card can be there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// Its number in `gpu:N`.
    pub index: usize,
    /// Name and driver.
    pub name: String,
    /// A program on the CPU that pretends to be a GPU.
    pub software: bool,
    /// Its place on the bus; empty where the driver does not say.
    pub pci: String,
    kind: Kind,
    /// Position among adapters of the same kind.
    nth: usize,
}

/// What an adapter is; earlier ones are preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "such builds find no adapter"))]
enum Kind {
    Discrete,
    Integrated,
    Virtual,
    /// The way round a Vulkan that is blocked.
    Cuda,
    Software,
}

/// Takes the device that `want` names.
pub fn pick(want: DeviceWant) -> Result<Picked, DeviceError> {
    match want {
        DeviceWant::Cpu => Ok(cpu("")),
        DeviceWant::Auto => Ok(gpu(None, false).unwrap_or_else(|why| cpu(&why))),
        DeviceWant::Gpu(index) => {
            let software =
                index.is_some() || std::env::var_os(ALLOW_SOFTWARE).is_some_and(|v| v == "1");
            gpu(index, software).map_err(DeviceError::NoGpu)
        }
    }
}

/// The CPU, with `why` behind its name in the status line; nothing where it was asked for.
#[must_use]
pub fn cpu(why: &str) -> Picked {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let cores = counted(cores, "core");
    Picked {
        device: Device::flex(),
        description: match why {
            "" => format!("CPU ({cores})"),
            _ => format!("CPU ({cores}): {why}"),
        },
        gpu: false,
        pci: String::new(),
    }
}

/// What `work` with a device gives. Drivers and the layers above them panic where others return an error.
///
/// # Errors
/// The words of a panic.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|cause| {
        let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| cause.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "unknown cause".into())
    })
}

/// The first line of what a panic says; a backtrace is for nobody here.
pub(crate) fn first_line(words: &str) -> String {
    words.lines().next().unwrap_or_default().chars().take(120).collect()
}

/// The ways to the GPUs of this machine, software ones included; empty without the `gpu` feature, and where a driver stops
/// while it is looked for.
#[must_use]
pub fn adapters() -> Vec<Adapter> {
    looked_for().unwrap_or_default()
}

/// The same, or why the driver stopped.
fn looked_for() -> Result<Vec<Adapter>, String> {
    caught(all_adapters)
        .map_err(|why| format!("a driver stopped while it was looked for ({})", first_line(&why)))
}

/// Whether `auto` would try a GPU; asking opens none.
#[must_use]
pub fn gpu_in_sight() -> bool {
    adapters().iter().any(|adapter| !adapter.software)
}

/// The best adapter that passes its self-test, or the numbered one.
fn gpu(index: Option<usize>, software: bool) -> Result<Picked, String> {
    let all = looked_for()?;
    if let Some(index) = index {
        let chosen = all.iter().find(|a| a.index == index).ok_or_else(|| {
            let known: Vec<String> =
                all.iter().map(|a| format!("gpu:{} {}", a.index, a.name)).collect();
            format!("there is no gpu:{index}, only [{}]", known.join(", "))
        })?;
        return tested(chosen);
    }
    let mut usable: Vec<&Adapter> = all.iter().filter(|a| software || !a.software).collect();
    usable.sort_by_key(|a| (a.kind, a.nth));
    let mut faults = Vec::new();
    for adapter in usable {
        match tested(adapter) {
            Ok(picked) => return Ok(picked),
            Err(why) => faults.push(why),
        }
    }
    Err(match all.first() {
        _ if !faults.is_empty() => faults.join("; "),
        None if cfg!(feature = "gpu") => "no Vulkan adapter found".to_owned(),
        None => "this build has no GPU support".to_owned(),
        // Which ones, `sonomark doctor` lists; the status line is short.
        Some(_) => "only software adapters".to_owned(),
    })
}

/// The adapter, after its self-test.
fn tested(adapter: &Adapter) -> Result<Picked, String> {
    let opened = caught(|| open(adapter)).flatten();
    let device =
        opened.map_err(|why| format!("{} cannot be opened: {}", adapter.name, first_line(&why)))?;
    let error = self_test(&device)
        .map_err(|why| format!("{} failed the self-test: {why}", adapter.name))?;
    let description = format!("GPU {}: self-test error {error:.0e}", adapter.name);
    Ok(Picked { device, description, gpu: true, pci: adapter.pci.clone() })
}

/// The numbers of a tensor of the CPU, shared with it instead of copied.
#[derive(Clone)]
pub(super) struct Host(FlexTensor);

impl Host {
    /// The numbers of an f32 tensor that lies on the CPU and follows no gradients; `None` for every other.
    pub(super) fn of<const D: usize>(x: &Tensor<D>) -> Option<Self> {
        if x.device().is_autodiff() {
            return None;
        }
        let held = x.clone().try_into_primitive::<Flex>().ok()?.to_contiguous();
        held.as_slice::<f32>().is_some().then_some(Self(held))
    }
}

impl std::ops::Deref for Host {
    type Target = [f32];

    /// Row by row, whatever views the tensor went through.
    fn deref(&self) -> &[f32] {
        self.0.as_slice().unwrap_or_default()
    }
}

/// Whether tensors of a device lie on a GPU and follow no gradients.
pub(super) fn is_gpu(device: &Device) -> bool {
    !device.is_autodiff() && *device != Device::flex()
}

/// Whether a tensor lies on a GPU and follows no gradients.
pub(super) fn on_gpu<const D: usize>(x: &Tensor<D>) -> bool {
    is_gpu(&x.device())
}

/// Runs small operations on `device` and on the CPU; the largest difference, or why it is too large.
///
/// Several known driver faults are silent wrong numbers, not errors. A kernel that cannot be built panics, possibly on
/// this thread: that is a failed test too.
pub fn self_test(device: &Device) -> Result<f32, String> {
    let want = probe(&Device::flex())?;
    let got = caught(|| probe(device)).map_err(|_| "it could not run a kernel".to_owned())??;
    compared(&want, &got)
}

/// The largest difference, or why it is too large.
fn compared(want: &[f32], got: &[f32]) -> Result<f32, String> {
    if got.len() != want.len() {
        return Err("an operation gave another number of values".into());
    }
    let error = got.iter().zip(want).map(|(a, b)| (a - b).abs());
    // `max` would lose a NaN.
    let error = error.fold(0.0, |a: f32, e| if e.is_nan() || e > a { e } else { a });
    if error <= SELF_TEST_TOLERANCE {
        Ok(error)
    } else {
        Err(format!("numbers differ from the CPU's by {error:.1e}"))
    }
}

fn probe(device: &Device) -> Result<Vec<f32>, String> {
    let wave = |n: usize, step: f32| (0..n).map(|i| (i as f32 * step).sin()).collect::<Vec<f32>>();
    let image: Tensor<4> = constant(wave(3 * 16 * 16, 0.37), [1, 3, 16, 16], device);
    let kernel: Tensor<4> = constant(wave(8 * 3 * 9, 0.71), [8, 3, 3, 3], device);
    let map = conv2d(image, kernel, None, ConvOptions::new([2, 2], [1, 1], [1, 1], 1));
    let tokens = map.reshape([1, 2, 4, 64]).swap_dims(2, 3);
    let scale: Tensor<1> = constant(wave(4, 0.5), [4], device);
    let tokens = layer_norm(tokens, scale, None, 1e-6);
    let mixed = attend(tokens.clone(), tokens.clone() * 0.5, tokens);
    mixed.try_into_vec_as::<f32>().map_err(|e| e.to_string())
}

#[cfg(not(feature = "gpu"))]
fn all_adapters() -> Vec<Adapter> {
    Vec::new()
}

#[cfg(not(feature = "gpu"))]
fn open(_: &Adapter) -> Result<Device, String> {
    Err("this build has no GPU support".into())
}

#[cfg(feature = "gpu")]
use with_gpu::{all_adapters, open};

#[cfg(feature = "gpu")]
mod with_gpu {
    use super::{Adapter, Kind, findings};
    use burn::tensor::{Device, DeviceKind};
    use burn_wgpu::WgpuInitError;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::task::{Context, Poll, Waker};
    use wgpu::{Backends, DeviceType, Instance, InstanceDescriptor};

    /// The ways to the GPUs of this machine, software ones included.
    pub(super) fn all_adapters() -> Vec<Adapter> {
        let cuda = |nth| Adapter {
            index: 0,
            name: format!("CUDA device {nth}"),
            software: false,
            pci: String::new(),
            kind: Kind::Cuda,
            nth,
        };
        let all = graphics_adapters().into_iter().chain((0..cuda_devices()).map(cuda));
        all.enumerate().map(|(index, adapter)| Adapter { index, ..adapter }).collect()
    }

    #[cfg(feature = "cuda")]
    fn cuda_devices() -> usize {
        Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec().len()
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda_devices() -> usize {
        0
    }

    fn graphics_adapters() -> Vec<Adapter> {
        let api = if cfg!(target_os = "macos") { Backends::METAL } else { Backends::VULKAN };
        let _alone = alone();
        let instance = Instance::new(InstanceDescriptor {
            backends: api,
            ..InstanceDescriptor::new_without_display_handle()
        });
        let mut out: Vec<Adapter> = Vec::new();
        for adapter in ready(instance.enumerate_adapters(api)).unwrap_or_default() {
            let info = adapter.get_info();
            let kind = match info.device_type {
                DeviceType::DiscreteGpu => Kind::Discrete,
                DeviceType::IntegratedGpu => Kind::Integrated,
                DeviceType::VirtualGpu => Kind::Virtual,
                DeviceType::Cpu => Kind::Software,
                // Unclassified adapters cannot be named to the runtime.
                DeviceType::Other => continue,
            };
            let name = format!("{} ({} {})", info.name, info.driver, info.driver_info);
            out.push(Adapter {
                index: 0,
                name: name.trim().to_owned(),
                software: kind == Kind::Software,
                pci: info.device_pci_bus_id,
                kind,
                nth: out.iter().filter(|other| other.kind == kind).count(),
            });
        }
        out
    }

    /// Starts the runtime on the adapter.
    pub(super) fn open(adapter: &Adapter) -> Result<Device, String> {
        findings::keep_none();
        let kind = match adapter.kind {
            Kind::Discrete => DeviceKind::DiscreteGpu(adapter.nth),
            Kind::Integrated => DeviceKind::IntegratedGpu(adapter.nth),
            Kind::Virtual => DeviceKind::VirtualGpu(adapter.nth),
            Kind::Software => DeviceKind::Cpu,
            #[cfg(feature = "cuda")]
            Kind::Cuda => return Ok(Device::cuda(adapter.nth)),
            #[cfg(not(feature = "cuda"))]
            Kind::Cuda => return Err("this build has no CUDA".into()),
        };
        let _alone = alone();
        match Device::wgpu_options().device_kind(kind.clone()).init() {
            Ok(device) => Ok(device),
            // A second pick of the same adapter in one process shares its runtime.
            Err(WgpuInitError::Registration { .. }) => Ok(Device::wgpu(kind)),
            Err(e) => Err(e.to_string()),
        }
    }

    /// The Vulkan loader crashes when instances come and go on several threads at once; this one static keeps ours apart.
    fn alone() -> MutexGuard<'static, ()> {
        static LOADER: Mutex<()> = Mutex::new(());
        LOADER.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Native adapter lists are ready at once; anything that waits is taken as absent.
    fn ready<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_numbers_at_the_self_test_are_seen_and_named() {
        let want = [1.0, -2.0, 0.5];
        assert_eq!(compared(&want, &want), Ok(0.0));
        assert!(compared(&want, &[1.0, -2.0005, 0.5]).is_ok_and(|error| error > 4e-4));
        for wrong in [[1.0, -2.0, 0.6], [1.0, f32::NAN, 0.5], [f32::INFINITY, -2.0, 0.5]] {
            let why = compared(&want, &wrong).expect_err("it is off");
            assert!(why.contains("differ from the CPU's"), "{why}");
        }
        assert!(compared(&want, &want[..2]).is_err());
        // What `auto` makes of it: the CPU, with the reason for the status line.
        assert!(cpu("it failed the self-test").description.ends_with("it failed the self-test"));
    }

    #[test]
    fn a_driver_that_panics_is_an_error_with_its_words() {
        assert_eq!(caught(|| 7), Ok(7));
        let why = |work: fn()| caught(work).expect_err("it panicked");
        assert_eq!(why(|| panic!("out of memory")), "out of memory");
        let long = why(|| panic!("adapter {} is gone\n0: backtrace", 3 + 4));
        assert_eq!(first_line(&long), "adapter 7 is gone");
    }
}

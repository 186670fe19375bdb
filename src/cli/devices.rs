//! Devices and networks of commands without a screen: opened, loaded, and what becomes of the work where a device gives up.
//!
//! What decides whether this file is right: a driver that hangs, panics or loses its device ends the work with a sentence, or
//! the work goes on on the CPU and says so; on the CPU nothing is timed.

use crate::config::Settings;
use crate::engine::{Limits, NetSegmenter, Segmenter, device_gave_up, in_parts, timed};
use crate::net::device::{DeviceError, DeviceWant, Picked, caught, first_line, pick};

use super::{Failure, tell};

/// The device that the settings name, as [`opened`] gives it.
///
/// # Errors
/// A name that is no device's, or a device that cannot be used.
pub(super) fn device_of(settings: &Settings) -> Result<Picked, Failure> {
    settings.device.value.parse::<DeviceWant>().map_err(no_device).and_then(opened)
}

/// The device that is wanted. A driver that does not answer while it is opened and tried ends the program with a sentence.
///
/// # Errors
/// A device that cannot be used.
pub(super) fn opened(want: DeviceWant) -> Result<Picked, Failure> {
    in_timed_parts(want != DeviceWant::Cpu, |_| pick(want).map_err(no_device))
}

/// What cannot be used as a device is a fault of the settings.
pub(super) fn no_device(cause: DeviceError) -> Failure {
    Failure::Configuration(cause.to_string())
}

/// Does `work`, which tells after each part of it that it goes on. On a GPU that does not come back from a part the program
/// ends with a sentence; on the CPU a part may take as long as it takes.
///
/// # Errors
/// What the work says, or that the system gives no thread.
pub(super) fn in_timed_parts<T>(
    gpu: bool,
    work: impl FnOnce(&(dyn Fn() + Sync)) -> Result<T, Failure>,
) -> Result<T, Failure> {
    match gpu {
        true => in_parts(Limits::default(), work, end_at_once).map_err(Failure::Ours)?,
        false => work(&|| ()),
    }
}

/// Does `work` on a device, in which a driver that panics is a failure like others; on the CPU a panic is a defect.
///
/// # Errors
/// What the work says, and that the driver stopped.
pub(super) fn on_device<T>(
    picked: &Picked,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    if !picked.gpu {
        return work();
    }
    caught(work).unwrap_or_else(|why| {
        let (device, why) = (&picked.description, first_line(&why));
        Err(Failure::Ours(format!(
            "{device} stopped ({why}); what was written so far stays, run it again with --device cpu"
        )))
    })
}

/// Loads the network that the settings name.
///
/// # Errors
/// A card, weights or device that cannot be used.
fn load_network(settings: &Settings) -> Result<NetSegmenter, Failure> {
    let card = settings.card.value.as_deref();
    let mut network =
        NetSegmenter::load(card, &settings.device.value).map_err(Failure::Configuration)?;
    network.set_feature_budget(settings.features_mib.value);
    Ok(network)
}

/// The same for measurements, whose calls are not timed from outside. Where the device does not answer while the network is
/// loaded the program ends with a sentence.
///
/// # Errors
/// A card, weights or device that cannot be used.
pub(super) fn load_bare(settings: &Settings) -> Result<NetSegmenter, Failure> {
    in_timed_parts(settings.device.value != "cpu", |_| load_network(settings))
}

/// The same for work without a screen. Where the device does not answer the program ends with a sentence.
///
/// # Errors
/// A card, weights or device that cannot be used.
pub(super) fn load_timed(settings: &Settings) -> Result<Box<dyn Segmenter>, Failure> {
    if settings.device.value == "cpu" {
        return Ok(Box::new(load_network(settings)?));
    }
    let build = || match load_network(settings) {
        Ok(network) => Ok(Box::new(network) as Box<dyn Segmenter>),
        Err(failure) => Err(failure.sentence().to_owned()),
    };
    timed(Limits::default(), build, end_at_once).map_err(Failure::Configuration)
}

/// The same on the CPU, whatever device the settings name.
///
/// # Errors
/// A card or weights that cannot be used.
pub(super) fn load_on_cpu(settings: &Settings) -> Result<Box<dyn Segmenter>, Failure> {
    let mut settings = settings.clone();
    settings.device.value = "cpu".into();
    load_timed(&settings)
}

/// Does `work` with `network`. Where its device gives up at it, the network of `on_cpu` takes its place, for good, and the
/// work is done once more.
///
/// # Errors
/// What the work or the loading says.
pub(super) fn or_on_the_cpu<T>(
    network: &mut Box<dyn Segmenter>,
    on_cpu: impl FnOnce() -> Result<Box<dyn Segmenter>, Failure>,
    mut work: impl FnMut(&mut dyn Segmenter) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let why = match work(&mut **network) {
        Err(Failure::Ours(why))
            if device_gave_up(&why) && !network.info().device.starts_with("CPU") =>
        {
            why
        }
        done => return done,
    };
    let why = why.split(';').next().unwrap_or_default();
    tell(&format!("{why}; what is written stays, the network moves to the CPU, which is slower"));
    *network = on_cpu()?;
    work(&mut **network)
}

/// Ends the program, of which a thread is in a driver that does not answer, with a sentence.
fn end_at_once(why: String) {
    let failure = Failure::Ours(why);
    tell(&format!("sonomark: {}", failure.sentence()));
    // SAFETY: nothing of this process is used after it. A usual exit would wait for the driver.
    unsafe { libc::_exit(i32::from(failure.code())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bitmap, FramePrompts, GrayFrame};
    use crate::engine::{Anchor, Decided, Direction, Image, SegmentError, SegmenterInfo};
    use crate::net::device::cpu;

    /// A network on a device; away from the CPU it fails with its words.
    struct OnDevice(&'static str, &'static str);

    impl OnDevice {
        fn answer(&self) -> Result<Decided, SegmentError> {
            if !self.0.starts_with("CPU") {
                return Err(SegmentError::Network(self.1.into()));
            }
            let (bitmap, zero) = (Bitmap::empty(2, 2), 0.0);
            let (score, object_score_logit) = (zero, zero);
            Ok(Decided { bitmap, score, object_score_logit, encode_ms: zero, decode_ms: zero })
        }
    }

    impl Segmenter for OnDevice {
        fn info(&self) -> SegmenterInfo {
            SegmenterInfo { model: String::new(), device: self.0.into(), bridged: false }
        }
        fn open_clip(&mut self, _: usize) {}
        fn refresh(&mut self, _: Image<'_>, _: &FramePrompts) -> Result<Decided, SegmentError> {
            self.answer()
        }
        fn turn_to(&mut self, _: usize) {}
        fn end_walk(&mut self, _: usize) {}
        fn begin_walk(&mut self, _: bool) {}
        fn anchor(&mut self, _: Image<'_>, _: &Anchor) -> Result<Decided, SegmentError> {
            self.answer()
        }
        fn follow(
            &mut self,
            _: Image<'_>,
            _: Direction,
            _: Option<Image<'_>>,
        ) -> Result<Decided, SegmentError> {
            self.answer()
        }
        fn encode_ahead(&mut self, _: Image<'_>) -> Result<(), SegmentError> {
            self.answer().map(drop)
        }
    }

    #[test]
    fn a_gpu_whose_driver_panics_is_a_failure_with_its_words() {
        let gpu = Picked { gpu: true, description: "GPU of the test".into(), ..cpu("") };
        let lost = on_device::<()>(&gpu, || panic!("device lost\n0: backtrace"));
        let told = lost.expect_err("it panicked").sentence().to_owned();
        assert!(told.starts_with("GPU of the test stopped (device lost); what was"), "{told}");
        assert!(matches!(on_device(&gpu, || Ok(7)), Ok(7)));
    }

    #[test]
    fn a_device_that_gives_up_leaves_the_work_to_the_cpu_and_other_failures_end_it() {
        let pixels = GrayFrame::new(2, 2, vec![0; 4]).expect("it fits");
        let ask = |network: &mut dyn Segmenter| {
            let image = Image { frame: 0, pixels: &pixels };
            network.refresh(image, &FramePrompts::default()).map_err(Failure::ours)
        };
        let on_cpu =
            || -> Result<Box<dyn Segmenter>, Failure> { Ok(Box::new(OnDevice("CPU", ""))) };
        for (words, goes_on) in [("the device was lost", true), ("it is no number", false)] {
            let mut network: Box<dyn Segmenter> = Box::new(OnDevice("GPU of the test", words));
            let done = or_on_the_cpu(&mut network, on_cpu, ask);
            assert_eq!(done.is_ok(), goes_on, "{words}");
            assert_eq!(network.info().device.starts_with("CPU"), goes_on, "{words}");
        }
    }
}

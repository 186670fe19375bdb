//! One step on several devices, or on several cores of the CPU.
//!
//! Each learner has a copy of the network and takes a share of the step's images on a thread of its own; the gradients
//! are averaged by the number of structures that each share judged. Small batches keep a core busier this way than by
//! splitting each operation, most of which are short. Burn's own training loop does the same, but ties it to a loop,
//! metrics and a screen of its own. What decides whether this file is right: how many learners there are changes the
//! rounding of a step on stills and nothing else; and the sum is taken in the learners' order, so that a run is repeatable.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;

use super::TrainError;
use super::lessons::{Batch, Desk, Marks, Plan};
use super::optimise::Optimiser;
use crate::net::sam2::{ImageFeatures, Sam2};

/// The gradient of each parameter in the optimiser's order.
pub(super) type Gradients = Vec<Option<Vec<f32>>>;

struct Learner {
    net: Sam2,
    desk: Desk,
    device: Device,
    pool: rayon::ThreadPool,
}

/// All learners of a run.
pub(super) struct Crew {
    learners: Vec<Learner>,
}

impl Crew {
    /// One learner for each device (without gradients), each with a copy of `net` and what `desk` makes; on the CPU they
    /// share `threads`.
    pub(super) fn new(
        net: &Sam2,
        devices: &[Device],
        threads: usize,
        desk: impl Fn(&Device) -> Desk,
    ) -> Result<Self, TrainError> {
        let each = (threads / devices.len().max(1)).max(1);
        let learners = devices.iter().map(|plain| {
            let device = plain.clone().autodiff();
            let pool = pool(each)?;
            Ok(Learner { net: net.clone().fork(&device), desk: desk(&device), device, pool })
        });
        Ok(Self { learners: learners.collect::<Result<_, TrainError>>()? })
    }

    /// The network as it stands.
    pub(super) fn net(&self) -> &Sam2 {
        &self.learners[0].net
    }

    /// What makes the lessons of the first learner.
    pub(super) fn desk(&self) -> &Desk {
        &self.learners[0].desk
    }

    /// Takes the optimiser's weights over. Every learner gets tensors of its own: shared ones would tie the learners'
    /// gradients together.
    pub(super) fn take(&mut self, optimiser: &Optimiser) {
        for learner in &mut self.learners {
            learner.net = optimiser.write(learner.net.clone(), false);
        }
    }

    /// The gradients of one step and what to report; `None` for a batch without anything.
    pub(super) fn teach(
        &mut self,
        optimiser: &Optimiser,
        plan: &Plan,
        batch: Batch,
    ) -> Option<(Gradients, Marks)> {
        let mut shares = batch.split(self.learners.len());
        if shares.len() == 1 {
            // All threads for the one share.
            return self.learners[0].teach(optimiser, plan, shares.remove(0));
        }
        let taught: Vec<_> = std::thread::scope(|scope| {
            let started: Vec<_> = self
                .learners
                .iter_mut()
                .zip(shares)
                .map(|(learner, share)| scope.spawn(|| learner.on_its_own(optimiser, plan, share)))
                .collect();
            started
                .into_iter()
                .map(|learner| match learner.join() {
                    Ok(taught) => taught,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        });
        average(taught.into_iter().flatten().collect())
    }
}

impl Learner {
    fn on_its_own(
        &mut self,
        optimiser: &Optimiser,
        plan: &Plan,
        share: Batch,
    ) -> Option<(Gradients, Marks)> {
        let Self { net, desk, device, pool } = self;
        pool.install(|| teach(net, desk, device, optimiser, plan, share))
    }

    fn teach(
        &mut self,
        optimiser: &Optimiser,
        plan: &Plan,
        share: Batch,
    ) -> Option<(Gradients, Marks)> {
        teach(&self.net, &mut self.desk, &self.device, optimiser, plan, share)
    }
}

fn teach(
    net: &Sam2,
    desk: &mut Desk,
    device: &Device,
    optimiser: &Optimiser,
    plan: &Plan,
    share: Batch,
) -> Option<(Gradients, Marks)> {
    let share = match share {
        Batch::Encoded(lessons, features) => {
            let here = |x: burn::tensor::Tensor<4>| x.to_device(device);
            let ImageFeatures { pix_feat, high_res, .. } = *features;
            let features = ImageFeatures::new(here(pix_feat), high_res.map(here));
            Batch::Encoded(lessons, Box::new(features))
        }
        other => other,
    };
    let (loss, marks) = desk.teach(net, plan, &share)?;
    let grads = GradientsParams::from_grads(loss.backward(), net);
    Some((optimiser.gather(net, grads), marks))
}

/// A pool of `threads` threads.
pub(super) fn pool(threads: usize) -> Result<rayon::ThreadPool, TrainError> {
    let threads = threads.max(1);
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    built.map_err(|e| TrainError::Threads { threads, cause: e.to_string() })
}

/// The mean of the learners' gradients and marks, each weighing as much as it judged.
fn average(taught: Vec<(Gradients, Marks)>) -> Option<(Gradients, Marks)> {
    let all = taught.iter().map(|(_, marks)| marks.structures).sum::<usize>();
    let mut taught = taught.into_iter();
    let (mut grads, mut marks) = taught.next()?;
    let share = |marks: &Marks| marks.structures as f32 / all.max(1) as f32;
    let first = share(&marks);
    grads.iter_mut().flatten().flatten().for_each(|g| *g *= first);
    marks.loss *= first;
    marks.iou = marks.iou.map(|iou| iou * first);
    for (more, found) in taught {
        let part = share(&found);
        for (sum, more) in grads.iter_mut().zip(more) {
            match (sum, more) {
                (Some(sum), Some(more)) => {
                    sum.iter_mut().zip(&more).for_each(|(s, g)| *s += part * g);
                }
                (empty @ None, Some(mut more)) => {
                    more.iter_mut().for_each(|g| *g *= part);
                    *empty = Some(more);
                }
                (_, None) => {}
            }
        }
        marks.loss += part * found.loss;
        marks.images += found.images;
        for (sum, iou) in marks.iou.iter_mut().zip(found.iou) {
            *sum += part * iou;
        }
    }
    marks.structures = all;
    Some((grads, marks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bitmap, GrayFrame};
    use crate::learn::dataset::{Still, StillSet};
    use crate::learn::lessons::Subject;
    use crate::learn::loss::LossWeights;
    use crate::learn::optimise::AdamW;
    use crate::net::config::ModelCard;

    fn discs() -> StillSet {
        let still = |i: u32| {
            let (cx, cy) = (40.0 + 3.0 * i as f32, 50.0 - 2.0 * i as f32);
            let inside = |x: u32, y: u32| (x as f32 - cx).hypot(y as f32 - cy) < 20.0;
            let mask = Bitmap::from_fn(96, 80, inside);
            let pixels = mask.pixels.iter().map(|inside| if *inside { 40 } else { 180 }).collect();
            let frame = GrayFrame::new(96, 80, pixels).expect("it fits");
            Still { name: format!("{i}"), levels: vec![frame], objects: vec![mask.to_mask()] }
        };
        StillSet {
            name: "discs".into(),
            stills: (0..6).map(still).collect(),
            clips: Vec::new(),
            sha256: String::new(),
        }
    }

    /// Also that shares of unequal size weigh as much as they hold.
    #[test]
    fn two_learners_find_the_gradients_of_one() {
        let card = ModelCard::from_yaml(include_str!("../../models/samusa-nano.yaml"));
        let card = card.expect("the shipped card");
        let plain = Device::flex();
        let device = plain.clone().autodiff();
        device.seed(1);
        let net = card.network.init(&device);
        let optimiser = Optimiser::new(&net, AdamW::default());
        for subject in [Subject::Boundary, Subject::Region] {
            let plan = Plan { subject, side: 64, batch: 5, focal: 20.0, boundary: 2.0, seed: 9 };
            let batch = plan.render(&[discs()]);
            let found = [1, 2].map(|count| {
                let desk = |device: &Device| {
                    Desk::new(card.preprocess.clone(), LossWeights::default(), device)
                };
                let mut crew =
                    Crew::new(&net, &vec![plain.clone(); count], 2, desk).expect("a crew");
                crew.take(&optimiser);
                crew.teach(&optimiser, &plan, batch.clone()).expect("lessons")
            });
            let [(one, marks), (two, shared)] = &found;
            assert_eq!((marks.images, marks.structures), (shared.images, shared.structures));
            assert!((marks.loss - shared.loss).abs() < 1e-4 * marks.loss, "{marks:?} {shared:?}");
            let largest = one.iter().flatten().flatten().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!(largest > 1e-3 && one.len() == two.len());
            for (a, b) in one.iter().zip(two) {
                assert_eq!(a.is_some(), b.is_some());
                let pairs = a.iter().flatten().zip(b.iter().flatten());
                let gap = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(gap < 1e-3 * largest, "{subject:?}: {gap} of {largest}");
            }
        }
    }
}

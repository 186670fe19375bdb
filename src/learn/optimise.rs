//! AdamW with a global-norm clip and a running average of the weights, on plain numbers.
//!
//! What decides whether this file is right: the clip looks at all gradients together (Burn's own clips each tensor
//! alone); decay is decoupled and spares biases, norms, and all that is named after embeddings or tokens; and the whole
//! state is a list of `f32` vectors in the order of the network's parameters, so that a checkpoint restores it bit for bit.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

use crate::net::sam2::Sam2;

/// Settings of [`Optimiser`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Memory of the gradient and of its square.
    pub betas: (f32, f32),
    /// Decoupled weight decay.
    pub decay: f32,
    /// Largest norm of all gradients together.
    pub clip: f32,
    /// Memory of the weight average, once it has seen enough steps.
    pub average: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { betas: (0.9, 0.98), decay: 0.05, clip: 1.0, average: 0.998 }
    }
}

/// One parameter tensor and what is remembered about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// Path inside the network.
    pub name: String,
    /// Whether weight decay applies.
    pub decays: bool,
    /// Current weights.
    pub weights: Vec<f32>,
    /// Running mean of the gradient.
    pub mean: Vec<f32>,
    /// Running mean of its square.
    pub square: Vec<f32>,
    /// Running average of the weights.
    pub average: Vec<f32>,
}

/// The optimiser's whole state.
#[derive(Debug, Clone)]
pub struct Optimiser {
    config: AdamW,
    /// One per trainable parameter, in the network's order.
    pub slots: Vec<Slot>,
    /// Steps taken.
    pub steps: u64,
    index: HashMap<ParamId, usize>,
}

struct Collect {
    path: Vec<String>,
    found: Vec<(ParamId, Slot)>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if !value.is_require_grad() {
            return;
        }
        let weights = numbers(value);
        let name = self.path.join(".");
        // Parts of names: the attentions between tokens and image and the patch embedding are spared, too, unlike in SAM 2.
        // The shipped network learned so; another list is another recipe.
        let spared = ["embed", "token", "tpos_enc", "no_obj_ptr"];
        let slot = Slot {
            decays: D >= 2 && !spared.iter().any(|s| name.contains(s)),
            name,
            mean: vec![0.0; weights.len()],
            square: vec![0.0; weights.len()],
            average: weights.clone(),
            weights,
        };
        self.found.push((param.id, slot));
    }
}

/// The values of a tensor, row by row.
pub(super) fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().convert::<f32>().try_into_vec().expect("the data was just converted to f32")
}

struct Gather<'a> {
    index: &'a HashMap<ParamId, usize>,
    grads: GradientsParams,
    out: Vec<Option<Vec<f32>>>,
}

impl ModuleVisitor for Gather<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let (Some(at), Some(grad)) =
            (self.index.get(&param.id), self.grads.remove::<D>(param.id))
        {
            self.out[*at] = Some(numbers(grad));
        }
    }
}

struct Write<'a> {
    index: &'a HashMap<ParamId, usize>,
    slots: &'a [Slot],
    averaged: bool,
}

impl ModuleMapper for Write<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(slot) = self.index.get(&param.id).map(|at| &self.slots[*at]) else {
            return param;
        };
        let values = if self.averaged { slot.average.clone() } else { slot.weights.clone() };
        param.map(|old| {
            let trains = old.is_require_grad();
            let new = Tensor::from_data(TensorData::new(values, old.dims()), &old.device());
            if trains { new.require_grad() } else { new }
        })
    }
}

impl Optimiser {
    /// Starts from the weights of `net`, which lies on an autodiff device.
    #[must_use]
    pub fn new(net: &Sam2, config: AdamW) -> Self {
        let mut collect = Collect { path: Vec::new(), found: Vec::new() };
        net.visit(&mut collect);
        let index = collect.found.iter().enumerate().map(|(i, (id, _))| (*id, i)).collect();
        Self {
            config,
            slots: collect.found.into_iter().map(|(_, slot)| slot).collect(),
            steps: 0,
            index,
        }
    }

    /// The gradient of each parameter in the order of the slots; `None` where the loss does not reach.
    pub(super) fn gather(&self, net: &Sam2, grads: GradientsParams) -> Vec<Option<Vec<f32>>> {
        let mut gather = Gather { index: &self.index, grads, out: vec![None; self.slots.len()] };
        net.visit(&mut gather);
        gather.out
    }

    /// One step with learning rate `rate` along `grads`, in the order of the slots; returns the norm of all gradients.
    ///
    /// A step whose gradients are not finite changes nothing.
    pub fn step(&mut self, grads: &[Option<Vec<f32>>], rate: f32) -> f32 {
        let squares = grads.iter().flatten().flat_map(|g| g.iter().map(|v| f64::from(*v).powi(2)));
        let norm = squares.sum::<f64>().sqrt() as f32;
        if !norm.is_finite() {
            return norm;
        }
        let scale = (self.config.clip / (norm + 1e-6)).min(1.0);
        self.steps += 1;
        let keep = self.config.average.min((1 + self.steps) as f32 / (10 + self.steps) as f32);
        for (slot, grad) in self.slots.iter_mut().zip(grads) {
            if let Some(grad) = grad {
                slot.descend(grad, scale, rate, self.steps, &self.config);
            }
            for (a, w) in slot.average.iter_mut().zip(&slot.weights) {
                *a += (1.0 - keep) * (w - *a);
            }
        }
        norm
    }

    /// `net` with the current or the averaged weights.
    #[must_use]
    pub fn write(&self, net: Sam2, averaged: bool) -> Sam2 {
        net.map(&mut Write { index: &self.index, slots: &self.slots, averaged })
    }
}

impl Slot {
    fn descend(&mut self, grad: &[f32], scale: f32, rate: f32, step: u64, config: &AdamW) {
        let (b1, b2) = config.betas;
        let steps = i32::try_from(step).unwrap_or(i32::MAX);
        let (fix1, fix2) = (1.0 - b1.powi(steps), 1.0 - b2.powi(steps));
        let shrink = if self.decays { 1.0 - rate * config.decay } else { 1.0 };
        let state = self.weights.iter_mut().zip(self.mean.iter_mut().zip(self.square.iter_mut()));
        for ((w, (m, v)), g) in state.zip(grad) {
            let g = g * scale;
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *w = *w * shrink - rate * (*m / fix1) / ((*v / fix2).sqrt() + 1e-8);
        }
    }
}

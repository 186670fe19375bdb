//! How often numbers cross between program and device.
//!
//! On a GPU every crossing waits for all the work before it, so their number per frame is a property worth holding
//! constant: a frame late in a clip must not cost more crossings than an early one. What decides whether this file is
//! right: everything in `net` that uploads or reads back in a tracked frame goes through it; the counts are of this thread,
//! because one thread owns the network.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::device::is_gpu;

/// Crossings of this thread so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Tensors made from numbers of the program.
    pub uploads: usize,
    /// Tensors whose numbers came back.
    pub read_backs: usize,
}

impl Traffic {
    /// The crossings since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            uploads: self.uploads - earlier.uploads,
            read_backs: self.read_backs - earlier.read_backs,
        }
    }
}

thread_local! {
    static COUNTED: Cell<Traffic> = const { Cell::new(Traffic { uploads: 0, read_backs: 0 }) };
}

thread_local! {
    static KEPT: RefCell<HashMap<(String, String), Tensor<1>>> = RefCell::default();
}

/// What crossed on this thread so far.
pub fn traffic() -> Traffic {
    COUNTED.get()
}

/// A tensor from numbers of the program.
pub(super) fn upload<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    let so_far = COUNTED.get();
    COUNTED.set(Traffic { uploads: so_far.uploads + 1, ..so_far });
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// As [`upload`], once for each `key` and device: for numbers that no frame changes (encodings, tables). `values` are asked
/// for at the first call only.
///
/// Kept for GPUs alone, as long as this thread lives: a CPU has kernels that need no tables, and what follows gradients
/// belongs to one step of training.
pub(super) fn upload_once<const D: usize>(
    key: String,
    shape: [usize; D],
    device: &Device,
    values: impl FnOnce() -> Vec<f32>,
) -> Tensor<D> {
    if !is_gpu(device) {
        return upload(values(), shape, device);
    }
    let key = (key, format!("{device:?}"));
    if let Some(kept) = KEPT.with_borrow(|kept| kept.get(&key).cloned()) {
        return kept.reshape(shape);
    }
    let new = upload(values(), shape, device);
    KEPT.with_borrow_mut(|kept| kept.insert(key, new.clone().flatten(0, D - 1)));
    new
}

/// The numbers of a tensor, once everything before it is computed.
///
/// # Errors
/// A failing device.
pub(super) fn read_back(x: Tensor<1>) -> Result<Vec<f32>, String> {
    let so_far = COUNTED.get();
    COUNTED.set(Traffic { read_backs: so_far.read_backs + 1, ..so_far });
    x.try_into_vec_as::<f32>().map_err(|error| error.to_string())
}

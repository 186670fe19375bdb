//! The two ways between a frame and the memory, as functions of tensors alone: what a frame reads ([`Sam2::condition`])
//! and what it leaves behind ([`Sam2::remember`]). Inference and training share them; gradients flow through both.
//!
//! What decides whether this file is right: the token order (mask memories, then pointers), the time row of each memory,
//! pointers cut into contiguous pieces of `mem_dim` with one encoding per pointer, the mask's scale of ±10, and that places
//! kept free for later memories ([`Places`]) change nothing.
//! Source: `SAM2Base._prepare_memory_conditioned_features`, `_encode_new_memory`. Golden `vid.*.memory`, `memory_pos`,
//! `memenc_mask_in`, `maskmem_features`.

use burn::tensor::activation::sigmoid;
use burn::tensor::{DType, Tensor};

use crate::net::blocks::{constant, in_dtype, sine_pe_1d, sine_pe_2d, to_tokens};
use crate::net::cpu;
use crate::net::device::on_gpu;
use crate::net::resize::{Kernel, resize};
use crate::net::sam2::{Begun, ImageFeatures, Sam2};

/// A mask memory to attend to.
#[derive(Clone, Debug)]
pub struct MaskMemory {
    /// `[B, mem_dim, h, w]`, as made by [`Sam2::remember`]; bf16 is read as f32.
    pub features: Tensor<4>,
    /// 0 for a conditioning frame, else 1 (oldest) ..= num_maskmem - 1 (the previous frame).
    pub t_pos: usize,
}

/// An object pointer to attend to.
#[derive(Clone, Debug)]
pub struct PointerMemory {
    /// `[B, d_model]`.
    pub obj_ptr: Tensor<2>,
    /// Steps of the walk since the pointer's frame, negative when it lies ahead.
    pub distance: i64,
}

/// How many memories the attention has places for. On a GPU all are there from the first followed frame on, those without
/// a memory count for nothing: every frame then has the same shapes, and no kernel is made or tried in mid-clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// For masks.
    pub masks: usize,
    /// For object pointers.
    pub pointers: usize,
}

/// Added to the score of a place without a memory: its weight is exactly 0 in f32. Not an infinity, which shader compilers
/// may take for impossible.
const FREE: f32 = -1e9;

/// A frame's features after reading the memory, with what they read.
#[derive(Clone, Debug)]
pub struct Conditioned {
    /// `[B, d_model, h, w]`, the input of the mask decoder.
    pub pix_feat: Tensor<4>,
    /// Memory tokens `[B, M, mem_dim]`, free places among them.
    memory: Tensor<3>,
    /// Their encoding, same shape.
    memory_pos: Tensor<3>,
    /// Tokens of masks, free places for masks, tokens of pointers, free places for pointers.
    runs: [usize; 4],
}

impl Conditioned {
    /// Memory tokens and their encoding, `[B, M, mem_dim]` each, without free places.
    pub fn read(&self) -> [Tensor<3>; 2] {
        let [masks, free, pointers, _] = self.runs;
        [&self.memory, &self.memory_pos].map(|tokens| {
            let part = |at, n| tokens.clone().narrow(1, at, n);
            match (masks, pointers) {
                (_, 0) => part(0, masks),
                (0, _) => part(free, pointers),
                _ => Tensor::cat(vec![part(0, masks), part(masks + free, pointers)], 1),
            }
        })
    }

    /// How many of the last tokens of [`Self::read`] are pointers.
    pub fn pointer_tokens(&self) -> usize {
        self.runs[2]
    }
}

/// Whether the object counts as present wherever the object score gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The score decides: present above 0.
    Scored,
    /// Present whatever the score says: the frame lies in a window that a person has set.
    Given,
}

impl Presence {
    /// 1 where the object counts as present, else 0, from raw scores `[B, 1]`; no gradient, as in SAM 2.
    pub fn gate(self, score: &Tensor<2>) -> Tensor<2> {
        match self {
            Presence::Scored => score.clone().detach().greater_elem(0.0).float(),
            Presence::Given => score.ones_like(),
        }
    }
}

/// How a mask becomes the memory encoder's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskScale {
    /// `sigmoid(logit) * 20 - 10`: tracked frames, and every frame while training.
    Soft,
    /// `(logit > 0) * 20 - 10`: prompted frames at inference (`binarize_mask_from_pts_for_mem_enc`).
    Binary,
}

/// What a frame reads.
#[derive(Clone, Copy)]
struct Read<'a> {
    masks: &'a [MaskMemory],
    pointers: &'a [PointerMemory],
    max_ptrs: usize,
}

impl Read<'_> {
    fn is_empty(self) -> bool {
        self.masks.is_empty() && self.pointers.is_empty()
    }
}

impl Sam2 {
    /// Features `pix_feat` `[B, d_model, h, w]` conditioned on remembered frames, in the order given.
    ///
    /// `max_ptrs` is `BankRules::max_ptrs` of the clip: it scales the pointers' distances. With nothing to read, the
    /// result is [`Sam2::without_memory`].
    pub fn condition(
        &self,
        pix_feat: Tensor<4>,
        masks: &[MaskMemory],
        pointers: &[PointerMemory],
        max_ptrs: usize,
    ) -> Conditioned {
        self.condition_begun(pix_feat, &Begun::default(), Read { masks, pointers, max_ptrs })
    }

    /// [`Sam2::condition`] of a whole frame, one of several tracks on it: what none of them reads is computed once.
    pub fn condition_frame(
        &self,
        image: &ImageFeatures,
        masks: &[MaskMemory],
        pointers: &[PointerMemory],
        max_ptrs: usize,
    ) -> Conditioned {
        let read = Read { masks, pointers, max_ptrs };
        self.condition_begun(image.pix_feat.clone(), &image.begun, read)
    }

    fn condition_begun(&self, pix_feat: Tensor<4>, begun: &Begun, read: Read<'_>) -> Conditioned {
        let memory = &self.config().memory;
        let places = Places { masks: memory.num_maskmem, pointers: memory.max_obj_ptrs };
        if on_gpu(&pix_feat) && !read.is_empty() {
            self.condition_with(pix_feat, begun, read, places)
        } else {
            self.condition_on(pix_feat, begun, read)
        }
    }

    /// [`Sam2::condition`] with that many places at least, whatever there is to read.
    pub fn condition_in(
        &self,
        pix_feat: Tensor<4>,
        masks: &[MaskMemory],
        pointers: &[PointerMemory],
        max_ptrs: usize,
        places: Places,
    ) -> Conditioned {
        let read = Read { masks, pointers, max_ptrs };
        self.condition_with(pix_feat, &Begun::default(), read, places)
    }

    fn condition_with(
        &self,
        pix_feat: Tensor<4>,
        begun: &Begun,
        Read { masks, pointers, max_ptrs }: Read<'_>,
        places: Places,
    ) -> Conditioned {
        let device = pix_feat.device();
        let [b, d, h, w] = pix_feat.dims();
        let mem_dim = self.config().memory.mem_dim;
        let free = Places {
            masks: places.masks.saturating_sub(masks.len()),
            pointers: places.pointers.saturating_sub(pointers.len()),
        };
        // Made once and in every frame, so that a full bank costs what an empty one does.
        let empty = MaskMemory { features: Tensor::zeros([b, mem_dim, h, w], &device), t_pos: 0 };
        let mut all_masks = masks.to_vec();
        all_masks.extend(std::iter::repeat_n(empty, free.masks));
        let none = PointerMemory { obj_ptr: Tensor::zeros([b, d], &device), distance: 0 };
        let mut all_pointers = pointers.to_vec();
        all_pointers.extend(std::iter::repeat_n(none, free.pointers));
        let read = Read { masks: &all_masks, pointers: &all_pointers, max_ptrs };
        let (memory, memory_pos, n_ptr_tokens) = self.tokens(&pix_feat, read);
        let (cells, pieces) = (h * w, d / mem_dim);
        let runs = [
            (masks.len() * cells, 0.0),
            (free.masks * cells, FREE),
            (pointers.len() * pieces, 0.0),
            (free.pointers * pieces, FREE),
        ];
        let bias: Vec<f32> =
            runs.iter().flat_map(|(n, bias)| std::iter::repeat_n(*bias, *n)).collect();
        let bias = constant(bias, [1, 1, 1, memory.dims()[1]], &device);
        let begun = begun.or_made(|| self.memory_attention.begin(pix_feat));
        let pix_feat = self.memory_attention.read_where(
            (begun, [h, w]),
            memory.clone(),
            memory_pos.clone(),
            n_ptr_tokens,
            Some(bias),
        );
        Conditioned { pix_feat, memory, memory_pos, runs: runs.map(|(n, _)| n) }
    }

    fn condition_on(&self, pix_feat: Tensor<4>, begun: &Begun, read: Read<'_>) -> Conditioned {
        if read.is_empty() {
            let [b, ..] = pix_feat.dims();
            let none = Tensor::zeros([b, 0, self.config().memory.mem_dim], &pix_feat.device());
            let pix_feat = self.without_memory(pix_feat);
            return Conditioned { pix_feat, memory: none.clone(), memory_pos: none, runs: [0; 4] };
        }
        let (memory, memory_pos, n_ptr_tokens) = self.tokens(&pix_feat, read);
        let [_, _, h, w] = pix_feat.dims();
        let begun = begun.or_made(|| self.memory_attention.begin(pix_feat));
        let pix_feat = self.memory_attention.read(
            (begun, [h, w]),
            memory.clone(),
            memory_pos.clone(),
            n_ptr_tokens,
        );
        let runs = [memory.dims()[1] - n_ptr_tokens, 0, n_ptr_tokens, 0];
        Conditioned { pix_feat, memory, memory_pos, runs }
    }

    /// Memory tokens `[B, M, mem_dim]`, their encoding, and how many of the last are pointers.
    fn tokens(&self, pix_feat: &Tensor<4>, read: Read<'_>) -> (Tensor<3>, Tensor<3>, usize) {
        let device = pix_feat.device();
        let [b, _, h, w] = pix_feat.dims();
        let tpos = self.maskmem_tpos_enc.val();
        let [rows, _, _, mem_dim] = tpos.dims();
        let tpos = tpos.reshape([rows, mem_dim]);
        let spatial_pos = to_tokens(sine_pe_2d(mem_dim, [h, w], &device));

        let mut memory = Vec::with_capacity(read.masks.len() + 1);
        let mut memory_pos = Vec::with_capacity(read.masks.len() + 1);
        for mask in read.masks {
            let row =
                tpos.clone().narrow(0, rows.saturating_sub(mask.t_pos + 1), 1).unsqueeze::<3>();
            memory.push(to_tokens(in_dtype(mask.features.clone(), DType::F32)));
            memory_pos.push((spatial_pos.clone() + row).expand([b, h * w, mem_dim]));
        }
        let mut n_ptr_tokens = 0;
        if !read.pointers.is_empty() {
            let (tokens, pos) = self.pointer_tokens(read.pointers, mem_dim, read.max_ptrs);
            n_ptr_tokens = tokens.dims()[1];
            memory.push(tokens);
            memory_pos.push(pos);
        }
        (Tensor::cat(memory, 1), Tensor::cat(memory_pos, 1), n_ptr_tokens)
    }

    /// Pointers as memory tokens `[B, n * d_model / mem_dim, mem_dim]` and their encoding.
    fn pointer_tokens(
        &self,
        pointers: &[PointerMemory],
        mem_dim: usize,
        max_ptrs: usize,
    ) -> (Tensor<3>, Tensor<3>) {
        let [b, d] = pointers[0].obj_ptr.dims();
        let (n, pieces) = (pointers.len(), d / mem_dim);
        let ptrs: Vec<_> = pointers.iter().map(|p| p.obj_ptr.clone()).collect();
        let device = ptrs[0].device();
        let tokens = Tensor::stack::<3>(ptrs, 1).reshape([b, n * pieces, mem_dim]);
        let farthest = max_ptrs.saturating_sub(1).max(1) as f32;
        let distances: Vec<f32> = pointers.iter().map(|p| p.distance as f32 / farthest).collect();
        let pos = self.obj_ptr_tpos_proj.forward(sine_pe_1d(&distances, d, &device));
        let pos = pos.reshape([1, n, 1, mem_dim]).expand([b, n, pieces, mem_dim]);
        (tokens, pos.reshape([b, n * pieces, mem_dim]))
    }

    /// The memory encoder's mask input `[B, 1, 4h, 4w]` for low-resolution logits `[B, 1, h, w]`.
    pub fn memory_mask(&self, low_res: Tensor<4>, scale: MaskScale) -> Tensor<4> {
        if let Some(mask) = cpu::memory_mask(&low_res, scale == MaskScale::Soft) {
            return mask;
        }
        let [_, _, h, w] = low_res.dims();
        let logits = resize(low_res, [4 * h, 4 * w], Kernel::Bilinear);
        let mask = match scale {
            MaskScale::Soft => sigmoid(logits),
            MaskScale::Binary => logits.greater_elem(0.0).float(),
        };
        mask * 20.0 - 10.0
    }

    /// What a decided frame leaves behind: `[B, mem_dim, h, w]`.
    ///
    /// `pix_feat` are the image features before any conditioning, `mask` comes from [`Sam2::memory_mask`], `present`
    /// `[B, 1]` from [`Presence::gate`]: where the object is absent, `no_obj_embed_spatial` is added everywhere.
    pub fn remember(&self, pix_feat: Tensor<4>, mask: Tensor<4>, present: Tensor<2>) -> Tensor<4> {
        let features = self.memory_encoder.forward(pix_feat, mask);
        let [b, mem_dim, _, _] = features.dims();
        let absent = (present.neg() + 1.0).reshape([b, 1, 1, 1]);
        features + absent * self.no_obj_embed_spatial.val().reshape([1, mem_dim, 1, 1])
    }
}

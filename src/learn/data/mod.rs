//! Data sets: one manifest for all of them, whoever published them.
//!
//! A [`manifest::Manifest`] lists images, masks, patients and splits, with hashes; people can write one by hand. The sets
//! of the literature differ only in names and conventions, so each is a row of the table in [`layouts`]: patterns of
//! paths with holes ([`pattern`]), the rule of its masks, and where its authors wrote the split. [`import`] joins what
//! the patterns find. Only masks that are no image (outlines, arrays, HDF5) need code of their own, in [`convert`].
//! What decides whether this folder is right: a patient is in one split only, near-duplicates are found
//! ([`likeness`]), and what [`check`] passes is what training and evaluation read.

pub mod check;
mod cine;
mod convert;
pub mod import;
pub mod layouts;
pub mod likeness;
pub(super) mod load;
pub mod manifest;
pub mod pattern;
mod pickle;
mod pixels;
mod splits;

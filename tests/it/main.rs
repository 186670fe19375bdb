//! Integration tests: one binary, one module per part of the program.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod layers;

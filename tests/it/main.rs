//! Integration tests: one binary, one module per part of the program.
#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_range_loop, missing_docs)]

mod ahead;
mod bindings;
mod budgets;
mod codec;
mod compare;
mod damage;
mod data;
mod devices;
mod engine;
mod export;
mod golden_sizes;
mod golden_weights;
mod graphics;
mod headless;
mod kill;
mod layers;
mod learn;
mod models;
mod net_cpu;
mod net_gradients;
mod net_image;
mod net_model;
mod net_semantics;
mod net_video;
mod private;
mod project;
mod pty;
mod pty_harness;
mod schema;
mod screen;
mod study;
mod tools;
mod update;
mod watch;
mod workstation;

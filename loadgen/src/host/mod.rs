//! The machine that this tool runs on: what it does beside the measurement, and what about it would spoil one.
//!
//! Reads `/proc` and `/sys` and judges nothing about servers. A reading is a few files in memory, well under a
//! millisecond, and is taken only between the measured parts of rounds.

mod conditions;
pub mod doctor;
mod noise;

pub use conditions::Conditions;
pub use noise::{Noise, Reading};

//! The charts, one per file: each takes a row or a workload and gives a [`Chart`](super::chart::Chart), or nothing where
//! there is nothing to show.

mod distribution;
mod frontier;
mod memory;
mod pieces;
mod prompt;
mod rounds;
mod samples;

pub(super) use distribution::{Shown, cumulative, spectrum};
pub(super) use frontier::frontier;
pub(super) use memory::memory;
pub(super) use pieces::pieces;
pub(super) use prompt::prompt;
pub(super) use rounds::rounds;

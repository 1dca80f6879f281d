//! The whole tool against its own mock: known times and counts in, the same ones out.
//!
//! One binary, so that the crate is linked once. Every test starts its mocks on free ports of the loopback.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

mod comparison;
mod doctor;
mod failures;
mod figures;
mod lacking;
mod loads;
mod memory;
mod pages;
mod proof;
mod reports;
mod starts;
mod support;
mod trust;
mod usage;

//! Chaski.

pub mod store;

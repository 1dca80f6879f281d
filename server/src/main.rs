//! Chaski.
fn main() {}

//! Names for replies and their parts, where a dialect wants some.

use rand::random;

/// `prefix` and 24 random hexadecimal digits.
pub fn new(prefix: &str) -> String {
    format!("{prefix}{:016x}{:08x}", random::<u64>(), random::<u32>())
}

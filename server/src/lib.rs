//! Chaski.

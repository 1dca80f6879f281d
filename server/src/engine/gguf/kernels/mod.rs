//! Products of quantised weights with activations, on all that a processor has.
//!
//! llama.cpp computes with the weights as a file holds them ([`formats`]) one dot product after another, or with a second,
//! rearranged form of them. The kernels here take the file's form: one column of activations (a token being generated) at the
//! speed of memory, and several columns with weights that are unpacked once for all of them.
//!
//! Activations become signed bytes, in blocks of 256 for the K formats and 32 for the others, each with a scale of its own, as
//! llama.cpp does it. A block's products are added up exactly, in integers, and its sum is added to the output in 32-bit floats, block by
//! block from the first to the last, with one rounding for the product of the scales and one for the fused multiplication and
//! addition. **So an output is the same, to the bit, on every kind of processor, with any number of threads and in any company of
//! other columns**: a text's numbers do not depend on what is computed beside it.
//!
//! [`portable`] states that in plain arithmetic, and is compiled for AVX2 too; [`avx512`] is for one column or several, [`amx`]
//! multiplies in tiles, and both have weights asked for [`ahead`]. [`attention`] is apart, and says for itself what it computes. [`plan`] says how activations are laid out for each. [`hook`] has llama.cpp's threads call all this,
//! and [`choice`] says whether, after a [`trial`].
#![expect(
    unsafe_code,
    reason = "vector instructions are there on some processors only, and several threads share llama.cpp's memory"
)]

#[cfg(target_arch = "x86_64")]
mod ahead;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod choice;
mod formats;
mod hook;
mod plan;
mod portable;
#[cfg(test)]
mod tests;
mod trial;

pub(super) use self::choice::{Choice, choose};
use self::formats::Format;
pub(super) use self::hook::register;
use self::plan::{Kernels, Plan};
use super::Preference;

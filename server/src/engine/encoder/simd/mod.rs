//! The encoder's arithmetic on the processor's vector instructions, chosen at run time.
//!
//! This is the only place of the engine with `unsafe` code. `isa` says what a set of vector instructions offers, `avx512`,
//! `avx2` and `portable` are three of them, and `generic` is the arithmetic over any; `amx` multiplies in tiles. [`Kernels`] is the safe outside: it checks the
//! sizes that the inside trusts.
//!
//! Weights are signed bytes with a scale for each output; activations are unsigned bytes with a range for each row
//! ("per token"). Products of the two are added up exactly, in 32-bit integers.
#![expect(
    unsafe_code,
    reason = "vector instructions are there on some processors only"
)]

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod generic;
mod isa;
#[cfg(target_arch = "x86_64")]
mod peak;
mod portable;
#[cfg(test)]
mod tests;

use std::ops::{Deref, DerefMut, Range};

use serde::{Deserialize, Serialize};

use crate::engine::mapping::SignedBytes;
#[cfg(target_arch = "x86_64")]
use crate::engine::tiles;

/// Columns of a panel: as many as the widest vector has elements. Rows of floats are padded with zeros to a multiple of it.
pub const PANEL: usize = 16;

/// Inputs of a matrix are filled up to a multiple of this, with weights of zero: as many bytes as a line of the cache, and a row of a tile.
const STEP_INPUTS: usize = 64;

/// Groups of four inputs in a step.
const STEP_GROUPS: usize = STEP_INPUTS / 4;

/// Longest row of a matrix, in inputs: so many products of two bytes, less their zero points, fit a 32-bit integer.
pub const MOST_INPUTS: usize = 1 << 15;

/// Bytes of a line of the cache: vectors that lie across two are read half as fast.
const LINE_BYTES: usize = 64;

/// Working memory, which begins at a line of the cache.
///
/// It has never more room than the longest that it was: vectors that grow by themselves double, and working memory of megabytes counts beside weights of 20.
#[derive(Debug, Default)]
pub struct Buffer<T> {
    room: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Clone + Default> Buffer<T> {
    /// Gives it this length. What is in it then means nothing, except that what a shorter one keeps stays as it was.
    pub fn fit(&mut self, length: usize) {
        if self.start + length > self.room.len() {
            let spare = LINE_BYTES / size_of::<T>();
            // Nothing of it is moved to the new place.
            self.room = Vec::new();
            self.room.reserve_exact(length + spare);
            self.room.resize(length + spare, T::default());
            self.start = self.room.as_ptr().align_offset(LINE_BYTES).min(spare);
        }
        self.length = length;
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.room[self.start..][..self.length]
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.room[self.start..][..self.length]
    }
}

/// The range of a row of activations: byte `b` stands for `(b - zero) * scale`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range8 {
    pub scale: f32,
    pub zero: i32,
}

impl Range8 {
    /// The range from `low` (at most 0) to `high` (at least 0), in 255 steps.
    fn new(low: f32, high: f32) -> Self {
        let scale = (high - low) / 255.0;
        // Nothing but zeros, or numbers so small that a step of them is not a number any more.
        if !scale.is_normal() {
            return Self {
                scale: 1.0,
                zero: 0,
            };
        }
        Self {
            scale,
            zero: (-low / scale).round_ties_even() as i32,
        }
    }
}

/// Steps of a second byte in one step of the first, from half of it below to half of it above, and the second byte that stands for none of them.
const REST_STEPS: f32 = 254.0;
const REST_ZERO: i32 = 127;

/// Activations as bytes: `[steps, rows, STEP_INPUTS]`, so that what is multiplied at a time, the same inputs of some rows, lies together. Where they are
/// precise, each has a second byte for what the first leaves: such rows stand behind all others, in the same order, and are multiplied as they are.
#[derive(Debug, Default)]
pub struct Rows {
    bytes: Buffer<u8>,
    /// Inputs of a row, in steps of [`STEP_INPUTS`].
    steps: usize,
    ranges: Buffer<Range8>,
    /// Rows of numbers: half as many as there are of bytes if they are precise.
    count: usize,
    /// Working memory: a row, mixed.
    mixed: Buffer<f32>,
}

impl Rows {
    /// Makes room for `count` rows of `width` activations.
    pub fn resize(&mut self, count: usize, width: usize, is_precise: bool) {
        let of_bytes = if is_precise { 2 * count } else { count };
        self.count = count;
        self.steps = width.div_ceil(STEP_INPUTS);
        self.bytes.fit(of_bytes * self.steps * STEP_INPUTS);
        self.ranges.fit(of_bytes);
        self.mixed.fit(width.next_multiple_of(PANEL));
    }

    /// Number of rows of bytes.
    pub fn count(&self) -> usize {
        self.ranges.len()
    }

    /// Where a row's bytes of a step are.
    #[inline(always)]
    fn place(&self, row: usize, step: usize) -> usize {
        (step * self.count() + row) * STEP_INPUTS
    }

    /// Whether every activation has two bytes.
    pub fn is_precise(&self) -> bool {
        self.count < self.ranges.len()
    }
}

/// Where a row's bytes of its first step are among all bytes.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    /// The second bytes, if it is precise.
    rest: Option<usize>,
    /// From one step to the next.
    leap: usize,
}

/// What the product of two rows of this length (whole panels) is multiplied by if both are [mixed](Kernels::mix).
pub fn mixing_gain(length: usize) -> f32 {
    let panels = length / PANEL;
    (panels & panels.wrapping_neg()) as f32
}

/// A linear layer's weights, packed for [`Kernels::multiply`]: panels of [`PANEL`] outputs; in a panel groups of four inputs; in a
/// group each output's four weights. Outputs and inputs are filled up with zeros.
#[derive(Debug, Default)]
pub struct Matrix {
    bytes: SignedBytes,
    /// Groups of four inputs.
    groups: usize,
    /// Per output: what a weight of 1 stands for.
    scales: Vec<f32>,
    /// Per output: the sum of its weights.
    sums: Vec<i32>,
    bias: Vec<f32>,
}

impl Matrix {
    /// A layer of `inputs` and `outputs` with all weights and biases 0.
    ///
    /// # Panics
    /// If there are more inputs than [`MOST_INPUTS`].
    pub fn zero(inputs: usize, outputs: usize) -> Self {
        assert!(inputs <= MOST_INPUTS);
        let groups = inputs.next_multiple_of(STEP_INPUTS) / 4;
        let outputs = outputs.next_multiple_of(PANEL);
        Self {
            bytes: SignedBytes::zeros(outputs * groups * 4),
            groups,
            scales: vec![0.0; outputs],
            sums: vec![0; outputs],
            bias: vec![0.0; outputs],
        }
    }

    /// Puts a layer together that was taken apart before: `None` if the parts are not of this size.
    pub fn of(
        inputs: usize,
        outputs: usize,
        parts: MatrixParts<SignedBytes, Vec<i32>, Vec<f32>>,
    ) -> Option<Self> {
        let groups = inputs.next_multiple_of(STEP_INPUTS) / 4;
        let outputs = outputs.next_multiple_of(PANEL);
        let MatrixParts {
            bytes,
            sums,
            scales,
            bias,
        } = parts;
        let fits = inputs <= MOST_INPUTS
            && bytes.len() == outputs * groups * 4
            && [sums.len(), scales.len(), bias.len()] == [outputs; 3];
        fits.then_some(Self {
            bytes,
            groups,
            scales,
            sums,
            bias,
        })
    }

    /// Its parts, as [`Matrix::of`] wants them.
    pub fn parts(&self) -> MatrixParts<&SignedBytes, &[i32], &[f32]> {
        MatrixParts {
            bytes: &self.bytes,
            sums: &self.sums,
            scales: &self.scales,
            bias: &self.bias,
        }
    }

    /// The lengths of the parts of a layer: bytes, and outputs.
    pub fn lengths(inputs: usize, outputs: usize) -> (usize, usize) {
        let outputs = outputs.next_multiple_of(PANEL);
        (outputs * inputs.next_multiple_of(STEP_INPUTS), outputs)
    }

    /// Sets an output's weights, rounded to steps of 1/127 of the largest, and its bias.
    ///
    /// # Panics
    /// If there are more weights than inputs, filled up, or the weights are those of a file.
    pub fn set(&mut self, output: usize, weights: &[f32], bias: f32) {
        assert!(weights.len() <= self.groups * 4);
        let largest = weights
            .iter()
            .fold(0.0f32, |largest, weight| largest.max(weight.abs()));
        let scale = if (largest / 127.0).is_normal() {
            largest / 127.0
        } else {
            1.0
        };
        let base = output / PANEL * self.groups * PANEL * 4 + output % PANEL * 4;
        let bytes = self
            .bytes
            .own()
            .expect("weights are set where they are made");
        let mut sum = 0;
        for (input, weight) in weights.iter().enumerate() {
            // At most 127 either way, by the choice of the scale.
            let weight = (weight / scale).round_ties_even() as i8;
            bytes[base + input / 4 * PANEL * 4 + input % 4] = weight;
            sum += i32::from(weight);
        }
        self.scales[output] = scale;
        self.sums[output] = sum;
        self.bias[output] = bias;
    }

    /// Panels of outputs.
    pub fn panels(&self) -> usize {
        self.scales.len() / PANEL
    }
}

/// What a [`Matrix`] is made of, as it is kept in files.
#[derive(Debug)]
pub struct MatrixParts<Bytes, Sums, Floats> {
    pub bytes: Bytes,
    pub sums: Sums,
    pub scales: Floats,
    pub bias: Floats,
}

/// What follows a linear layer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Activation {
    None,
    Gelu,
    Relu,
}

/// Where the result of a linear layer goes: the columns of some panels, row by row.
pub struct Product<'a> {
    pub panels: Range<usize>,
    pub activation: Activation,
    pub out: &'a mut [f32],
    /// From one row of `out` to the next.
    pub stride: usize,
}

/// One attention head of one text. `queries`, `keys` and `values` begin with their first token's numbers; the queries are
/// scaled already.
pub struct Head<'a> {
    pub queries: &'a [f32],
    pub keys: &'a [f32],
    pub values: &'a [f32],
    /// From one token's numbers to the next's.
    pub stride: usize,
    pub tokens: usize,
    /// Numbers of a token.
    pub size: usize,
}

/// Working memory of [`Kernels::attend`].
#[derive(Debug, Default)]
pub struct Scratch {
    /// Keys, transposed.
    keys: Buffer<f32>,
    /// Values and results of a head whose size is not filled up.
    values: Buffer<f32>,
    out: Buffer<f32>,
    scores: Buffer<f32>,
}

/// Most rows that the kernels treat at once.
const MOST_ROWS: usize = 6;

impl Scratch {
    /// Makes room: `columns` is the number of tokens and `size` that of a token's numbers, both filled up.
    fn fit(&mut self, tokens: usize, columns: usize, size: usize) {
        self.keys.fit(size * columns);
        self.values.fit(tokens * size);
        self.scores.fit(MOST_ROWS * columns);
        self.out.fit(MOST_ROWS * size);
    }

    /// Copies a head's values, filled up with zeros to `size`.
    fn fill_values(&mut self, head: &Head<'_>, size: usize) {
        for (token, row) in self.values.chunks_exact_mut(size).enumerate() {
            let value = &head.values[token * head.stride..][..head.size];
            row[..head.size].copy_from_slice(value);
            row[head.size..].fill(0.0);
        }
    }
}

/// A set of vector instructions that this processor has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kernels(Choice);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Choice {
    /// Products with AMX, everything else with AVX-512.
    #[cfg(target_arch = "x86_64")]
    Amx,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

/// Functions of `generic`, compiled for each set of instructions, and the choice between them.
macro_rules! dispatched {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        #[cfg(target_arch = "x86_64")]
        mod for_avx512 {
            use super::*;
            $(#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
            pub(super) unsafe fn $name($($argument: $type),*) $(-> $result)? {
                // SAFETY: passed on; this function's own attribute says which instructions there are.
                unsafe { generic::$name::<avx512::Avx512>($($argument),*) }
            })*
        }
        #[cfg(target_arch = "x86_64")]
        mod for_avx2 {
            use super::*;
            $(#[target_feature(enable = "avx2,fma")]
            pub(super) unsafe fn $name($($argument: $type),*) $(-> $result)? {
                // SAFETY: passed on; this function's own attribute says which instructions there are.
                unsafe { generic::$name::<avx2::Avx2<false>>($($argument),*) }
            })*
        }
        #[cfg(target_arch = "x86_64")]
        mod for_avx_vnni {
            use super::*;
            $(#[target_feature(enable = "avx2,fma,avxvnni")]
            pub(super) unsafe fn $name($($argument: $type),*) $(-> $result)? {
                // SAFETY: passed on; this function's own attribute says which instructions there are.
                unsafe { generic::$name::<avx2::Avx2<true>>($($argument),*) }
            })*
        }
        impl Choice {
            $(
            /// # Safety
            /// As the function of `generic`; the instructions are there, because a choice is made only where they are.
            unsafe fn $name(self, $($argument: $type),*) $(-> $result)? {
                // SAFETY: passed on.
                unsafe {
                    match self {
                        #[cfg(target_arch = "x86_64")]
                        Self::Amx | Self::Avx512 => for_avx512::$name($($argument),*),
                        #[cfg(target_arch = "x86_64")]
                        Self::AvxVnni => for_avx_vnni::$name($($argument),*),
                        #[cfg(target_arch = "x86_64")]
                        Self::Avx2 => for_avx2::$name($($argument),*),
                        Self::Portable => generic::$name::<portable::Portable>($($argument),*),
                    }
                }
            })*
        }
    };
}

dispatched! {
    fn quantize(row: &[f32], stretch: &[f32], mixed: &mut [f32], bytes: &mut [u8], place: Place) -> Range8;
    fn join(row: &mut [f32], rest: &[f32], bias: &[f32], activation: Activation);
    fn mix(row: &mut [f32]);
    fn multiply(rows: &Rows, weights: &Matrix, product: &mut Product<'_>);
    fn add(row: &mut [f32], other: &[f32]);
    fn normalize(row: &mut [f32], width: usize, gain: &[f32], shift: &[f32], epsilon: f32);
    fn attend(head: &Head<'_>, scratch: &mut Scratch, out: &mut [f32], out_stride: usize);
}

impl Kernels {
    /// The best for this processor.
    pub fn best() -> Self {
        Self::all()
            .next()
            .expect("there is always the portable one")
    }

    /// Those that this processor can run, best first.
    pub fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vectors = {
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            [
                (avx512 && tiles::are_available()).then_some(Choice::Amx),
                avx512.then_some(Choice::Avx512),
                (avx2 && is_x86_feature_detected!("avxvnni")).then_some(Choice::AvxVnni),
                avx2.then_some(Choice::Avx2),
            ]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let vectors = [None; 4];
        vectors
            .into_iter()
            .flatten()
            .chain([Choice::Portable])
            .map(Self)
    }

    /// Runs the instruction that its products are made of `turns` times twelve times (AMX: four), with nothing to load or store, and tells how many
    /// operations these were: the most that is possible. `None` where it has no such instruction.
    pub fn exhaust(self, turns: u64) -> Option<f64> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Choice::Amx => peak::amx(turns),
            #[cfg(target_arch = "x86_64")]
            Choice::Avx512 => peak::avx512_vnni(turns),
            #[cfg(target_arch = "x86_64")]
            Choice::AvxVnni => peak::avx_vnni(turns),
            #[cfg(target_arch = "x86_64")]
            Choice::Avx2 => None,
            Choice::Portable => None,
        }
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Choice::Amx => "AMX",
            #[cfg(target_arch = "x86_64")]
            Choice::Avx512 => "AVX-512 VNNI",
            #[cfg(target_arch = "x86_64")]
            Choice::AvxVnni => "AVX-VNNI",
            #[cfg(target_arch = "x86_64")]
            Choice::Avx2 => "AVX2",
            Choice::Portable => "portable",
        }
    }

    /// Turns row `index` of `rows` into bytes: `row * stretch`, element by element, [mixed](Kernels::mix), in a range of its own.
    ///
    /// # Panics
    /// If the sizes do not agree: `row` and `stretch` are of one length, filled up to whole panels, and a row of `rows` is as long.
    pub fn quantize(self, row: &[f32], stretch: &[f32], rows: &mut Rows, index: usize) {
        assert!(row.len() <= rows.steps * STEP_INPUTS && row.len().is_multiple_of(PANEL));
        assert!(index < rows.count && stretch.len() == row.len());
        let is_precise = rows.is_precise();
        let place = Place {
            first: rows.place(index, 0),
            rest: is_precise.then(|| rows.place(rows.count + index, 0)),
            leap: rows.place(0, 1),
        };
        let mixed = &mut rows.mixed[..row.len()];
        // SAFETY: row, stretch and mixed have one length, whole vectors; both of the row's places are there for every step of it. What follows the row's bytes
        // in its last step meets weights of zero.
        let range = unsafe { self.0.quantize(row, stretch, mixed, &mut rows.bytes, place) };
        rows.ranges[index] = range;
        if is_precise {
            rows.ranges[rows.count + index] = Range8 {
                scale: range.scale / REST_STEPS,
                zero: REST_ZERO,
            };
        }
    }

    /// Puts together what the bytes of precise rows resulted in: `out` is the product, without an activation, of some panels of `weights`. The numbers of the
    /// rows, with `activation`, are then in its first half.
    ///
    /// # Panics
    /// If the sizes do not agree.
    pub fn join(
        self,
        weights: &Matrix,
        panels: Range<usize>,
        activation: Activation,
        out: &mut [f32],
    ) {
        let width = panels.len() * PANEL;
        let bias = &weights.bias[panels.start * PANEL..panels.end * PANEL];
        assert!(width == 0 || out.len().is_multiple_of(2 * width));
        let (rows, rests) = out.split_at_mut(out.len() / 2);
        let rows = rows.chunks_exact_mut(width.max(1));
        for (row, rest) in rows.zip(rests.chunks_exact(width.max(1))) {
            // SAFETY: all have one length, whole vectors.
            unsafe { self.0.join(row, rest, bias, activation) }
        }
    }

    /// Spreads every number of a row over many: a few that are much larger than the others would leave those few of a range's 255 steps
    /// (QuaRot, <https://arxiv.org/abs/2404.00456>).
    ///
    /// Numbers of the same place in their panels are mixed with each other, so that no vector has to be taken apart: of `n * 2^k` panels (`n` odd) each run
    /// of `2^k` by a Hadamard matrix, which is not scaled, and the runs by the reflection `1 - 2/n`. Both are symmetric and their own inverses, but for the factor
    /// [`mixing_gain`]: a product of two mixed rows is that factor times the product of the rows.
    ///
    /// # Panics
    /// If the row is not filled up to whole panels.
    pub fn mix(self, row: &mut [f32]) {
        assert!(row.len().is_multiple_of(PANEL));
        // SAFETY: the row is whole vectors.
        unsafe { self.0.mix(row) }
    }

    /// Multiplies rows of activations with the weights of some panels, adds the biases, and applies the activation.
    ///
    /// # Panics
    /// If the sizes do not agree.
    pub fn multiply(self, rows: &Rows, weights: &Matrix, product: &mut Product<'_>) {
        let columns = product.panels.len() * PANEL;
        assert!(product.panels.end <= weights.panels() && columns <= product.stride);
        assert!(
            weights.groups <= rows.steps * STEP_GROUPS
                && rows.bytes.len() == rows.place(0, rows.steps)
        );
        assert!(
            rows.count() == 0 || product.out.len() >= (rows.count() - 1) * product.stride + columns
        );
        // SAFETY: every row has the steps that a panel's groups fill, every panel is there with its scales, sums and biases (`Matrix`
        // makes them of one size), and the result has room for every row.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Choice::Amx => amx::multiply(rows, weights, product),
                other => other.multiply(rows, weights, product),
            }
        }
    }

    /// Adds a row to another.
    ///
    /// # Panics
    /// If they are not of one length, whole panels.
    pub fn add(self, row: &mut [f32], other: &[f32]) {
        assert!(row.len() == other.len() && row.len().is_multiple_of(PANEL));
        // SAFETY: both have one length, whole vectors.
        unsafe { self.0.add(row, other) }
    }

    /// Layer normalisation of the first `width` numbers of a row; `gain` and `shift` are zero beyond.
    ///
    /// # Panics
    /// If the sizes do not agree.
    pub fn normalize(
        self,
        row: &mut [f32],
        width: usize,
        gain: &[f32],
        shift: &[f32],
        epsilon: f32,
    ) {
        assert!(row.len().is_multiple_of(PANEL) && width <= row.len() && width > 0);
        assert!(gain.len() == row.len() && shift.len() == row.len());
        // SAFETY: all have one length, whole vectors.
        unsafe { self.0.normalize(row, width, gain, shift, epsilon) }
    }

    /// Attention of every token to every token of one text, for one head; `out` gets a token's numbers every `out_stride`.
    ///
    /// # Panics
    /// If the sizes do not agree.
    pub fn attend(
        self,
        head: &Head<'_>,
        scratch: &mut Scratch,
        out: &mut [f32],
        out_stride: usize,
    ) {
        if head.tokens == 0 {
            return;
        }
        let length = (head.tokens - 1) * head.stride + head.size;
        assert!(head.size <= head.stride && head.size > 0);
        assert!(
            head.queries.len() >= length
                && head.keys.len() >= length
                && head.values.len() >= length
        );
        assert!(head.size <= out_stride && out.len() >= (head.tokens - 1) * out_stride + head.size);
        // SAFETY: queries, keys, values and results are there for every token, and `Scratch::fit` makes the other operands as large as they are read; where a
        // token's numbers are not whole vectors, values and results lie in operands that are.
        unsafe { self.0.attend(head, scratch, out, out_stride) }
    }
}

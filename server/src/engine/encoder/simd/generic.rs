//! The arithmetic, written once for every set of vector instructions.
//!
//! All functions here are unsafe for one reason: they call the instructions of `S`, and trust the sizes that [`super`] has
//! checked. Every row's result depends on that row alone and is computed in one order, whatever rows are beside it, so a
//! text's numbers are the same, to the bit, in any company.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "the reason is one for all, and stands above"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "several arrays run along, and the loops have to be unrolled"
)]

use super::isa::Isa;
use super::{
    Activation, Head, Matrix, PANEL, Place, Product, REST_STEPS, REST_ZERO, Range8, Rows,
    STEP_GROUPS, STEP_INPUTS, Scratch,
};

/// Rows of a block of [`multiply`] that fill the registers: 32 of them where a vector has 16 elements, else 16.
const fn block_rows<S: Isa>() -> usize {
    if S::LANES == 16 { 6 } else { 3 }
}

/// See [`super::Kernels::quantize`].
#[inline(always)]
pub(super) unsafe fn quantize<S: Isa>(
    row: &[f32],
    stretch: &[f32],
    mixed: &mut [f32],
    bytes: &mut [u8],
    place: Place,
) -> Range8 {
    unsafe {
        let stretched = |at: usize| {
            S::mul(
                S::load(row.as_ptr().add(at)),
                S::load(stretch.as_ptr().add(at)),
            )
        };
        mix_from::<S>(stretched, mixed);
        let (low, high) = extremes::<S>(mixed);
        let range = Range8::new(S::smallest(low), S::largest(high));
        let factor = S::splat(1.0 / range.scale);
        let zero = S::splat(range.zero as f32);
        let data = mixed.as_mut_ptr();
        let bytes = bytes.as_mut_ptr();
        put::<S>(bytes.add(place.first), place.leap, row.len(), |at| {
            S::fma(S::load(data.add(at)), factor, zero)
        });
        if let Some(rest) = place.rest {
            let (least, most) = (S::splat(0.0), S::splat(255.0));
            let (parts, middle) = (S::splat(REST_STEPS), S::splat(REST_ZERO as f32));
            for at in (0..row.len()).step_by(S::LANES) {
                let exact = S::fma(S::load(data.add(at)), factor, zero);
                let steps = S::min(S::max(S::round(exact), least), most);
                S::store(data.add(at), S::fma(S::sub(exact, steps), parts, middle));
            }
            put::<S>(bytes.add(rest), place.leap, row.len(), |at| {
                S::load(data.add(at))
            });
        }
        range
    }
}

/// Stores `length` numbers as bytes, a step every `leap` bytes; `x` gives those from a place on.
#[inline(always)]
unsafe fn put<S: Isa>(to: *mut u8, leap: usize, length: usize, x: impl Fn(usize) -> S::F) {
    let whole = length / STEP_INPUTS;
    unsafe {
        for step in 0..whole {
            S::store_step(to.add(step * leap), |at| x(step * STEP_INPUTS + at));
        }
        for at in (0..length % STEP_INPUTS).step_by(S::LANES) {
            S::store_bytes(to.add(whole * leap + at), x(whole * STEP_INPUTS + at));
        }
    }
}

/// See [`super::Kernels::join`].
#[inline(always)]
pub(super) unsafe fn join<S: Isa>(
    row: &mut [f32],
    rest: &[f32],
    bias: &[f32],
    activation: Activation,
) {
    for at in (0..row.len()).step_by(S::LANES) {
        unsafe {
            let to = row.as_mut_ptr().add(at);
            let rest = S::sub(
                S::load(rest.as_ptr().add(at)),
                S::load(bias.as_ptr().add(at)),
            );
            S::store(to, activate::<S>(S::add(S::load(to), rest), activation));
        }
    }
}

/// The smallest and the largest numbers of a row in every place of a vector, and 0.
#[inline(always)]
unsafe fn extremes<S: Isa>(row: &[f32]) -> (S::F, S::F) {
    /// So many that none waits for the one before.
    const CHAINS: usize = 4;
    unsafe {
        let mut low = [S::splat(0.0); CHAINS];
        let mut high = low;
        let whole = row.len() / (CHAINS * S::LANES) * CHAINS * S::LANES;
        for at in (0..whole).step_by(CHAINS * S::LANES) {
            for chain in 0..CHAINS {
                let x = S::load(row.as_ptr().add(at + chain * S::LANES));
                low[chain] = S::min(low[chain], x);
                high[chain] = S::max(high[chain], x);
            }
        }
        for at in (whole..row.len()).step_by(S::LANES) {
            let x = S::load(row.as_ptr().add(at));
            low[0] = S::min(low[0], x);
            high[0] = S::max(high[0], x);
        }
        for chain in 1..CHAINS {
            low[0] = S::min(low[0], low[chain]);
            high[0] = S::max(high[0], high[chain]);
        }
        (low[0], high[0])
    }
}

/// See [`super::Kernels::mix`].
#[inline(always)]
pub(super) unsafe fn mix<S: Isa>(row: &mut [f32]) {
    let data = row.as_ptr();
    unsafe { mix_from::<S>(|at| S::load(data.add(at)), row) }
}

/// Mixes what `source` has from each place on into a row, which may be where it comes from.
#[inline(always)]
unsafe fn mix_from<S: Isa>(source: impl Fn(usize) -> S::F, row: &mut [f32]) {
    let panels = row.len() / PANEL;
    if panels == 0 {
        return;
    }
    let run = 1 << panels.trailing_zeros();
    let data = row.as_mut_ptr();
    unsafe {
        let mut step = match run {
            1 => butterflies::<S, 1>(source, data, panels, 1),
            2 => butterflies::<S, 2>(source, data, panels, 1),
            4 => butterflies::<S, 4>(source, data, panels, 1),
            _ => butterflies::<S, 8>(source, data, panels, 1),
        };
        let there = |at: usize| S::load(data.add(at));
        while step < run {
            step *= match run / step {
                2 => butterflies::<S, 2>(there, data, panels, step),
                4 => butterflies::<S, 4>(there, data, panels, step),
                _ => butterflies::<S, 8>(there, data, panels, step),
            };
        }
        let runs = panels / run;
        if runs > 1 {
            let share = S::splat(2.0 / runs as f32);
            for at in (0..run * PANEL).step_by(S::LANES) {
                let each = |number: usize| data.add(number * run * PANEL + at);
                let mut sum = S::load(each(0));
                for number in 1..runs {
                    sum = S::add(sum, S::load(each(number)));
                }
                let share = S::mul(sum, share);
                for number in 0..runs {
                    S::store(each(number), S::sub(S::load(each(number)), share));
                }
            }
        }
    }
}

/// Sums and differences of panels that are `step` apart, then of those that are twice as far apart, until `COUNT` panels have met. Returns `COUNT`.
#[inline(always)]
unsafe fn butterflies<S: Isa, const COUNT: usize>(
    source: impl Fn(usize) -> S::F,
    data: *mut f32,
    panels: usize,
    step: usize,
) -> usize {
    for first in (0..panels).step_by(COUNT * step) {
        for at in (first * PANEL..(first + step) * PANEL).step_by(S::LANES) {
            let mut x: [S::F; COUNT] = std::array::from_fn(|n| source(at + n * step * PANEL));
            let mut half = 1;
            while half < COUNT {
                for n in 0..COUNT {
                    if n & half == 0 {
                        let (a, b) = (x[n], x[n + half]);
                        unsafe {
                            x[n] = S::add(a, b);
                            x[n + half] = S::sub(a, b);
                        }
                    }
                }
                half *= 2;
            }
            for n in 0..COUNT {
                unsafe { S::store(data.add(at + n * step * PANEL), x[n]) };
            }
        }
    }
    COUNT
}

/// See [`super::Kernels::multiply`].
#[inline(always)]
pub(super) unsafe fn multiply<S: Isa>(rows: &Rows, weights: &Matrix, product: &mut Product<'_>) {
    let (first, end) = (product.panels.start, product.panels.end);
    let mut panel = first;
    unsafe {
        if S::LANES == 16 {
            while panel + 4 <= end {
                columns::<S, 4>(rows, weights, panel, product);
                panel += 4;
            }
            while panel < end {
                columns::<S, 1>(rows, weights, panel, product);
                panel += 1;
            }
        } else {
            while panel < end {
                columns::<S, 2>(rows, weights, panel, product);
                panel += 1;
            }
        }
    }
}

/// `VECTORS` vectors of columns from a panel on, for all rows. The rows are cut into blocks that are as equal as can be.
#[inline(always)]
unsafe fn columns<S: Isa, const VECTORS: usize>(
    rows: &Rows,
    weights: &Matrix,
    panel: usize,
    product: &mut Product<'_>,
) {
    let count = rows.count();
    let blocks = count.div_ceil(block_rows::<S>());
    let mut row = 0;
    for block in 0..blocks {
        let size = (count - row).div_ceil(blocks - block);
        unsafe {
            match size {
                1 => cell::<S, 1, VECTORS>(rows, weights, row, panel, product),
                2 => cell::<S, 2, VECTORS>(rows, weights, row, panel, product),
                3 => cell::<S, 3, VECTORS>(rows, weights, row, panel, product),
                4 => cell::<S, 4, VECTORS>(rows, weights, row, panel, product),
                5 => cell::<S, 5, VECTORS>(rows, weights, row, panel, product),
                _ => cell::<S, 6, VECTORS>(rows, weights, row, panel, product),
            }
        }
        row += size;
    }
}

#[inline(always)]
unsafe fn cell<S: Isa, const ROWS: usize, const VECTORS: usize>(
    rows: &Rows,
    weights: &Matrix,
    row: usize,
    panel: usize,
    product: &mut Product<'_>,
) {
    unsafe {
        let per_panel = PANEL / S::LANES;
        let groups = weights.groups;
        let base = weights.bytes.as_ptr();
        let column: [*const i8; VECTORS] = std::array::from_fn(|vector| {
            base.add(
                (panel + vector / per_panel) * groups * PANEL * 4
                    + vector % per_panel * S::LANES * 4,
            )
        });
        let mut sums = [[S::zero(); VECTORS]; ROWS];
        for step in 0..groups / STEP_GROUPS {
            let left = rows.bytes.as_ptr().add(rows.place(row, step));
            for group in 0..STEP_GROUPS {
                let at = (step * STEP_GROUPS + group) * PANEL * 4;
                for n in 0..ROWS {
                    let a = S::spread(left.add(n * STEP_INPUTS + group * 4));
                    for vector in 0..VECTORS {
                        sums[n][vector] = S::dot(sums[n][vector], a, column[vector].add(at));
                    }
                }
            }
        }
        let at = panel * PANEL;
        let out = at - product.panels.start * PANEL;
        for vector in 0..VECTORS {
            let outputs = Outputs::<S>::load(weights, at + vector * S::LANES);
            for n in 0..ROWS {
                let x = outputs.scale(sums[n][vector], rows.ranges[row + n]);
                let to = (row + n) * product.stride + out + vector * S::LANES;
                S::store(
                    product.out.as_mut_ptr().add(to),
                    activate::<S>(x, product.activation),
                );
            }
        }
    }
}

/// What sums of products are made numbers with, for a vector of outputs.
#[derive(Clone, Copy)]
pub(super) struct Outputs<S: Isa> {
    sums: S::N,
    scales: S::F,
    bias: S::F,
}

impl<S: Isa> Outputs<S> {
    /// Those from `at` on.
    #[inline(always)]
    pub(super) unsafe fn load(weights: &Matrix, at: usize) -> Self {
        unsafe {
            Self {
                sums: S::load_integers(weights.sums.as_ptr().add(at)),
                scales: S::load(weights.scales.as_ptr().add(at)),
                bias: S::load(weights.bias.as_ptr().add(at)),
            }
        }
    }

    /// From a row's sums to its numbers.
    #[inline(always)]
    pub(super) unsafe fn scale(self, sum: S::I, range: Range8) -> S::F {
        unsafe {
            let x = S::settle(sum, range.zero, self.sums);
            S::fma(x, S::mul(S::splat(range.scale), self.scales), self.bias)
        }
    }
}

#[inline(always)]
unsafe fn activate<S: Isa>(x: S::F, activation: Activation) -> S::F {
    unsafe {
        match activation {
            Activation::None => x,
            Activation::Gelu => gelu::<S>(x),
            Activation::Relu => S::max(x, S::splat(0.0)),
        }
    }
}

/// `x * Phi(x)`, Phi being the normal distribution: an odd polynomial of degree 17, fitted so that the largest error of the
/// whole between -8 and 8 is 5e-5.
#[inline(always)]
pub(super) unsafe fn gelu<S: Isa>(x: S::F) -> S::F {
    const POLYNOMIAL: [f32; 9] = [
        3.036_358_3e-11,
        -3.314_607e-9,
        1.590_977_5e-7,
        -4.451_691e-6,
        8.142_472_5e-5,
        -1.037_588_3e-3,
        9.585_192e-3,
        -6.598_464e-2,
        3.987_126e-1,
    ];
    unsafe {
        let clamped = S::min(S::max(x, S::splat(-4.5)), S::splat(4.5));
        let square = S::mul(clamped, clamped);
        let mut sum = S::splat(POLYNOMIAL[0]);
        for coefficient in &POLYNOMIAL[1..] {
            sum = S::fma(sum, square, S::splat(*coefficient));
        }
        S::mul(x, S::fma(clamped, sum, S::splat(0.5)))
    }
}

/// e to the power of `x`, for `x` of at most 0; below -87, as of -87. Cephes' `expf`, relative error 2e-7.
#[inline(always)]
unsafe fn exp<S: Isa>(x: S::F) -> S::F {
    unsafe {
        let x = S::max(x, S::splat(-87.0));
        let twos = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let rest = S::fma(twos, S::splat(-0.693_359_4), x);
        let rest = S::fma(twos, S::splat(2.121_944_4e-4), rest);
        let mut sum = S::splat(1.987_569_1e-4);
        for coefficient in [
            1.398_2e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            5e-1,
        ] {
            sum = S::fma(sum, rest, S::splat(coefficient));
        }
        let sum = S::fma(S::mul(rest, rest), sum, S::add(rest, S::splat(1.0)));
        S::mul(sum, S::exp2(twos))
    }
}

/// See [`super::Kernels::normalize`].
#[inline(always)]
pub(super) unsafe fn normalize<S: Isa>(
    row: &mut [f32],
    width: usize,
    gain: &[f32],
    shift: &[f32],
    epsilon: f32,
) {
    unsafe {
        let data = row.as_mut_ptr();
        let mut sum = S::splat(0.0);
        for at in (0..row.len()).step_by(S::LANES) {
            sum = S::add(sum, S::load(data.add(at)));
        }
        let mean = S::splat(S::sum(sum) / width as f32);
        let mut squares = S::splat(0.0);
        for at in (0..width).step_by(S::LANES) {
            let x = S::keep(
                S::sub(S::load(data.add(at)), mean),
                (width - at).min(S::LANES),
            );
            squares = S::fma(x, x, squares);
        }
        let factor = S::splat(1.0 / (S::sum(squares) / width as f32 + epsilon).sqrt());
        for at in (0..row.len()).step_by(S::LANES) {
            let x = S::mul(S::sub(S::load(data.add(at)), mean), factor);
            let x = S::fma(
                x,
                S::load(gain.as_ptr().add(at)),
                S::load(shift.as_ptr().add(at)),
            );
            S::store(data.add(at), x);
        }
    }
}

/// See [`super::Kernels::add`].
#[inline(always)]
pub(super) unsafe fn add<S: Isa>(row: &mut [f32], other: &[f32]) {
    for at in (0..row.len()).step_by(S::LANES) {
        unsafe {
            let to = row.as_mut_ptr().add(at);
            S::store(to, S::add(S::load(to), S::load(other.as_ptr().add(at))));
        }
    }
}

/// See [`super::Kernels::attend`].
#[inline(always)]
pub(super) unsafe fn attend<S: Isa>(
    head: &Head<'_>,
    scratch: &mut Scratch,
    out: &mut [f32],
    out_stride: usize,
) {
    let tokens = head.tokens;
    // As many as fill whole vectors.
    let columns = tokens.next_multiple_of(PANEL);
    let size = head.size.next_multiple_of(PANEL);
    let is_filled = size == head.size;
    scratch.fit(tokens, columns, size);
    unsafe { transpose_keys::<S>(head, &mut scratch.keys, columns) };
    let (values, values_stride) = if is_filled {
        (head.values.as_ptr(), head.stride)
    } else {
        scratch.fill_values(head, size);
        (scratch.values.as_ptr(), size)
    };
    let blocks = tokens.div_ceil(block_rows::<S>());
    let mut row = 0;
    for block in 0..blocks {
        let count = (tokens - row).div_ceil(blocks - block);
        let lines = Lines {
            row,
            columns,
            size,
            keys: scratch.keys.as_ptr(),
            scores: scratch.scores.as_mut_ptr(),
            values,
            values_stride,
            out: match is_filled {
                true => out[row * out_stride..].as_mut_ptr(),
                false => scratch.out.as_mut_ptr(),
            },
            out_stride: if is_filled { out_stride } else { size },
        };
        unsafe {
            match count {
                1 => attend_rows::<S, 1>(head, &lines),
                2 => attend_rows::<S, 2>(head, &lines),
                3 => attend_rows::<S, 3>(head, &lines),
                4 => attend_rows::<S, 4>(head, &lines),
                5 => attend_rows::<S, 5>(head, &lines),
                _ => attend_rows::<S, 6>(head, &lines),
            }
        }
        if !is_filled {
            for n in 0..count {
                let to = (row + n) * out_stride;
                out[to..to + head.size]
                    .copy_from_slice(&scratch.out[n * size..n * size + head.size]);
            }
        }
        row += count;
    }
}

/// Lays a head's keys out for the products: `[size, columns]`. What stands in the columns behind the last token means nothing.
#[inline(always)]
unsafe fn transpose_keys<S: Isa>(head: &Head<'_>, keys: &mut [f32], columns: usize) {
    let whole = head.size / S::LANES * S::LANES;
    for token in (0..head.tokens).step_by(S::LANES) {
        // The last one stands for those that are not there.
        let row = |n: usize| {
            let token = (token + n).min(head.tokens - 1);
            head.keys[token * head.stride..][..head.size].as_ptr()
        };
        for at in (0..whole).step_by(S::LANES) {
            unsafe {
                S::transpose(
                    |n| row(n).add(at),
                    keys[at * columns + token..].as_mut_ptr(),
                    columns,
                );
            }
        }
        for at in whole..head.size {
            for n in 0..S::LANES {
                keys[at * columns + token + n] = unsafe { *row(n).add(at) };
            }
        }
    }
}

/// Where the operands of some queries' attention are: pointers, and from one row to the next.
#[derive(Clone, Copy)]
struct Lines {
    /// The first query.
    row: usize,
    /// Tokens and numbers of a token, filled up.
    columns: usize,
    size: usize,
    keys: *const f32,
    scores: *mut f32,
    values: *const f32,
    values_stride: usize,
    out: *mut f32,
    out_stride: usize,
}

/// A few queries against all keys: their scores never leave the nearest cache.
#[inline(always)]
unsafe fn attend_rows<S: Isa, const ROWS: usize>(head: &Head<'_>, lines: &Lines) {
    let Lines { columns, size, .. } = *lines;
    unsafe {
        let queries = head.queries.as_ptr().add(lines.row * head.stride);
        let scores = lines.scores;
        float_product::<S, ROWS>(
            (queries, head.stride, head.size),
            (lines.keys, columns, columns),
            (scores, columns),
        );
        let mut factors = [0.0; ROWS];
        for (n, factor) in factors.iter_mut().enumerate() {
            let scores = scores.add(n * columns);
            for at in head.tokens..columns {
                *scores.add(at) = f32::NEG_INFINITY;
            }
            let mut largest = S::splat(f32::NEG_INFINITY);
            for at in (0..columns).step_by(S::LANES) {
                largest = S::max(largest, S::load(scores.add(at)));
            }
            let largest = S::splat(S::largest(largest));
            let mut sum = S::splat(0.0);
            for at in (0..columns).step_by(S::LANES) {
                let x = exp::<S>(S::sub(S::load(scores.add(at)), largest));
                S::store(scores.add(at), x);
                let x = S::keep(x, head.tokens.saturating_sub(at).min(S::LANES));
                sum = S::add(sum, x);
            }
            *factor = 1.0 / S::sum(sum);
        }
        let (out, out_stride) = (lines.out, lines.out_stride);
        float_product::<S, ROWS>(
            (scores, columns, head.tokens),
            (lines.values, lines.values_stride, size),
            (out, out_stride),
        );
        for (n, factor) in factors.into_iter().enumerate() {
            for at in (0..size).step_by(S::LANES) {
                let to = out.add(n * out_stride + at);
                S::store(to, S::mul(S::load(to), S::splat(factor)));
            }
        }
    }
}

/// `ROWS` rows (pointer, stride, inner length) times a matrix (pointer, stride, width): to rows of the same width.
#[inline(always)]
unsafe fn float_product<S: Isa, const ROWS: usize>(
    (left, left_stride, inner): (*const f32, usize, usize),
    (right, right_stride, width): (*const f32, usize, usize),
    (out, out_stride): (*mut f32, usize),
) {
    unsafe {
        let mut at = 0;
        if S::LANES == 16 {
            while at + 4 * S::LANES <= width {
                float_cell::<S, ROWS, 4>(
                    (left, left_stride, inner),
                    (right.add(at), right_stride),
                    (out.add(at), out_stride),
                );
                at += 4 * S::LANES;
            }
        }
        while at + 2 * S::LANES <= width {
            float_cell::<S, ROWS, 2>(
                (left, left_stride, inner),
                (right.add(at), right_stride),
                (out.add(at), out_stride),
            );
            at += 2 * S::LANES;
        }
        while at < width {
            float_cell::<S, ROWS, 1>(
                (left, left_stride, inner),
                (right.add(at), right_stride),
                (out.add(at), out_stride),
            );
            at += S::LANES;
        }
    }
}

#[inline(always)]
unsafe fn float_cell<S: Isa, const ROWS: usize, const VECTORS: usize>(
    (left, left_stride, inner): (*const f32, usize, usize),
    (right, right_stride): (*const f32, usize),
    (out, out_stride): (*mut f32, usize),
) {
    unsafe {
        let mut sums = [[S::splat(0.0); VECTORS]; ROWS];
        for k in 0..inner {
            let b: [S::F; VECTORS] = std::array::from_fn(|vector| {
                S::load(right.add(k * right_stride + vector * S::LANES))
            });
            for n in 0..ROWS {
                let a = S::splat(*left.add(n * left_stride + k));
                for vector in 0..VECTORS {
                    sums[n][vector] = S::fma(a, b[vector], sums[n][vector]);
                }
            }
        }
        for n in 0..ROWS {
            for vector in 0..VECTORS {
                S::store(out.add(n * out_stride + vector * S::LANES), sums[n][vector]);
            }
        }
    }
}

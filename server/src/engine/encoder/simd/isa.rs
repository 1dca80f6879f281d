//! What a set of vector instructions must offer; one file beside this for each.

use super::STEP_INPUTS;

/// A set of vector instructions. A vector has [`Isa::LANES`] elements of 32 bits.
///
/// # Safety
/// All functions may be called only where the processor has the instructions, with pointers that are valid for the whole
/// vector. They need no alignment.
pub(super) trait Isa: Copy {
    /// Elements of a vector: 8 or 16.
    const LANES: usize;
    /// Floats.
    type F: Copy;
    /// Sums of products: 32-bit integers, in some order.
    type I: Copy;
    /// 32-bit integers.
    type N: Copy;
    /// Four unsigned bytes, in every lane, as [`Isa::dot`] wants them.
    type A: Copy;

    unsafe fn splat(x: f32) -> Self::F;
    unsafe fn load(from: *const f32) -> Self::F;
    unsafe fn store(to: *mut f32, x: Self::F);
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    unsafe fn round(x: Self::F) -> Self::F;
    /// 2 to the power of integers from -126 to 127.
    unsafe fn exp2(x: Self::F) -> Self::F;
    /// The first `count` elements; zeros in place of the others.
    unsafe fn keep(x: Self::F, count: usize) -> Self::F;
    unsafe fn sum(x: Self::F) -> f32;
    unsafe fn largest(x: Self::F) -> f32;
    unsafe fn smallest(x: Self::F) -> f32;
    /// Stores numbers (of less than 2^31) as bytes: rounded to the nearest, ties to even, those beyond 0 and 255 as these.
    unsafe fn store_bytes(to: *mut u8, x: Self::F);
    /// The same for [`STEP_INPUTS`] numbers; `x` gives those from a place on.
    #[inline(always)]
    unsafe fn store_step(to: *mut u8, x: impl Fn(usize) -> Self::F) {
        for at in (0..STEP_INPUTS).step_by(Self::LANES) {
            // SAFETY: the caller's promise.
            unsafe { Self::store_bytes(to.add(at), x(at)) };
        }
    }

    /// Turns a square of [`Isa::LANES`] rows, which begin where `row` says, into its columns, which go every `stride` numbers.
    #[inline(always)]
    unsafe fn transpose(row: impl Fn(usize) -> *const f32, to: *mut f32, stride: usize) {
        for n in 0..Self::LANES {
            let row = row(n);
            for at in 0..Self::LANES {
                // SAFETY: the caller's promise.
                unsafe { *to.add(at * stride + n) = *row.add(at) };
            }
        }
    }

    unsafe fn zero() -> Self::I;
    /// Four bytes to every lane.
    unsafe fn spread(bytes: *const u8) -> Self::A;
    /// Adds to each lane the four products of its bytes in `a` (unsigned) and at `weights` (signed), exactly.
    unsafe fn dot(sum: Self::I, a: Self::A, weights: *const i8) -> Self::I;
    unsafe fn load_integers(from: *const i32) -> Self::N;
    /// `sum - zero * weights`, as floats.
    unsafe fn settle(sum: Self::I, zero: i32, weights: Self::N) -> Self::F;
}

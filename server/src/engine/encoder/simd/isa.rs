//! What a set of vector instructions must offer; one file beside this for each.

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
    /// 32-bit integers.
    type I: Copy;
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
    /// Stores integers from 0 to 255 as bytes.
    unsafe fn store_bytes(to: *mut u8, x: Self::F);

    unsafe fn zero() -> Self::I;
    /// Four bytes to every lane.
    unsafe fn spread(bytes: *const u8) -> Self::A;
    /// Adds to each lane the four products of its bytes in `a` (unsigned) and at `weights` (signed), exactly.
    unsafe fn dot(sum: Self::I, a: Self::A, weights: *const i8) -> Self::I;
    /// `sum - zero * weights`, as floats.
    unsafe fn settle(sum: Self::I, zero: i32, weights: *const i32) -> Self::F;
}

//! Any processor: arrays that a compiler can turn into whatever vectors there are.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "every function is one instruction or two, under the conditions that `isa` states"
)]

use super::isa::Isa;

#[derive(Clone, Copy)]
pub(super) struct Portable;

const LANES: usize = 8;

#[inline(always)]
fn each(operation: impl Fn(usize) -> f32) -> [f32; LANES] {
    std::array::from_fn(operation)
}

impl Isa for Portable {
    const LANES: usize = LANES;
    type F = [f32; LANES];
    type I = [i32; LANES];
    type N = [i32; LANES];
    type A = [i32; 4];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::F {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F {
        unsafe { from.cast::<Self::F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Self::F) {
        unsafe { to.cast::<Self::F>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        each(|n| a[n] + b[n])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        each(|n| a[n] - b[n])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        each(|n| a[n] * b[n])
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        each(|n| a[n] * b[n] + c[n])
    }
    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        each(|n| if a[n] < b[n] { a[n] } else { b[n] })
    }
    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        each(|n| if a[n] > b[n] { a[n] } else { b[n] })
    }
    #[inline(always)]
    unsafe fn round(x: Self::F) -> Self::F {
        each(|n| x[n].round_ties_even())
    }
    #[inline(always)]
    unsafe fn exp2(x: Self::F) -> Self::F {
        each(|n| f32::from_bits(((x[n] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn keep(x: Self::F, count: usize) -> Self::F {
        each(|n| if n < count { x[n] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn sum(x: Self::F) -> f32 {
        x.iter().sum()
    }
    #[inline(always)]
    unsafe fn largest(x: Self::F) -> f32 {
        x.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    unsafe fn smallest(x: Self::F) -> f32 {
        x.into_iter().fold(f32::INFINITY, f32::min)
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, x: Self::F) {
        let bytes: [u8; LANES] = std::array::from_fn(|n| x[n].round_ties_even() as u8);
        unsafe { to.cast::<[u8; LANES]>().write_unaligned(bytes) }
    }

    #[inline(always)]
    unsafe fn zero() -> Self::I {
        [0; LANES]
    }
    #[inline(always)]
    unsafe fn spread(bytes: *const u8) -> Self::A {
        let bytes = unsafe { bytes.cast::<[u8; 4]>().read_unaligned() };
        bytes.map(i32::from)
    }
    #[inline(always)]
    unsafe fn dot(sum: Self::I, a: Self::A, weights: *const i8) -> Self::I {
        let weights = unsafe { weights.cast::<[[i8; 4]; LANES]>().read_unaligned() };
        std::array::from_fn(|n| {
            let products = weights[n].iter().zip(a).map(|(&w, a)| i32::from(w) * a);
            sum[n] + products.sum::<i32>()
        })
    }
    #[inline(always)]
    unsafe fn load_integers(from: *const i32) -> Self::N {
        unsafe { from.cast::<Self::N>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn settle(sum: Self::I, zero: i32, weights: Self::N) -> Self::F {
        each(|n| (sum[n] - zero * weights[n]) as f32)
    }
}

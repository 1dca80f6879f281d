//! Sixteen numbers at a time.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "all are for one reason: the caller promises the instructions, and memory for sixteen numbers"
)]

use super::LANES;

/// Sixteen numbers. What they come to is the same for all that implement this, to the bit.
///
/// # Safety
/// Of all functions: the processor has the instructions that the type stands for, and a pointer has sixteen numbers.
pub trait Lanes: Copy {
    unsafe fn splat(number: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn load_halves(from: *const u16) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn subtract(self, other: Self) -> Self;
    unsafe fn multiply(self, other: Self) -> Self;
    unsafe fn divide(self, other: Self) -> Self;
    /// `self * factor + more`, rounded once.
    unsafe fn multiply_add(self, factor: Self, more: Self) -> Self;
    /// The greater number, or `other` if either is none.
    unsafe fn max(self, other: Self) -> Self;
    /// To the nearest whole number; of two, the even one.
    unsafe fn round(self) -> Self;
    /// Two to the power of a whole number from -127 to 127; zero for -127.
    unsafe fn power_of_two(self) -> Self;
    /// Lanes whose bit is set, and the others of `other`.
    unsafe fn select(self, bits: u16, other: Self) -> Self;
    /// The sum of every vector's lanes: with `y[n] = (x[4n] + x[4n + 2]) + (x[4n + 1] + x[4n + 3])` it is `(y[0] + y[2]) + (y[1] + y[3])`.
    unsafe fn sums(vectors: [Self; LANES]) -> Self;
    /// Which of sixteen numbers of a mask are not minus infinity.
    unsafe fn seen(mask: *const u16) -> u16;
}

/// `exp` within 2 units of the last place; zero from -87.7 down. `lanes` are at most 88.
///
/// Two to the power of the nearest whole number, and for what remains the polynomial of Cephes' `expf` (Moshier, netlib.org/cephes).
#[inline(always)]
pub unsafe fn exp<L: Lanes>(lanes: L) -> L {
    const COEFFICIENTS: [f32; 6] = [
        1.987_569_1e-4,
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ];
    // ln 2 in two parts, so that the product of the first with a small whole number is exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    unsafe {
        let lanes = L::splat(-88.0).max(lanes);
        let whole = lanes.multiply(L::splat(std::f32::consts::LOG2_E)).round();
        let rest = whole.multiply_add(L::splat(-HIGH), lanes);
        let rest = whole.multiply_add(L::splat(-LOW), rest);
        let mut sum = L::splat(COEFFICIENTS[0]);
        for &coefficient in &COEFFICIENTS[1..] {
            sum = sum.multiply_add(rest, L::splat(coefficient));
        }
        let sum = sum.multiply_add(rest.multiply(rest), rest.add(L::splat(1.0)));
        sum.multiply(whole.power_of_two())
    }
}

/// `tanh`, to seven digits behind the point.
#[inline(always)]
pub unsafe fn tanh<L: Lanes>(lanes: L) -> L {
    unsafe {
        let twice = lanes.add(lanes);
        // Not more than what `exp` takes; a number that is none stays so.
        let limit = L::splat(-80.0);
        let negative = L::splat(0.0).subtract(twice);
        let twice = L::splat(0.0).subtract(limit.max(negative));
        let grown = exp(twice).add(L::splat(1.0));
        L::splat(1.0).subtract(L::splat(2.0).divide(grown))
    }
}

/// Plain arithmetic, of which compilers make what vectors there are.
#[derive(Clone, Copy)]
pub struct Plain([f32; LANES]);

impl Plain {
    #[inline(always)]
    fn each(function: impl Fn(usize) -> f32) -> Self {
        let mut lanes = [0.0; LANES];
        for (n, lane) in lanes.iter_mut().enumerate() {
            *lane = function(n);
        }
        Self(lanes)
    }
}

/// A 16-bit float as one of 32 bits.
#[inline(always)]
fn widen(half: u16) -> f32 {
    let bits = u32::from(half);
    let (sign, rest) = ((bits & 0x8000) << 16, (bits & 0x7fff) << 13);
    // The exponent's bias is 112 less. Infinity and what is no number have the greatest exponent in both.
    let wide = f32::from_bits(rest) * f32::from_bits((112 + 127) << 23);
    let greatest = if rest >= 0x7c00 << 13 { 0x7f80_0000 } else { 0 };
    f32::from_bits(wide.to_bits() | greatest | sign)
}

impl Lanes for Plain {
    #[inline(always)]
    unsafe fn splat(number: f32) -> Self {
        Self([number; LANES])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u16) -> Self {
        let halves = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        Self::each(|n| widen(halves[n]))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) };
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self::each(|n| self.0[n] + other.0[n])
    }
    #[inline(always)]
    unsafe fn subtract(self, other: Self) -> Self {
        Self::each(|n| self.0[n] - other.0[n])
    }
    #[inline(always)]
    unsafe fn multiply(self, other: Self) -> Self {
        Self::each(|n| self.0[n] * other.0[n])
    }
    #[inline(always)]
    unsafe fn divide(self, other: Self) -> Self {
        Self::each(|n| self.0[n] / other.0[n])
    }
    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, more: Self) -> Self {
        Self::each(|n| self.0[n].mul_add(factor.0[n], more.0[n]))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self::each(|n| {
            if self.0[n] > other.0[n] {
                self.0[n]
            } else {
                other.0[n]
            }
        })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        Self::each(|n| self.0[n].round_ties_even())
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        // What is added leaves the whole number in the lowest bits.
        const ADDED: f32 = 12_582_912.0 + 127.0;
        Self::each(|n| f32::from_bits((self.0[n] + ADDED).to_bits() << 23))
    }
    #[inline(always)]
    unsafe fn select(self, bits: u16, other: Self) -> Self {
        Self::each(|n| {
            if bits >> n & 1 == 1 {
                self.0[n]
            } else {
                other.0[n]
            }
        })
    }
    #[inline(always)]
    unsafe fn sums(vectors: [Self; LANES]) -> Self {
        Self::each(|n| {
            let x = &vectors[n].0;
            let y = |n: usize| (x[4 * n] + x[4 * n + 2]) + (x[4 * n + 1] + x[4 * n + 3]);
            (y(0) + y(2)) + (y(1) + y(3))
        })
    }
    #[inline(always)]
    unsafe fn seen(mask: *const u16) -> u16 {
        let numbers = unsafe { mask.cast::<[u16; LANES]>().read_unaligned() };
        let mut bits = 0;
        for (n, &number) in numbers.iter().enumerate() {
            bits |= u16::from(number != super::mask::UNSEEN) << n;
        }
        bits
    }
}

#[cfg(target_arch = "x86_64")]
pub use self::wide::Wide;

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    use super::super::LANES;
    use super::Lanes;

    /// A vector of AVX-512.
    #[derive(Clone, Copy)]
    pub struct Wide(__m512);

    impl Lanes for Wide {
        #[inline(always)]
        unsafe fn splat(number: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(number) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn load_halves(from: *const u16) -> Self {
            Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) };
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn subtract(self, other: Self) -> Self {
            Self(unsafe { _mm512_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn multiply(self, other: Self) -> Self {
            Self(unsafe { _mm512_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn divide(self, other: Self) -> Self {
            Self(unsafe { _mm512_div_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn multiply_add(self, factor: Self, more: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, more.0) })
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            Self(unsafe { _mm512_max_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn round(self) -> Self {
            // To the nearest even one, whatever the rounding mode is, and without exceptions.
            Self(unsafe { _mm512_roundscale_ps::<0x08>(self.0) })
        }
        #[inline(always)]
        unsafe fn power_of_two(self) -> Self {
            unsafe {
                let whole = _mm512_cvttps_epi32(self.0);
                let exponent = _mm512_add_epi32(whole, _mm512_set1_epi32(127));
                Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
            }
        }
        #[inline(always)]
        unsafe fn select(self, bits: u16, other: Self) -> Self {
            Self(unsafe { _mm512_mask_blend_ps(bits, other.0, self.0) })
        }
        #[inline(always)]
        unsafe fn sums(v: [Self; LANES]) -> Self {
            unsafe {
                // Of four vectors: lane m of a part has the sum of vector m's part.
                let four = |n: usize| {
                    let [a, b, c, d] = [v[n].0, v[n + 1].0, v[n + 2].0, v[n + 3].0];
                    let (ab, cd) = (
                        _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)),
                        _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)),
                    );
                    let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
                    let (even, odd) = (_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd));
                    _mm512_add_ps(_mm512_castpd_ps(even), _mm512_castpd_ps(odd))
                };
                let (a, b, c, d) = (four(0), four(4), four(8), four(12));
                // Parts 0 and 2, and 1 and 3, of two.
                let two = |a: __m512, b: __m512| {
                    let low = _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b);
                    let high = _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b);
                    _mm512_add_ps(low, high)
                };
                let (ab, cd) = (two(a, b), two(c, d));
                let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd);
                let odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd);
                Self(_mm512_add_ps(even, odd))
            }
        }
        #[inline(always)]
        unsafe fn seen(mask: *const u16) -> u16 {
            unsafe {
                let unseen = _mm256_set1_epi16(super::super::mask::UNSEEN.cast_signed());
                _mm256_cmpneq_epi16_mask(_mm256_loadu_si256(mask.cast()), unseen)
            }
        }
    }
}

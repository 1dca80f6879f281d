//! The instructions: setting tiles up, and multiplying them.
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]

use std::arch::asm;
use std::arch::x86_64::*;

/// What `ldtilecfg` reads: palette 1, and for each of eight tiles its bytes in a row and its rows.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// The size of a tile.
#[derive(Clone, Copy)]
pub struct Shape {
    pub rows: usize,
    /// In a row.
    pub bytes: usize,
}

impl Shape {
    /// The largest.
    pub const FULL: Self = Self {
        rows: 16,
        bytes: 64,
    };
}

/// Tiles that are set up, until dropped: then they are as they were before. llama.cpp's own kernels set them up once a thread.
pub struct Tiles {
    before: Configuration,
}

impl Tiles {
    pub fn new(shapes: [Shape; 8]) -> Self {
        let mut wanted = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        for (tile, Shape { rows, bytes }) in shapes.into_iter().enumerate() {
            wanted.row_bytes[tile] = bytes as u16;
            wanted.rows[tile] = rows as u8;
        }
        let mut tiles = Self {
            before: Configuration {
                palette: 0,
                start_row: 0,
                reserved: [0; 14],
                row_bytes: [0; 16],
                rows: [0; 16],
            },
        };
        // They write and read the 64 bytes of a configuration.
        unsafe {
            asm!("sttilecfg [{}]", in(reg) &raw mut tiles.before, options(nostack));
            asm!("ldtilecfg [{}]", in(reg) &raw const wanted, options(nostack, readonly));
        }
        tiles
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // A palette of 0 gives the tiles up, which a thread that is done with them should.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const self.before, options(nostack, readonly))
        };
    }
}

/// Multiplies a block of two halves of one or two groups with one tile of columns; two tiles of sums a group.
#[inline(always)]
pub unsafe fn multiply_halves<const COUNT: usize>(
    weights: *const u8,
    activations: *const i8,
    sums: *mut u8,
) {
    macro_rules! step {
        (1, $at:literal) => {
            concat!(
                "tileloadd tmm6, [{b} + {s} + ",
                $at,
                "]\n",
                "tileloadd tmm4, [{a} + {s} + ",
                $at,
                "]\n",
                "tdpbssd tmm0, tmm4, tmm6\n",
                "tileloadd tmm5, [{a} + {s} + 4096 + ",
                $at,
                "]\n",
                "tdpbssd tmm1, tmm5, tmm6\n"
            )
        };
        (2, $at:literal) => {
            concat!(
                step!(1, $at),
                "tileloadd tmm7, [{a} + {s} + 8192 + ",
                $at,
                "]\n",
                "tdpbssd tmm2, tmm7, tmm6\n",
                "tileloadd tmm4, [{a} + {s} + 12288 + ",
                $at,
                "]\n",
                "tdpbssd tmm3, tmm4, tmm6\n"
            )
        };
    }
    unsafe {
        if COUNT == 2 {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                step!(2, "0"),
                step!(2, "1024"),
                step!(2, "2048"),
                step!(2, "3072"),
                "tilestored [{c} + {s}], tmm0",
                "tilestored [{c} + {s} + 1024], tmm1",
                "tilestored [{c} + {s} + 2048], tmm2",
                "tilestored [{c} + {s} + 3072], tmm3",
                a = in(reg) weights,
                b = in(reg) activations,
                c = in(reg) sums,
                s = in(reg) 64_usize,
                options(nostack),
            );
        } else {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                step!(1, "0"),
                step!(1, "1024"),
                step!(1, "2048"),
                step!(1, "3072"),
                "tilestored [{c} + {s}], tmm0",
                "tilestored [{c} + {s} + 1024], tmm1",
                a = in(reg) weights,
                b = in(reg) activations,
                c = in(reg) sums,
                s = in(reg) 64_usize,
                options(nostack),
            );
        }
    }
}

/// Tiles of 32 inputs of a group, one behind the other.
#[derive(Clone, Copy)]
pub struct Left {
    pub bytes: *const u8,
    /// From one row to the next.
    pub stride: usize,
    /// From one tile to the next.
    pub step: usize,
}

impl Left {
    pub const NONE: Self = Self {
        bytes: std::ptr::null(),
        stride: 0,
        step: 0,
    };

    /// Loads the first `count` tiles, of up to four, for [`multiply_loaded`].
    #[inline(always)]
    pub unsafe fn load(&self, count: usize) {
        macro_rules! load {
            ($at:literal, $tile:literal) => {
                if count > $at {
                    asm!(
                        concat!("tileloadd ", $tile, ", [{a} + {stride}]"),
                        a = in(reg) self.bytes.add($at * self.step),
                        stride = in(reg) self.stride,
                        options(nostack, readonly),
                    );
                }
            };
        }
        unsafe {
            load!(0, "tmm4");
            load!(1, "tmm5");
            load!(2, "tmm6");
            load!(3, "tmm7");
        }
    }
}

/// Most tiles that [`multiply_loaded`] takes at a time.
pub const PAIR: usize = 2;

/// Multiplies the tile that was loaded as number `at`, 0 or 2, and with a `count` of two the one after it; as many tiles of sums.
#[inline(always)]
pub unsafe fn multiply_loaded(at: usize, count: usize, activations: *const i8, sums: *mut u8) {
    macro_rules! one {
        ($weights:literal) => {
            asm!(
                "tilezero tmm0",
                "tileloadd tmm2, [{b} + {s}]",
                concat!("tdpbssd tmm0, ", $weights, ", tmm2"),
                "tilestored [{c} + {s}], tmm0",
                b = in(reg) activations,
                c = in(reg) sums,
                s = in(reg) 64_usize,
                options(nostack),
            )
        };
    }
    macro_rules! two {
        ($weights:literal, $more:literal) => {
            asm!(
                "tilezero tmm0",
                "tileloadd tmm2, [{b} + {s}]",
                "tilezero tmm1",
                "tileloadd tmm3, [{b} + {s} + 512]",
                concat!("tdpbssd tmm0, ", $weights, ", tmm2"),
                concat!("tdpbssd tmm1, ", $more, ", tmm3"),
                "tilestored [{c} + {s}], tmm0",
                "tilestored [{c} + {s} + 1024], tmm1",
                b = in(reg) activations,
                c = in(reg) sums,
                s = in(reg) 64_usize,
                options(nostack),
            )
        };
    }
    unsafe {
        match (at, count) {
            (0, 1) => one!("tmm4"),
            (0, _) => two!("tmm4", "tmm5"),
            (_, 1) => one!("tmm6"),
            _ => two!("tmm6", "tmm7"),
        }
    }
}

/// The columns of 16 rows of 16 floats.
#[inline]
#[target_feature(enable = "avx512f")]
pub unsafe fn transpose(rows: *const f32) -> [__m512; 16] {
    // Rows 4n to 4n + 3: in every lane, their four numbers of one column; columns c, c + 4, c + 8, c + 12 in vector c.
    let four = |n: usize| {
        let row = |row: usize| unsafe { _mm512_load_ps(rows.add((4 * n + row) * 16)) };
        let (a, b) = (
            _mm512_unpacklo_ps(row(0), row(1)),
            _mm512_unpackhi_ps(row(0), row(1)),
        );
        let (c, d) = (
            _mm512_unpacklo_ps(row(2), row(3)),
            _mm512_unpackhi_ps(row(2), row(3)),
        );
        let join_low =
            |x, y| _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)));
        let join_high =
            |x, y| _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)));
        [
            join_low(a, c),
            join_high(a, c),
            join_low(b, d),
            join_high(b, d),
        ]
    };
    let [a, b, c, d] = [four(0), four(1), four(2), four(3)];
    let mut columns = [_mm512_setzero_ps(); 16];
    for n in 0..4 {
        // Lanes 0 and 2, and 1 and 3, of two fours; then of both pairs.
        let (even, odd) = (
            _mm512_shuffle_f32x4::<0x88>(a[n], b[n]),
            _mm512_shuffle_f32x4::<0xdd>(a[n], b[n]),
        );
        let (even_below, odd_below) = (
            _mm512_shuffle_f32x4::<0x88>(c[n], d[n]),
            _mm512_shuffle_f32x4::<0xdd>(c[n], d[n]),
        );
        columns[n] = _mm512_shuffle_f32x4::<0x88>(even, even_below);
        columns[n + 4] = _mm512_shuffle_f32x4::<0x88>(odd, odd_below);
        columns[n + 8] = _mm512_shuffle_f32x4::<0xdd>(even, even_below);
        columns[n + 12] = _mm512_shuffle_f32x4::<0xdd>(odd, odd_below);
    }
    columns
}

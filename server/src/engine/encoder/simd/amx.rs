//! AMX, whose registers are tiles of 16 rows of 64 bytes: Sapphire Rapids and later.
//!
//! Only products of bytes are computed with it; everything else is [`super::avx512`]'s. Rust's intrinsics for it are not stable yet, so
//! the instructions stand here as they are. They are described in Intel's Architectures Software Developer's Manual, volume 1,
//! chapter 18; a panel of [`Matrix`] is laid out as the manual wants its right-hand tiles.

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _mm512_loadu_si512, _mm512_storeu_ps};
use std::sync::LazyLock;

use super::avx512::Avx512;
use super::{Matrix, PANEL, Product, Rows, generic};

/// Rows of a tile.
const TILE_ROWS: usize = 16;

/// Bytes of a tile's row, which are inputs here.
pub(super) const TILE_INPUTS: usize = 64;

/// Groups of four inputs in a tile.
const TILE_GROUPS: usize = TILE_INPUTS / 4;

/// Whether the processor has the instructions, and the system lets this process use them. Asked once.
pub(super) fn is_available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        const TILES_AND_BYTES: u32 = 1 << 24 | 1 << 25;
        let features = __cpuid_count(7, 0);
        features.edx & TILES_AND_BYTES == TILES_AND_BYTES && is_granted()
    });
    *AVAILABLE
}

/// Asks Linux for the tiles' state, which a process has to do once: see "Using XSTATE features in user space applications" in the
/// kernel's documentation.
#[cfg(target_os = "linux")]
fn is_granted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: it takes two numbers and writes to no memory of ours.
    unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        ) == 0
    }
}

#[cfg(not(target_os = "linux"))]
fn is_granted() -> bool {
    false
}

/// What `ldtilecfg` reads: palette 1, and for each of eight tiles its bytes in a row and its rows.
#[repr(C, align(64))]
struct Tiles {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Sums of two tiles of rows by two panels.
#[repr(C, align(64))]
struct Sums([[i32; 2 * PANEL]; 2 * TILE_ROWS]);

/// See [`super::Kernels::multiply`].
///
/// # Safety
/// The processor has AMX and AVX-512, and the sizes agree.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
pub(super) unsafe fn multiply(rows: &Rows, weights: &Matrix, product: &mut Product<'_>) {
    let count = rows.count();
    if count == 0 {
        return;
    }
    // As few tiles as can be, of one height; where that does not come out even, the last one overlaps the one before.
    let tiles = count.div_ceil(TILE_ROWS);
    let height = count.div_ceil(tiles);
    let start = |tile: usize| (tile * height).min(count - height);
    configure(height);
    let mut sums = Sums([[0; 2 * PANEL]; 2 * TILE_ROWS]);
    let mut panel = product.panels.start;
    while panel < product.panels.end {
        let second = (panel + 1).min(product.panels.end - 1);
        for tile in (0..tiles).step_by(2) {
            let both = [start(tile), start((tile + 1).min(tiles - 1))];
            // SAFETY: the tiles lie within rows and panels, whose rows and inputs are filled up to whole tiles.
            unsafe { sum(rows, weights, both, [panel, second], &mut sums) };
            let pairs = both.into_iter().zip([0, TILE_ROWS]).take(tiles - tile);
            for (row, from) in pairs {
                for n in 0..height {
                    for (at, panel) in (panel..=second).enumerate() {
                        let sums = &sums.0[from + n][at * PANEL..][..PANEL];
                        let to =
                            (row + n) * product.stride + (panel - product.panels.start) * PANEL;
                        let out = &mut product.out[to..to + PANEL];
                        // SAFETY: both slices are one vector long, and so are the panel's scales, sums and biases.
                        unsafe {
                            let sum = _mm512_loadu_si512(sums.as_ptr().cast());
                            let range = rows.ranges[row + n];
                            let x = generic::finish::<Avx512>(
                                sum,
                                range,
                                weights,
                                panel * PANEL,
                                product.activation,
                            );
                            _mm512_storeu_ps(out.as_mut_ptr(), x);
                        }
                    }
                }
            }
        }
        panel += 2;
    }
    // SAFETY: the tiles are not needed any more.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// Sets the tiles up: 0 to 3 for sums, 4 and 5 for activations, 6 and 7 for weights.
fn configure(height: usize) {
    let height = height as u8;
    let whole = TILE_GROUPS as u8;
    let mut tiles = Tiles {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [0; 16],
        rows: [0; 16],
    };
    tiles.row_bytes[..8].fill(TILE_INPUTS as u16);
    tiles.rows[..8]
        .copy_from_slice(&[height, height, height, height, height, height, whole, whole]);
    // SAFETY: it reads the 64 bytes of a valid configuration.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const tiles, options(nostack, readonly)) };
}

/// Multiplies two tiles of rows with two panels, over all inputs.
///
/// # Safety
/// The tiles are set up, and rows, panels and inputs are there.
unsafe fn sum(
    rows: &Rows,
    weights: &Matrix,
    [first, second]: [usize; 2],
    panels: [usize; 2],
    sums: &mut Sums,
) {
    // SAFETY: the caller's promise; the sums have room for four tiles.
    unsafe {
        let left = |row: usize| rows.bytes.as_ptr().add(row * rows.stride);
        let [right, beside] = panels.map(|panel| {
            weights
                .bytes
                .as_ptr()
                .add(panel * weights.groups * PANEL * 4)
        });
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{left} + {stride}]",
            "tileloadd tmm6, [{right} + {group}]",
            "tileloadd tmm5, [{below} + {stride}]",
            "tileloadd tmm7, [{beside} + {group}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "add {left}, {inputs}",
            "add {below}, {inputs}",
            "add {right}, {tile}",
            "add {beside}, {tile}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{upper} + {width}], tmm0",
            "tilestored [{upper} + {width} + {half}], tmm1",
            "tilestored [{lower} + {width}], tmm2",
            "tilestored [{lower} + {width} + {half}], tmm3",
            left = inout(reg) left(first) => _,
            below = inout(reg) left(second) => _,
            right = inout(reg) right => _,
            beside = inout(reg) beside => _,
            steps = inout(reg) weights.groups / TILE_GROUPS => _,
            stride = in(reg) rows.stride,
            group = in(reg) PANEL * 4,
            upper = in(reg) sums.0.as_mut_ptr(),
            lower = in(reg) sums.0.as_mut_ptr().add(TILE_ROWS),
            width = in(reg) 2 * PANEL * size_of::<i32>(),
            inputs = const TILE_INPUTS,
            tile = const TILE_GROUPS * PANEL * 4,
            half = const PANEL * size_of::<i32>(),
            options(nostack),
        );
    }
}

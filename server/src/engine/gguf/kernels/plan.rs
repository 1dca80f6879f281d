//! What a product needs: which kernels, how the activations are laid out for them, and who computes what.

use std::ops::Range;

use super::{Format, formats, portable};
#[cfg(target_arch = "x86_64")]
use super::{ahead::Ahead, amx, avx512};
#[cfg(target_arch = "x86_64")]
use crate::engine::tiles;

/// Outputs that are computed together.
pub(super) const GROUP: usize = 16;

/// Columns of a tile.
pub(super) const TILE: usize = 16;

/// How columns are arranged where there are tiles: as was fastest. Weights as right-hand tiles take longer to unpack than for vectors, and then
/// less for each column; as left-hand ones, they take as long for one column as for sixteen.
const fn arrangement(format: Format, columns: usize) -> Arrangement {
    match (format, columns) {
        (Format::Q4_K | Format::Q5_K, 4..=32) => Arrangement::Folded,
        (Format::Q4_K | Format::Q5_K, 33..) => Arrangement::Tiles,
        (Format::Q6_K, 7..) | (Format::Q4_0 | Format::Q8_0, 13..) => Arrangement::Tiles,
        _ => Arrangement::Columns,
    }
}

/// Longest row of weights, so that a block's offset fits and sums stay far from the edges of their types.
const MOST_INPUTS: usize = 1 << 20;

/// A set of instructions that this processor has.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kernels {
    Portable,
    Avx2,
    Avx512,
    /// Tiles for several columns, AVX-512 for one.
    Amx,
}

impl Kernels {
    /// Those that this processor can run, best first.
    pub fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vectors = {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("f16c")
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            [
                (avx512 && tiles::are_available()).then_some(Self::Amx),
                avx512.then_some(Self::Avx512),
                avx2.then_some(Self::Avx2),
            ]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let vectors = [None];
        vectors.into_iter().flatten().chain([Self::Portable])
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "AMX",
            Self::Avx512 => "AVX-512 VNNI",
            Self::Avx2 => "AVX2",
            Self::Portable => "portable",
        }
    }
}

/// How the bytes of activations are arranged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Arrangement {
    /// Block by block, and in each one column after the other.
    Columns,
    /// The same, to be multiplied in tiles as they are.
    Folded,
    /// Block by block, tiles of [`TILE`] columns: in a tile groups of four inputs, in a group each column's four.
    Tiles,
}

/// One product: `outputs` rows of `inputs` weights with `columns` columns of as many activations.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(super) kernels: Kernels,
    pub(super) format: Format,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) columns: usize,
    arrangement: Arrangement,
}

/// Where the parts of the working memory begin, in bytes.
#[derive(Clone, Copy, Debug)]
struct Parts {
    scales: usize,
    sums: usize,
    excess: usize,
    own: usize,
    end: usize,
}

/// Columns as bytes.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub(super) bytes: *mut i8,
    /// One for each block: `[block][column]`, or for each column of a tile in the tiles' order.
    pub(super) scales: *mut f32,
    /// Sums of every 32 bytes of a block for Q4_K and Q5_K: `[block][column][sum]`, or `[pair][column][2]` for each tile.
    pub(super) sums: *mut i16,
    /// What is to be added to the products of every [`Plan::excess_of`] bytes where weights were made unsigned: `[block][column][..]`.
    pub(super) excess: *mut i32,
}

/// The weights of a product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights {
    pub(super) bytes: *const u8,
    /// Bytes from one row to the next.
    pub(super) stride: usize,
}

/// Where the outputs go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) numbers: *mut f32,
    /// Numbers from one column's outputs to the next's.
    pub(super) stride: usize,
}

/// What one thread computes without a break.
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "nobody else asks ahead")
)]
pub(super) struct Share {
    pub(super) groups: Range<usize>,
    /// The group after these, which the thread computes then.
    pub(super) next: Option<usize>,
}

#[cfg(target_arch = "x86_64")]
impl Share {
    /// The group to ask for while `group` and the others up to `end` are computed: the one after them, or they themselves if there
    /// is no other, which are at hand.
    pub(super) fn after(&self, group: usize, end: usize) -> usize {
        if end < self.groups.end {
            end
        } else {
            self.next.unwrap_or(group)
        }
    }
}

impl Plan {
    /// `None` for sizes that there is no kernel for.
    pub fn new(
        kernels: Kernels,
        format: Format,
        inputs: usize,
        outputs: usize,
        columns: usize,
    ) -> Option<Self> {
        let fits = inputs > 0
            && inputs <= MOST_INPUTS
            && inputs.is_multiple_of(format.weights())
            && outputs >= GROUP
            && columns > 0;
        let arrangement = match kernels {
            Kernels::Amx => arrangement(format, columns),
            Kernels::Portable | Kernels::Avx2 | Kernels::Avx512 => Arrangement::Columns,
        };
        fits.then_some(Self {
            kernels,
            format,
            inputs,
            outputs,
            columns,
            arrangement,
        })
    }

    /// Blocks of a row.
    pub(super) fn blocks(&self) -> usize {
        self.inputs / self.format.weights()
    }

    /// Bytes of a row of weights.
    pub fn row_bytes(&self) -> usize {
        self.blocks() * self.format.bytes()
    }

    /// Groups of outputs; the last may overlap the one before.
    pub fn groups(&self) -> usize {
        self.outputs.div_ceil(GROUP)
    }

    /// Sums that are kept of a block's bytes.
    pub(super) fn sums(&self) -> usize {
        match self.format.has_least() {
            true => formats::SUPER / 32,
            false => 0,
        }
    }

    /// Bytes of a block that have one scale, for [`Columns::excess`]. `None` where there is none.
    pub(super) fn excess_of(&self) -> Option<usize> {
        let are_unsigned = matches!(self.kernels, Kernels::Avx512 | Kernels::Amx)
            && self.arrangement == Arrangement::Columns;
        match self.format {
            _ if !are_unsigned => None,
            Format::Q4_0 | Format::Q8_0 => Some(formats::PLAIN),
            Format::Q6_K => Some(16),
            Format::Q4_K | Format::Q5_K => None,
        }
    }

    /// Numbers of [`Columns::excess`] for a block.
    pub(super) fn excesses(&self) -> usize {
        self.excess_of()
            .map_or(0, |bytes| self.format.weights() / bytes)
    }

    /// A block of a column, where they are arranged as columns.
    pub(super) fn unit(&self, column: usize, block: usize) -> usize {
        block * self.columns + column
    }

    /// The column and the block of [`Plan::unit`].
    pub(super) fn of_unit(&self, unit: usize) -> (usize, usize) {
        (unit % self.columns, unit / self.columns)
    }

    /// Columns with those that fill the last tile.
    fn filled_columns(&self) -> usize {
        match self.arrangement {
            Arrangement::Columns => self.columns,
            #[cfg(target_arch = "x86_64")]
            Arrangement::Folded => amx::filled_columns(self.columns),
            #[cfg(not(target_arch = "x86_64"))]
            Arrangement::Folded => unreachable!("there are no tiles here"),
            Arrangement::Tiles => self.columns.next_multiple_of(TILE),
        }
    }

    fn parts(&self, threads: usize) -> Parts {
        const LINE: usize = 64;
        let columns = self.filled_columns();
        let scales = (columns * self.inputs).next_multiple_of(LINE);
        let sums = (scales + columns * self.blocks() * size_of::<f32>()).next_multiple_of(LINE);
        let excess = (sums + columns * self.blocks() * self.sums() * size_of::<i16>())
            .next_multiple_of(LINE);
        let own = (excess + columns * self.blocks() * self.excesses() * size_of::<i32>())
            .next_multiple_of(LINE);
        let end = own + threads * self.own_bytes();
        Parts {
            scales,
            sums,
            excess,
            own,
            end,
        }
    }

    /// Memory that each thread needs for itself.
    fn own_bytes(&self) -> usize {
        match self.arrangement {
            Arrangement::Columns => 0,
            #[cfg(target_arch = "x86_64")]
            Arrangement::Folded => amx::FOLDED_BYTES,
            #[cfg(target_arch = "x86_64")]
            Arrangement::Tiles => amx::own_bytes(self),
            #[cfg(not(target_arch = "x86_64"))]
            Arrangement::Folded | Arrangement::Tiles => unreachable!("there are no tiles here"),
        }
    }

    /// Working memory that `threads` need together.
    pub fn work_bytes(&self, threads: usize) -> usize {
        self.parts(threads).end
    }

    /// # Safety
    /// `work` has [`Plan::work_bytes`].
    pub(super) unsafe fn columns_in(&self, work: *mut u8) -> Columns {
        let parts = self.parts(0);
        // SAFETY: the parts lie within the working memory.
        unsafe {
            Columns {
                bytes: work.cast(),
                scales: work.add(parts.scales).cast(),
                sums: work.add(parts.sums).cast(),
                excess: work.add(parts.excess).cast(),
            }
        }
    }

    /// Turns a thread's share of the activations into bytes. All shares have to be done before [`Plan::multiply`].
    ///
    /// # Safety
    /// - `work` has [`Plan::work_bytes`] for at least `threads` threads and begins at a multiple of 64, and no thread uses the
    ///   share of another meanwhile.
    /// - Column `n` has its `inputs` numbers from `activations + n * stride` on.
    pub unsafe fn prepare(
        &self,
        activations: *const f32,
        stride: usize,
        work: *mut u8,
        thread: usize,
        threads: usize,
    ) {
        // SAFETY: the caller's promises; the processor has the instructions, or the plan would not be for them.
        unsafe {
            let columns = self.columns_in(work);
            match (self.kernels, self.arrangement) {
                #[cfg(target_arch = "x86_64")]
                (Kernels::Amx, Arrangement::Tiles) => {
                    let units = self.columns.div_ceil(TILE) * self.blocks();
                    let share = share(units, thread, threads);
                    amx::prepare(self, activations, stride, columns, share);
                }
                (kernels, _) => {
                    let share = share(self.columns * self.blocks(), thread, threads);
                    match kernels {
                        #[cfg(target_arch = "x86_64")]
                        Kernels::Amx | Kernels::Avx512 => {
                            avx512::prepare(self, activations, stride, columns, share);
                        }
                        #[cfg(target_arch = "x86_64")]
                        Kernels::Avx2 => {
                            portable::prepare_avx2(self, activations, stride, columns, share);
                        }
                        _ => portable::prepare(self, activations, stride, columns, share),
                    }
                }
            }
        }
    }

    /// Asks for the weights of a group's rows, as far as the processor can be asked.
    ///
    /// # Safety
    /// As for [`Plan::multiply`].
    pub unsafe fn ask_for(&self, weights: (*const u8, usize), group: usize) {
        #[cfg(target_arch = "x86_64")]
        if group < self.groups() {
            let (first, _) = self.group(group);
            // SAFETY: the rows lie there.
            unsafe {
                let bytes = GROUP * weights.1;
                let bytes = bytes * Ahead::groups(bytes);
                Ahead::new(weights.0.add(first * weights.1), bytes).ask(bytes);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (weights, group);
    }

    /// Computes some groups of outputs of all columns, while the weights of the thread's `next` group are on their way.
    ///
    /// # Safety
    /// - `work` is what every thread has prepared, and `thread` is one of them.
    /// - Every row of weights has [`Plan::row_bytes`] from `weights + row * stride` on.
    /// - `output` has a column's `outputs` numbers from `output + n * stride` on, and nobody else writes to these groups'.
    pub unsafe fn multiply(
        &self,
        weights: (*const u8, usize),
        work: *mut u8,
        output: (*mut f32, usize),
        groups: Range<usize>,
        next: Option<usize>,
        thread: usize,
    ) {
        let weights = Weights {
            bytes: weights.0,
            stride: weights.1,
        };
        let output = Output {
            numbers: output.0,
            stride: output.1,
        };
        debug_assert!(groups.end <= self.groups());
        let next = next.filter(|&next| next < self.groups());
        let share = Share { groups, next };
        // SAFETY: as in `prepare`.
        unsafe {
            let columns = self.columns_in(work);
            match (self.kernels, self.arrangement) {
                #[cfg(target_arch = "x86_64")]
                (Kernels::Amx, Arrangement::Tiles) => {
                    let own = work.add(self.parts(0).own + thread * self.own_bytes());
                    amx::multiply(self, weights, columns, output, &share, own);
                }
                #[cfg(target_arch = "x86_64")]
                (Kernels::Amx, Arrangement::Folded) => {
                    let own = work.add(self.parts(0).own + thread * self.own_bytes());
                    amx::multiply_folded(self, weights, columns, output, &share, own);
                }
                #[cfg(target_arch = "x86_64")]
                (Kernels::Amx | Kernels::Avx512, _) => {
                    avx512::multiply(self, weights, columns, output, &share);
                }
                #[cfg(target_arch = "x86_64")]
                (Kernels::Avx2, _) => {
                    portable::multiply_avx2(self, weights, columns, output, share.groups);
                }
                _ => portable::multiply(self, weights, columns, output, share.groups),
            }
        }
    }

    /// The first output of a group, and how many of its outputs the group before has too.
    pub(super) fn group(&self, group: usize) -> (usize, usize) {
        let wanted = group * GROUP;
        let first = wanted.min(self.outputs - GROUP);
        (first, wanted - first)
    }
}

/// The part of `units` that one thread of several does.
fn share(units: usize, thread: usize, threads: usize) -> Range<usize> {
    units * thread / threads..units * (thread + 1) / threads
}

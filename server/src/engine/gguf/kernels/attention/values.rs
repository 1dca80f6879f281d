//! The second pass: weighted values.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "all are for one reason: the caller promises the instructions, and memory as the operation's sizes say"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "what stays in registers is a table with rows and columns, and reads best by their numbers"
)]

use super::lanes::exp;
use super::pass::{Pack, Work};
use super::{CELLS, LANES, Lanes, Plain};

impl Work<'_> {
    /// The score of a row's sink.
    #[inline(always)]
    fn sink(&self, row: usize) -> Option<f32> {
        let (_, head) = self.task.place(&self.attention.sizes, row);
        // SAFETY: there is one for every head.
        self.attention
            .sinks
            .map(|sinks| unsafe { *sinks.add(head) })
    }

    /// A row's greatest score, of all lanes and its sink.
    #[inline(always)]
    unsafe fn greatest(&self, row: usize) -> f32 {
        let mut lanes = [0.0f32; LANES];
        unsafe { Plain::load(self.greatest.add(row * LANES)).store(lanes.as_mut_ptr()) };
        let most = self.sink(row).unwrap_or(f32::NEG_INFINITY);
        lanes
            .into_iter()
            .fold(most, |a, b| if a > b { a } else { b })
    }

    /// Weighted values of all rows, and the sums of their weights.
    #[inline(always)]
    pub(super) unsafe fn values<L: Lanes>(&self) {
        let (attention, task) = (self.attention, self.task);
        let each = task.rows_of_each();
        let size = attention.sizes.value;
        unsafe {
            for row in 0..task.rows() {
                L::splat(self.greatest(row)).store(self.greatest.add(row * LANES));
                for at in (0..size + LANES).step_by(LANES) {
                    L::splat(0.0).store(self.sums_of(row).add(at));
                }
            }
            let mut now = self.next(0);
            while let Some(block) = now {
                let marked = self.seen_by_any(block);
                now = self.next(block + 1);
                for (n, head) in task.shared.clone().enumerate() {
                    if let Some(next) = now {
                        self.ask(&attention.values, size, next, n);
                    }
                    let place = [task.stream, head, block];
                    (attention.values).widen::<L>(place, marked, size, self.block);
                    for row in n * each..(n + 1) * each {
                        self.weights::<L>(row, block);
                    }
                    let mut row = n * each;
                    while row < (n + 1) * each {
                        let pack = self.pack(row, (n + 1) * each, block);
                        match pack.rows {
                            4 => self.weigh::<L, 4>(&pack, block),
                            2 => self.weigh::<L, 2>(&pack, block),
                            _ => self.weigh::<L, 1>(&pack, block),
                        }
                        row += pack.rows;
                    }
                }
            }
        }
    }

    /// Makes weights of a row's scores.
    #[inline(always)]
    unsafe fn weights<L: Lanes>(&self, row: usize, block: usize) {
        unsafe {
            let seen = self.seen(row, block);
            let greatest = L::load(self.greatest.add(row * LANES));
            for at in (0..CELLS).step_by(LANES) {
                let scores = self.scores_of(row, block).add(at);
                // It may be in a pack with one that sees more.
                let weights = if (seen >> at) as u16 == 0 {
                    L::splat(0.0)
                } else {
                    exp(L::load(scores).subtract(greatest))
                };
                weights.store(scores);
            }
        }
    }

    /// Adds a block's values to `ROWS` sums: as many vectors at a time as there are registers for.
    #[inline(always)]
    unsafe fn weigh<L: Lanes, const ROWS: usize>(&self, pack: &Pack, block: usize) {
        let vectors = self.attention.sizes.value / LANES;
        let mut at = 0;
        unsafe {
            self.total::<L, ROWS>(pack, block);
            while at < vectors {
                at += match vectors - at {
                    8.. if ROWS < 4 => self.slab::<L, ROWS, 8>(pack, block, at),
                    6..8 => self.slab::<L, ROWS, 6>(pack, block, at),
                    4.. => self.slab::<L, ROWS, 4>(pack, block, at),
                    2.. => self.slab::<L, ROWS, 2>(pack, block, at),
                    _ => self.slab::<L, ROWS, 1>(pack, block, at),
                };
            }
        }
    }

    /// Adds weights up, for each of `ROWS`, behind its sums.
    #[inline(always)]
    unsafe fn total<L: Lanes, const ROWS: usize>(&self, pack: &Pack, block: usize) {
        let size = self.attention.sizes.value;
        unsafe {
            let mut totals = [0.0f32; ROWS];
            for n in 0..ROWS {
                totals[n] = *self.sums_of(pack.first + n).add(size);
            }
            for &cell in pack.cells() {
                for n in 0..ROWS {
                    totals[n] += *self.scores_of(pack.first + n, block).add(usize::from(cell));
                }
            }
            for n in 0..ROWS {
                *self.sums_of(pack.first + n).add(size) = totals[n];
            }
        }
    }

    /// Adds `COUNT` vectors of a block's values, from the one at `at` on; returns how many.
    #[inline(always)]
    unsafe fn slab<L: Lanes, const ROWS: usize, const COUNT: usize>(
        &self,
        pack: &Pack,
        block: usize,
        at: usize,
    ) -> usize {
        let size = self.attention.sizes.value;
        unsafe {
            let mut weights = [std::ptr::null(); ROWS];
            let mut sums = [[L::splat(0.0); COUNT]; ROWS];
            for row in 0..ROWS {
                weights[row] = self.scores_of(pack.first + row, block).cast_const();
                for n in 0..COUNT {
                    sums[row][n] = L::load(self.sums_of(pack.first + row).add((at + n) * LANES));
                }
            }
            let values = self.block.add(at * LANES).cast_const();
            for &cell in pack.cells() {
                let cell = usize::from(cell);
                let mut weight = [L::splat(0.0); ROWS];
                for row in 0..ROWS {
                    weight[row] = L::splat(*weights[row].add(cell));
                }
                for n in 0..COUNT {
                    let value = L::load(values.add(cell * size + n * LANES));
                    for row in 0..ROWS {
                        sums[row][n] = weight[row].multiply_add(value, sums[row][n]);
                    }
                }
            }
            for row in 0..ROWS {
                for n in 0..COUNT {
                    sums[row][n].store(self.sums_of(pack.first + row).add((at + n) * LANES));
                }
            }
        }
        COUNT
    }

    /// Divides, and writes what comes of it.
    #[inline(always)]
    pub(super) unsafe fn finish<L: Lanes>(&self) {
        let sizes = &self.attention.sizes;
        for row in 0..self.task.rows() {
            let (token, head) = self.task.place(sizes, row);
            let place = (self.task.stream * sizes.tokens + token) * sizes.heads + head;
            unsafe {
                let mut total = *self.sums_of(row).add(sizes.value);
                if let Some(sink) = self.sink(row) {
                    let greatest = L::load(self.greatest.add(row * LANES));
                    let mut lanes = [0.0f32; LANES];
                    exp(L::splat(sink).subtract(greatest)).store(lanes.as_mut_ptr());
                    total += lanes[0];
                }
                // A token that sees nothing gets nothing.
                let part = L::splat(if total == 0.0 { 0.0 } else { 1.0 / total });
                let to = self.attention.output.add(place * sizes.value);
                for at in (0..sizes.value).step_by(LANES) {
                    let sums = L::load(self.sums_of(row).add(at));
                    sums.multiply(part).store(to.add(at));
                }
            }
        }
    }
}

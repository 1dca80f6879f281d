//! The first pass: scores.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "all are for one reason: the caller promises the instructions, and memory as the operation's sizes say"
)]

use super::lanes::tanh;
use super::mask::sixteen;
use super::pass::{Pack, Work};
use super::{Attention, CELLS, LANES, Lanes, Task};

impl Attention {
    #[inline(always)]
    fn query(&self, task: &Task, row: usize) -> *const f32 {
        let (token, head) = task.place(&self.sizes, row);
        let strides = self.queries.strides;
        let at = token * strides[0] + head * strides[1] + task.stream * strides[2];
        self.queries.bytes.wrapping_add(at).cast()
    }
}

impl Work<'_> {
    /// Scores of all rows with the cells that they see, minus infinity for others in their blocks; and the greatest.
    #[inline(always)]
    pub(super) unsafe fn scores<L: Lanes>(&self) {
        let (attention, task) = (self.attention, self.task);
        let each = task.rows_of_each();
        unsafe {
            for row in 0..task.rows() {
                L::splat(f32::NEG_INFINITY).store(self.greatest.add(row * LANES));
            }
            let mut now = self.next(0);
            while let Some(block) = now {
                let marked = self.seen_by_any(block);
                now = self.next(block + 1);
                for (n, head) in task.shared.clone().enumerate() {
                    if let Some(next) = now {
                        self.ask(&attention.keys, attention.sizes.key, next, n);
                    } else if let Some(first) = self.next(0) {
                        self.ask(&attention.values, attention.sizes.value, first, n);
                    }
                    let place = [task.stream, head, block];
                    (attention.keys).widen::<L>(place, marked, attention.sizes.key, self.block);
                    let mut row = n * each;
                    while row < (n + 1) * each {
                        let pack = self.pack(row, (n + 1) * each, block);
                        match pack.rows {
                            4 => self.dots::<L, 4, 4>(&pack, block),
                            2 => self.dots::<L, 2, 8>(&pack, block),
                            _ => self.dots::<L, 1, 16>(&pack, block),
                        }
                        row += pack.rows;
                    }
                    for row in n * each..(n + 1) * each {
                        self.complete::<L>(row, block);
                    }
                }
            }
        }
    }

    /// Products of `ROWS` queries with the keys of a block, of `COUNT` cells at a time: sixteen.
    #[inline(always)]
    unsafe fn dots<L: Lanes, const ROWS: usize, const COUNT: usize>(
        &self,
        pack: &Pack,
        block: usize,
    ) {
        let size = self.attention.sizes.key;
        unsafe {
            let mut queries = [std::ptr::null(); ROWS];
            let mut scores = [std::ptr::null_mut(); ROWS];
            for n in 0..ROWS {
                queries[n] = self.attention.query(self.task, pack.first + n);
                scores[n] = self.scores_of(pack.first + n, block);
            }
            for few in pack.cells().chunks(COUNT) {
                // Where there are no more, the last one again.
                let mut cells = [few[few.len() - 1]; COUNT];
                cells[..few.len()].copy_from_slice(few);
                let mut sums = [L::splat(0.0); LANES];
                for at in (0..size).step_by(LANES) {
                    let mut query = [L::splat(0.0); ROWS];
                    for n in 0..ROWS {
                        query[n] = L::load(queries[n].add(at));
                    }
                    for cell in 0..COUNT {
                        let key = L::load(self.block.add(usize::from(cells[cell]) * size + at));
                        for row in 0..ROWS {
                            let sum = &mut sums[row * COUNT + cell];
                            *sum = query[row].multiply_add(key, *sum);
                        }
                    }
                }
                let mut totals = [0.0f32; LANES];
                L::sums(sums).store(totals.as_mut_ptr());
                for row in 0..ROWS {
                    for cell in 0..COUNT {
                        *scores[row].add(usize::from(cells[cell])) = totals[row * COUNT + cell];
                    }
                }
            }
        }
    }

    /// Makes scores of a row's products.
    #[inline(always)]
    unsafe fn complete<L: Lanes>(&self, row: usize, block: usize) {
        let attention = self.attention;
        let (token, head) = self.task.place(&attention.sizes, row);
        let slope = attention.slope(head);
        let mask = attention.mask_row(self.task.stream, token);
        unsafe {
            let seen = self.seen(row, block);
            if seen == 0 {
                return;
            }
            let none = L::splat(f32::NEG_INFINITY);
            let greatest = self.greatest.add(row * LANES);
            let mut most = L::load(greatest);
            for at in (0..CELLS).step_by(LANES) {
                let to = self.scores_of(row, block).add(at);
                let bits = (seen >> at) as u16;
                if bits == 0 {
                    continue;
                }
                let mut scores = L::load(to).multiply(L::splat(attention.scale));
                if attention.softcap != 0.0 {
                    let cap = L::splat(attention.softcap);
                    scores = tanh(scores.divide(cap)).multiply(cap);
                }
                if let Some(mask) = mask {
                    let numbers = match sixteen(mask, block * CELLS + at, attention.sizes.cells) {
                        Ok(there) => L::load_halves(there),
                        Err(copy) => L::load_halves(copy.as_ptr()),
                    };
                    scores = numbers.multiply_add(L::splat(slope), scores);
                }
                let scores = scores.select(bits, none);
                scores.store(to);
                most = most.max(scores);
            }
            most.store(greatest);
        }
    }
}

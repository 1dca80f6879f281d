//! Attention over cells of which each token sees some: llama.cpp's `FLASH_ATTN_EXT`.
//!
//! A pool of cells holds the keys and values of all conversations, and a step has tokens of several. What is computed here, and read, are the
//! cells that some token of the step sees, in blocks of [`CELLS`]: a block's keys become 32-bit floats once, for all tokens and for all heads that share
//! them, and so do its values. So cells of others cost a look at a bit, and a beginning that conversations share is read once for them.
//!
//! For a token and a head with the query `q`, and its cells from the first to the last of the pool:
//!
//! - a score is `scale * (q . key)`, in sixteen sums of fused multiplications and additions, one for every sixteenth number of the query, which are added as
//!   [`Lanes::sums`] says; then, with a `softcap`, `softcap * tanh(score / softcap)`; then the mask's number is added, times the
//!   head's slope;
//! - a weight is `exp(score - greatest score)`, see [`lanes::exp`];
//! - weights, and products of weights with values, are added up from the first cell to the last, fused, and divided in the end.
//!
//! **So an outcome is the same, to the bit, on every kind of processor, with any number of threads, in any company of other tokens**, and in a prompt as
//! in a token that is generated.

mod lanes;
mod mask;
mod pass;
mod scores;
#[cfg(test)]
mod tests;
mod trial;
mod values;

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use self::lanes::Wide;
use self::lanes::{Lanes, Plain};
pub(super) use self::trial::judge;
use super::Kernels;

/// Cells of a block: one bit each of a word.
const CELLS: usize = u64::BITS as usize;

/// Numbers of a vector, which a head's size is a multiple of.
const LANES: usize = 16;

/// Most tokens, and most rows, that a task has: what their scores take should stay in the second cache.
const TOKENS: usize = 16;
const ROWS: usize = 64;

/// Bytes that a task's scores should not exceed, if it has more than one token.
const SCORE_BYTES: usize = 1 << 20;

/// Tasks that a thread should have at least, so that one that is held up does not hold up all.
const TASKS: usize = 2;

/// Largest head, so that a block fits into the second cache.
const MOST_NUMBERS: usize = 1024;

/// Most tokens, cells and heads, so that no size exceeds what a number can count.
const MOST: usize = 1 << 24;

/// How keys or values lie in a cell.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// 16-bit floats.
    Halves,
    /// Any other: what makes floats of a row.
    Other(unsafe extern "C" fn(*const std::ffi::c_void, *mut f32, i64)),
}

/// Keys or values of all cells.
#[derive(Clone, Copy, Debug)]
pub struct Cells {
    pub form: Form,
    pub bytes: *const u8,
    /// Bytes from a cell, a head, and a stream to the next.
    pub strides: [usize; 3],
}

/// Queries: 32-bit floats.
#[derive(Clone, Copy, Debug)]
pub struct Queries {
    pub bytes: *const u8,
    /// Bytes from a token, a head, and a stream to the next.
    pub strides: [usize; 3],
}

/// What is added to scores, 16-bit floats; minus infinity where a token does not see a cell.
#[derive(Clone, Copy, Debug)]
pub struct Mask {
    pub bytes: *const u8,
    /// Bytes from a token and a stream to the next. A row has a number for every cell.
    pub strides: [usize; 2],
}

/// Sizes of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub streams: usize,
    pub tokens: usize,
    /// Heads of queries; as many of them in a row as come with one of `shared` share its keys and values.
    pub heads: usize,
    pub shared: usize,
    pub cells: usize,
    /// Numbers of a query and a key, and of a value.
    pub key: usize,
    pub value: usize,
}

/// An operation.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    pub sizes: Sizes,
    pub scale: f32,
    /// What the mask's numbers are multiplied by depends on the head, as "Train Short, Test Long" (Press et al., 2022, ALiBi) says; zero for one.
    pub most_bias: f32,
    /// Zero for none.
    pub softcap: f32,
    pub queries: Queries,
    pub keys: Cells,
    pub values: Cells,
    pub mask: Option<Mask>,
    /// A score for every head whose weight counts although nothing is added for it.
    pub sinks: Option<*const f32>,
    /// `[stream][token][head][number]`.
    pub output: *mut f32,
}

impl Sizes {
    /// Whether there is a kernel for them, and none is so large that counting would fail.
    pub fn are_known(&self) -> bool {
        let all = [
            self.streams,
            self.tokens,
            self.heads,
            self.shared,
            self.cells,
        ];
        let numbers = [self.key, self.value];
        all.iter().all(|size| (1..=MOST).contains(size))
            && (numbers.iter()).all(|&size| size % LANES == 0 && (1..=MOST_NUMBERS).contains(&size))
            && self.heads.is_multiple_of(self.shared)
            && (self.streams.checked_mul(self.tokens))
                .and_then(|tokens| tokens.checked_mul(self.cells))
                .is_some_and(|all| all < usize::MAX / 64)
    }

    fn blocks(&self) -> usize {
        self.cells.div_ceil(CELLS)
    }

    /// Heads of queries that share keys and values.
    fn group(&self) -> usize {
        self.heads / self.shared
    }
}

/// Who computes what.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    sizes: Sizes,
    /// Of a task: tokens, heads of keys and values, and heads of queries for each of these.
    tokens: usize,
    shared: usize,
    heads: usize,
    threads: usize,
}

/// The part of an operation that a thread computes without a break. Its rows are `[shared][token][head]`.
#[derive(Clone, Debug)]
struct Task {
    stream: usize,
    tokens: Range<usize>,
    /// Heads of keys and values.
    shared: Range<usize>,
    /// Those of the heads of queries that come with each of them.
    heads: Range<usize>,
}

impl Task {
    /// Rows of one head of keys and values.
    #[inline(always)]
    fn rows_of_each(&self) -> usize {
        self.tokens.len() * self.heads.len()
    }

    #[inline(always)]
    fn rows(&self) -> usize {
        self.shared.len() * self.rows_of_each()
    }

    /// A row's token and head.
    #[inline(always)]
    fn place(&self, sizes: &Sizes, row: usize) -> (usize, usize) {
        let (shared, row) = (row / self.rows_of_each(), row % self.rows_of_each());
        let (token, head) = (row / self.heads.len(), row % self.heads.len());
        let head = (self.shared.start + shared) * sizes.group() + self.heads.start + head;
        (self.tokens.start + token, head)
    }
}

impl Shares {
    /// A cell's heads lie one behind the other, so that a task should have many; but there should be enough of tasks, and of a long prompt
    /// a task should have many tokens.
    pub fn new(sizes: Sizes, threads: usize) -> Self {
        let row = size_of::<f32>() * CELLS * sizes.blocks();
        let rows = |size: usize| (SCORE_BYTES / (row * size)).min(ROWS / size).max(1);
        let mut heads = sizes.group().min(ROWS);
        let tokens = rows(heads).min(TOKENS).min(sizes.tokens);
        let tiles = sizes.streams * sizes.tokens.div_ceil(tokens);
        let wanted = (TASKS * threads).div_ceil(tiles);
        let shared = rows(heads * tokens).min((sizes.shared / wanted).max(1));
        let others = sizes.shared.div_ceil(shared);
        while heads > 1 && others * sizes.group().div_ceil(heads) < wanted {
            heads = heads.div_ceil(2);
        }
        Self {
            sizes,
            tokens,
            shared,
            heads,
            threads,
        }
    }

    /// Of tokens, of heads of keys, of heads that share them.
    fn parts(&self) -> [usize; 3] {
        [
            self.sizes.tokens.div_ceil(self.tokens),
            self.sizes.shared.div_ceil(self.shared),
            self.sizes.group().div_ceil(self.heads),
        ]
    }

    pub fn tasks(&self) -> usize {
        self.sizes.streams * self.parts().iter().product::<usize>()
    }

    fn task(&self, number: usize) -> Task {
        let [tokens, shared, heads] = self.parts();
        let (rest, head) = (number / heads, number % heads);
        let (rest, part) = (rest / shared, rest % shared);
        let (stream, tile) = (rest / tokens, rest % tokens);
        let cut = |all: usize, size: usize, part: usize| part * size..((part + 1) * size).min(all);
        Task {
            stream,
            tokens: cut(self.sizes.tokens, self.tokens, tile),
            shared: cut(self.sizes.shared, self.shared, part),
            heads: cut(self.sizes.group(), self.heads, head),
        }
    }

    /// Words that say which cells tokens see.
    fn words(&self) -> usize {
        self.sizes.streams * self.sizes.tokens * self.sizes.blocks()
    }

    /// Bytes of them: whole vectors.
    fn word_bytes(&self) -> usize {
        (size_of::<u64>() * self.words()).next_multiple_of(size_of::<f32>() * LANES)
    }

    fn rows(&self) -> usize {
        self.tokens * self.shared * self.heads
    }

    /// Numbers of one thread's working memory: a block, then for each row its scores, its sums with their total, and its greatest score.
    fn numbers(&self) -> usize {
        let block = CELLS * self.sizes.key.max(self.sizes.value);
        block + self.rows() * (CELLS * self.sizes.blocks() + self.sizes.value + 2 * LANES)
    }

    /// Working memory of all threads together.
    pub fn work_bytes(&self) -> usize {
        self.word_bytes() + self.threads * size_of::<f32>() * self.numbers()
    }
}

impl Attention {
    /// A thread's share of what has to be known before anything is computed: which cells are seen.
    ///
    /// # Safety
    /// The operation's memory is as its sizes and strides say, `work` has the bytes of [`Shares::work_bytes`] and lies at a multiple of
    /// 64; the threads' shares are all done before [`Attention::compute`] is called.
    pub unsafe fn look(&self, shares: &Shares, kernels: Kernels, work: *mut u8, thread: usize) {
        let words = shares.words();
        let each = words.div_ceil(shares.threads);
        let share = (thread * each).min(words)..((thread + 1) * each).min(words);
        let to = work.cast::<u64>();
        // SAFETY: passed on; the processor has what the kernels need.
        unsafe {
            match kernels {
                Kernels::Portable | Kernels::Avx2 => mask::look::<Plain>(self, share, to),
                #[cfg(target_arch = "x86_64")]
                Kernels::Avx512 | Kernels::Amx => pass::look_avx512(self, share, to),
                #[cfg(not(target_arch = "x86_64"))]
                Kernels::Avx512 | Kernels::Amx => {
                    unreachable!("no processor of this kind has them")
                }
            }
        }
    }

    /// Computes a task, with a thread's own working memory.
    ///
    /// # Safety
    /// As above; no two threads compute the same task, or have the same number.
    pub unsafe fn compute(
        &self,
        shares: &Shares,
        kernels: Kernels,
        work: *mut u8,
        thread: usize,
        task: usize,
    ) {
        let task = shares.task(task);
        // SAFETY: passed on; what a thread has lies behind the words and what the threads before it have.
        unsafe {
            let words = work.cast::<u64>().cast_const();
            let own = work
                .add(shares.word_bytes())
                .cast::<f32>()
                .add(thread * shares.numbers());
            match kernels {
                Kernels::Portable => pass::compute::<Plain>(self, &task, words, own),
                #[cfg(target_arch = "x86_64")]
                Kernels::Avx2 => pass::compute_avx2(self, &task, words, own),
                #[cfg(target_arch = "x86_64")]
                Kernels::Avx512 | Kernels::Amx => pass::compute_avx512(self, &task, words, own),
                #[cfg(not(target_arch = "x86_64"))]
                Kernels::Avx2 | Kernels::Avx512 | Kernels::Amx => {
                    unreachable!("no processor of this kind has them")
                }
            }
        }
    }
}

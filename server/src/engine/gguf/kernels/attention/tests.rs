//! Every set of instructions that this processor has, against plain arithmetic and against sums in 64 bits.

use half::f16;
use proptest::prelude::*;

use super::{Attention, Cells, Form, Kernels, LANES, Mask, Queries, Shares, Sizes};

/// Numbers without a pattern, about as large as those of models.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = (self.0)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// From -2 to 2.
    fn float(&mut self) -> f32 {
        (self.next() >> 8) as f32 / (1u64 << 22) as f32 - 2.0
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    fn halves(&mut self, count: usize) -> Vec<u16> {
        (0..count)
            .map(|_| f16::from_f32(self.float()).to_bits())
            .collect()
    }
}

/// What an operation works on.
#[derive(Clone, Debug)]
struct Case {
    sizes: Sizes,
    most_bias: f32,
    softcap: f32,
    /// `[stream][head][token][number]`
    queries: Vec<f32>,
    /// `[stream][cell][head][number]`
    keys: Vec<u16>,
    values: Vec<u16>,
    /// `[stream][token][cell]`
    mask: Option<Vec<u16>>,
    sinks: Option<Vec<f32>>,
}

const UNSEEN: u16 = 0xfc00;

impl Case {
    fn new(sizes: Sizes, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let Sizes {
            streams,
            tokens,
            heads,
            shared,
            cells,
            key,
            value,
        } = sizes;
        Self {
            sizes,
            most_bias: 0.0,
            softcap: 0.0,
            queries: numbers.floats(streams * heads * tokens * key),
            keys: numbers.halves(streams * cells * shared * key),
            values: numbers.halves(streams * cells * shared * value),
            mask: None,
            sinks: None,
        }
    }

    /// With a mask that says which cells a token of a stream sees.
    fn seeing(mut self, sees: impl Fn(usize, usize, usize) -> bool) -> Self {
        let Sizes {
            streams,
            tokens,
            cells,
            ..
        } = self.sizes;
        let mut mask = Vec::new();
        for stream in 0..streams {
            for token in 0..tokens {
                mask.extend(
                    (0..cells).map(|cell| if sees(stream, token, cell) { 0 } else { UNSEEN }),
                );
            }
        }
        self.mask = Some(mask);
        self
    }

    fn attention(&self, output: *mut f32) -> Attention {
        let Sizes {
            tokens,
            heads,
            shared,
            cells,
            key,
            value,
            ..
        } = self.sizes;
        let cache = |numbers: &[u16], size: usize| Cells {
            form: Form::Halves,
            bytes: numbers.as_ptr().cast(),
            strides: [2 * shared * size, 2 * size, 2 * cells * shared * size],
        };
        Attention {
            sizes: self.sizes,
            scale: 1.0 / (key as f32).sqrt(),
            most_bias: self.most_bias,
            softcap: self.softcap,
            queries: Queries {
                bytes: self.queries.as_ptr().cast(),
                strides: [4 * key, 4 * tokens * key, 4 * heads * tokens * key],
            },
            keys: cache(&self.keys, key),
            values: cache(&self.values, value),
            mask: self.mask.as_ref().map(|mask| Mask {
                bytes: mask.as_ptr().cast(),
                strides: [2 * cells, 2 * tokens * cells],
            }),
            sinks: self.sinks.as_ref().map(|sinks| sinks.as_ptr()),
            output,
        }
    }

    /// `[stream][token][head][number]`, as threads would compute it.
    fn compute(&self, kernels: Kernels, threads: usize) -> Vec<f32> {
        let Sizes {
            streams,
            tokens,
            heads,
            value,
            ..
        } = self.sizes;
        let mut output = vec![f32::NAN; streams * tokens * heads * value];
        let attention = self.attention(output.as_mut_ptr());
        let shares = Shares::new(self.sizes, threads);
        // Whatever was there before.
        let mut work = vec![u64::MAX; shares.work_bytes() / 8 + 8];
        let work = work.as_mut_ptr().cast::<u8>();
        // SAFETY: the sizes are those of the memory, and the processor has the kernels.
        unsafe {
            let work = work.add(work.align_offset(64));
            for thread in 0..threads {
                attention.look(&shares, kernels, work, thread);
            }
            for task in (0..shares.tasks()).rev() {
                attention.compute(&shares, kernels, work, task % threads, task);
            }
        }
        output
    }

    /// The same with exact sums.
    fn exact(&self) -> Vec<f64> {
        let Sizes {
            streams,
            tokens,
            heads,
            shared,
            cells,
            key,
            value,
        } = self.sizes;
        let float = |half: u16| f64::from(f16::from_bits(half).to_f32());
        let mut output = Vec::new();
        for stream in 0..streams {
            for token in 0..tokens {
                for head in 0..heads {
                    let query =
                        &self.queries[((stream * heads + head) * tokens + token) * key..][..key];
                    let place =
                        |cell: usize| (stream * cells + cell) * shared + head / (heads / shared);
                    let mut scores = Vec::new();
                    for cell in 0..cells {
                        let added = self.mask.as_ref().map_or(0.0, |mask| {
                            self.slope(head) * float(mask[(stream * tokens + token) * cells + cell])
                        });
                        let keys = &self.keys[place(cell) * key..][..key];
                        let dot: f64 = query
                            .iter()
                            .zip(keys)
                            .map(|(&a, &b)| f64::from(a) * float(b))
                            .sum();
                        let mut score = dot / (key as f64).sqrt();
                        if self.softcap != 0.0 {
                            let cap = f64::from(self.softcap);
                            score = cap * (score / cap).tanh();
                        }
                        scores.push(score + added);
                    }
                    let sink = self.sinks.as_ref().map(|sinks| f64::from(sinks[head]));
                    let most = scores
                        .iter()
                        .copied()
                        .chain(sink)
                        .fold(f64::NEG_INFINITY, f64::max);
                    let weights: Vec<f64> = scores
                        .iter()
                        .map(|score| {
                            if most.is_finite() {
                                (score - most).exp()
                            } else {
                                0.0
                            }
                        })
                        .collect();
                    let total =
                        weights.iter().sum::<f64>() + sink.map_or(0.0, |sink| (sink - most).exp());
                    for n in 0..value {
                        let sum: f64 = (0..cells)
                            .map(|cell| weights[cell] * float(self.values[place(cell) * value + n]))
                            .sum();
                        output.push(if total == 0.0 { 0.0 } else { sum / total });
                    }
                }
            }
        }
        output
    }

    /// 1/2, 1/4, ... for 8 and a number of heads that is a power of two, else 1/sqrt(2), 1/2/sqrt(2), ... between them.
    fn slope(&self, head: usize) -> f64 {
        let bias = f64::from(self.most_bias);
        let heads = 2f64.powi(self.sizes.heads.ilog2() as i32);
        match bias {
            0.0 => 1.0,
            _ if (head as f64) < heads => 2f64.powf(-bias / heads * (head + 1) as f64),
            _ => 2f64.powf(-bias / 2.0 / heads * (2.0 * (head as f64 - heads) + 1.0)),
        }
    }

    /// Computes with everything that there is, and expects the same of all, near to what is exact.
    fn check(&self) -> Vec<f32> {
        let plain = self.compute(Kernels::Portable, 1);
        for (n, (got, exact)) in plain.iter().zip(self.exact()).enumerate() {
            let error = (f64::from(*got) - exact).abs();
            assert!(error < 4e-6, "number {n}: {got} is not {exact}");
        }
        for kernels in Kernels::all() {
            for threads in [1, 2, 3] {
                let got = self.compute(kernels, threads);
                assert_eq!(
                    bits(&got),
                    bits(&plain),
                    "{kernels:?} with {threads} threads"
                );
            }
        }
        plain
    }
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

const SMALL: Sizes = Sizes {
    streams: 1,
    tokens: 1,
    heads: 4,
    shared: 2,
    cells: 100,
    key: 32,
    value: 32,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn all_sizes_are_computed(
        streams in 1..3usize,
        tokens in 1..40usize,
        shared in 1..4usize,
        group in 1..5usize,
        cells in 1..200usize,
        key in 1..10usize,
        value in 1..12usize,
        seed: u64,
    ) {
        let sizes = Sizes {
            streams, tokens, heads: shared * group, shared, cells,
            key: key * LANES, value: value * LANES,
        };
        // Each cell is somebody's, or nobody's.
        let sees = |stream: usize, token: usize, cell: usize| {
            let mut numbers = Numbers(seed ^ (stream * 31 + cell) as u64);
            numbers.next();
            let owner = numbers.next() as usize % 4;
            owner == 0 || owner == 1 + token % 5
        };
        let mut case = Case::new(sizes, seed);
        if seed % 5 > 0 {
            case = case.seeing(sees);
        }
        if seed % 7 == 0 {
            case.softcap = 3.0;
        }
        if seed % 3 == 0 {
            case.sinks = Some(Numbers(seed).floats(sizes.heads));
        }
        case.check();
    }
}

#[test]
fn a_prompt_is_computed_as_its_tokens_one_by_one() {
    let sizes = Sizes {
        tokens: 70,
        cells: 300,
        ..SMALL
    };
    // The cells of a conversation, among those of others.
    let place = |position: usize| 3 * position + position / 7;
    let sees =
        |_: usize, token: usize, cell: usize| (0..=token).any(|position| place(position) == cell);
    let case = Case::new(sizes, 1).seeing(sees);
    let all = case.check();
    let size = sizes.heads * sizes.value;
    for token in [0, 1, 15, 16, 17, 40, 69] {
        let mut one = case.clone();
        one.sizes.tokens = 1;
        let queries = case.queries.chunks_exact(sizes.tokens * sizes.key);
        one.queries = queries
            .flat_map(|head| head[token * sizes.key..][..sizes.key].to_vec())
            .collect();
        let alone = one.seeing(|_, _, cell| sees(0, token, cell)).check();
        assert_eq!(
            bits(&alone),
            bits(&all[token * size..][..size]),
            "token {token}"
        );
    }
}

#[test]
fn where_cells_lie_and_whose_lie_between_changes_nothing() {
    let near = Case::new(
        Sizes {
            cells: 150,
            ..SMALL
        },
        3,
    )
    .seeing(|_, _, cell| cell < 90);
    let expected = near.check();
    let mut far = Case::new(
        Sizes {
            cells: 500,
            ..SMALL
        },
        4,
    );
    let place = |cell: usize| 5 * cell + 17;
    let size = SMALL.shared * SMALL.key;
    for cell in 0..90 {
        for (to, from) in [(&mut far.keys, &near.keys), (&mut far.values, &near.values)] {
            to[place(cell) * size..][..size].copy_from_slice(&from[cell * size..][..size]);
        }
    }
    far.queries.clone_from(&near.queries);
    let far = far.seeing(|_, _, cell| (0..90).any(|own| place(own) == cell));
    assert_eq!(bits(&far.check()), bits(&expected));
}

#[test]
fn who_sees_nothing_gets_nothing() {
    let sizes = Sizes { tokens: 3, ..SMALL };
    let case = Case::new(sizes, 5).seeing(|_, token, _| token != 1);
    let got = case.check();
    let size = sizes.heads * sizes.value;
    assert!(got[size..2 * size].iter().all(|&number| number == 0.0));
}

#[test]
fn what_nobody_sees_is_not_looked_at() {
    let sizes = Sizes {
        tokens: 2,
        cells: 200,
        ..SMALL
    };
    let mut case = Case::new(sizes, 6).seeing(|_, _, cell| cell % 3 == 0);
    let expected = case.check();
    let size = sizes.shared * sizes.key;
    for cell in (0..200).filter(|cell| cell % 3 > 0) {
        case.keys[cell * size..][..size].fill(f16::NAN.to_bits());
        case.values[cell * size..][..size].fill(f16::INFINITY.to_bits());
    }
    for kernels in Kernels::all() {
        assert_eq!(bits(&case.compute(kernels, 2)), bits(&expected));
    }
}

#[test]
fn numbers_of_a_mask_count() {
    let mut case = Case::new(Sizes { cells: 77, ..SMALL }, 7);
    case.mask = Some(Numbers(8).halves(77));
    case.check();
    case.most_bias = 8.0;
    case.check();
    let mut odd = Case::new(
        Sizes {
            heads: 6,
            cells: 77,
            ..SMALL
        },
        7,
    );
    odd.mask = case.mask;
    odd.most_bias = 8.0;
    odd.check();
}

#[test]
fn large_scores_do_not_overflow() {
    let mut case = Case::new(SMALL, 9);
    for query in &mut case.queries {
        *query *= 300.0;
    }
    for kernels in Kernels::all() {
        let got = case.compute(kernels, 1);
        assert!(got.iter().all(|number| number.is_finite()));
    }
}

#[test]
fn what_is_no_number_stays_so() {
    let mut case = Case::new(SMALL, 10);
    case.queries[0] = f32::NAN;
    for kernels in Kernels::all() {
        let got = case.compute(kernels, 1);
        assert!(
            got[..SMALL.value].iter().all(|number| number.is_nan()),
            "{kernels:?}"
        );
        assert!(got[SMALL.value..].iter().all(|number| number.is_finite()));
    }
}

#[test]
fn llama_cpp_computes_with_it() {
    let _ = crate::engine::gguf::load::backend();
    // It may be slower here and now, but not wrong.
    if let Err(reason) = super::judge() {
        assert!(reason.contains("times as fast"), "{reason}");
    }
}

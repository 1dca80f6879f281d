//! Whether our attention is right and faster than llama.cpp's here. It depends on the processor alone, so it is tried once.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::time::Duration;

use half::f16;
use llama_cpp_sys_2 as sys;

use super::super::hook;
use super::super::trial::{Backend, Graph, Room, numbers};
use super::mask::UNSEEN;

/// Sizes of a usual model's layer: numbers of a head, heads of queries, and of keys.
const HEAD: usize = 64;
const HEADS: usize = 12;
const SHARED: usize = 4;

/// Cells of a pool.
const CELLS: usize = 1024;

/// What is tried: a stream, some of them, and a prompt; each token sees so many cells of its own, or all before it as well.
const CASES: [Case; 3] = [
    Case {
        tokens: 1,
        own: 128,
        is_prompt: false,
    },
    Case {
        tokens: 8,
        own: 128,
        is_prompt: false,
    },
    Case {
        tokens: 64,
        own: 16,
        is_prompt: true,
    },
];

/// Times each is measured, after one to warm up; the best counts.
const ROUNDS: usize = 3;

/// How many times as fast ours must be in each case.
const LEAST_GAIN: f64 = 1.0;

/// Most that the outcomes may differ: the square of the difference over that of the outcome. llama.cpp adds weighted values up in 16 bits.
const TOLERANCE: f64 = 1e-4;

#[derive(Clone, Copy, Debug)]
struct Case {
    tokens: usize,
    own: usize,
    is_prompt: bool,
}

impl Case {
    /// `[token][cell]`
    fn mask(self) -> Vec<u16> {
        let cell = |token: usize, cell: usize| {
            let first = if self.is_prompt { 0 } else { token * self.own };
            if (first..(token + 1) * self.own).contains(&cell) {
                0
            } else {
                UNSEEN
            }
        };
        (0..self.tokens)
            .flat_map(|token| (0..CELLS).map(move |number| cell(token, number)))
            .collect()
    }
}

/// Whether our attention is to be used, and why not if not.
pub(in super::super) fn judge() -> Result<(), String> {
    static VERDICT: OnceLock<Result<(), String>> = OnceLock::new();
    VERDICT
        .get_or_init(|| CASES.into_iter().try_for_each(try_case))
        .clone()
}

fn try_case(case: Case) -> Result<(), String> {
    let failed = || String::from("a trial of it failed");
    let backend = Backend::new().ok_or_else(failed)?;
    let [ours, theirs] = [true, false].map(|ours| Operation::new(case, ours));
    let (ours, theirs) = (ours.ok_or_else(failed)?, theirs.ok_or_else(failed)?);
    let mut best = [Duration::MAX; 2];
    for _ in 0..=ROUNDS {
        for (operation, best) in [&ours, &theirs].into_iter().zip(&mut best) {
            *best = backend
                .compute(&operation.graph)
                .ok_or_else(failed)?
                .min(*best);
        }
    }
    let (mut square, mut error) = (0.0, 0.0);
    for (a, b) in ours.graph.outcome().iter().zip(theirs.graph.outcome()) {
        square += f64::from(*b).powi(2);
        error += f64::from(a - b).powi(2);
    }
    let difference = error / square;
    let times = best[1].as_secs_f64() / best[0].as_secs_f64();
    tracing::debug!(?case, ours = ?best[0], theirs = ?best[1], difference, "our attention was tried");
    if difference.is_nan() || difference > TOLERANCE {
        return Err(format!("its outcome differs by {difference:.1e}"));
    }
    if times.is_nan() || times < LEAST_GAIN {
        let tokens = case.tokens;
        return Err(format!(
            "it is {times:.2} times as fast as llama.cpp's for {tokens} tokens"
        ));
    }
    Ok(())
}

/// A graph of one operation.
struct Operation {
    graph: Graph,
    _room: Room,
}

impl Operation {
    /// `None` where ggml has no memory.
    fn new(case: Case, ours: bool) -> Option<Self> {
        let [head, heads, shared, cells, tokens] = [HEAD, HEADS, SHARED, CELLS, case.tokens]
            .map(|size| i64::try_from(size).expect("these are small"));
        let mut room = Room::new()?;
        let context = room.context();
        let queries = numbers(HEAD * HEADS * case.tokens);
        let halves: Vec<u16> = numbers(HEAD * SHARED * CELLS)
            .into_iter()
            .map(|number| f16::from_f32(number).to_bits())
            .collect();
        let mask = case.mask();
        // SAFETY: the room holds the descriptions of these few tensors and of the graph, every tensor gets memory before it is written,
        // and as many bytes are written as it has.
        unsafe {
            let half = sys::GGML_TYPE_F16;
            let q = sys::ggml_new_tensor_3d(context, sys::GGML_TYPE_F32, head, tokens, heads);
            // A cell's heads follow each other.
            let rows =
                [(); 2].map(|()| sys::ggml_new_tensor_3d(context, half, head, shared, cells));
            let m = sys::ggml_new_tensor_2d(context, half, cells, tokens);
            let [k, v] = rows.map(|row| sys::ggml_permute(context, row, 0, 2, 1, 3));
            let scale = 1.0 / (HEAD as f32).sqrt();
            let output = sys::ggml_flash_attn_ext(context, q, k, v, m, scale, 0.0, 0.0);
            let graph = sys::ggml_new_graph(context);
            sys::ggml_build_forward_expand(graph, output);
            room.allocate(sys::ggml_backend_cpu_buffer_type())?;
            (*k).extra = hook::mark(ours);
            let set = |tensor, bytes: *const c_void| {
                sys::ggml_backend_tensor_set(tensor, bytes, 0, sys::ggml_nbytes(tensor));
            };
            set(q, queries.as_ptr().cast());
            set(m, mask.as_ptr().cast());
            for row in rows {
                set(row, halves.as_ptr().cast());
            }
            Some(Self {
                graph: Graph::new(graph, NonNull::new(output)?),
                _room: room,
            })
        }
    }
}

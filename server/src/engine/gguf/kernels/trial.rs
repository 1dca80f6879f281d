//! Whether our kernels are right and faster for a model, tried on some of its own weights.

use std::ffi::{CStr, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::NonNull;
use std::time::Duration;

use llama_cpp_sys_2 as sys;

use super::hook;

/// Most bytes of a form's weights that are tried.
const SAMPLE_BYTES: usize = 4 << 20;

/// Rows of a sample come in multiples of this, if there are as many.
const BUNDLE: usize = 64;

/// Less weights than this, of all forms together, are too few to measure.
const MEASURED_BYTES: usize = 1 << 20;

/// Share of a model's weights in matrices that our kernels must know; the rest is computed by llama.cpp as it is.
const LEAST_SHARE: f64 = 0.8;

/// How many times as fast they must be on average. A trial says no more than that of a tie, which would go one way or the other from
/// load to load; and answers of the two are rounded differently.
const LEAST_GAIN: f64 = 1.1;

/// And for each of [`SIZES`] alone: a faster prompt is no reason for a slower stream. A tie is enough, but a trial cannot tell a few percent.
/// One column is held to more than the others: a whole model's threads share the memory's bandwidth, and that of Q8_0
/// turned out up to 0.04 less than the trial of its one column.
const LEAST_OF_EACH: [f64; SIZES.len()] = [0.95, 0.9, 0.9];

/// What is tried: one stream, some of them, and a prompt.
const SIZES: [Size; 3] = [
    Size {
        columns: 1,
        part: 1,
        rounds: 12,
    },
    Size {
        columns: 8,
        part: 2,
        rounds: 6,
    },
    Size {
        columns: 64,
        part: 4,
        rounds: 3,
    },
];

/// Threads of a trial: the calling one alone, whose time on a processor does not depend on who else computes.
const THREADS: i32 = 1;

/// Most that the outcomes of two kernels may differ: the square of the difference over that of the outcome. Rounding
/// activations to bytes, which llama.cpp does too, makes some 1e-4 against exact ones; against each other, they differ by 1e-7 and less.
const TOLERANCE: f64 = 1e-4;

/// What a trial came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Right, and so many times as fast as llama.cpp's.
    Use(f64),
    /// To be left to llama.cpp, and why.
    Leave(String),
}

/// Tries the best kernels on the weights of a file. The file is one that can be opened; what it holds may be anything.
pub(super) fn judge(file: &Path, name: &CStr) -> Verdict {
    let Some((samples, share)) = samples(file, name) else {
        return Verdict::Leave("its weights cannot be tried".into());
    };
    if share < LEAST_SHARE {
        let percent = share * 100.0;
        return Verdict::Leave(format!("they know {percent:.0} % of its weights"));
    }
    let measured = samples
        .iter()
        .map(|sample| sample.bytes.len())
        .sum::<usize>()
        >= MEASURED_BYTES;
    // Their time over llama.cpp's by number of columns, in proportion to the model's weights in each form.
    let mut costs = [0.0; SIZES.len()];
    for sample in &samples {
        for (
            Size {
                columns,
                part,
                rounds,
            },
            cost,
        ) in SIZES.iter().copied().zip(&mut costs)
        {
            let rounds = if measured { rounds } else { 0 };
            let Some(outcome) = compare(&sample.part(part), columns, rounds) else {
                return Verdict::Leave("a trial of them failed".into());
            };
            if outcome.difference.is_nan() || outcome.difference > TOLERANCE {
                return Verdict::Leave(format!(
                    "their outcome for {:?} differs by {:.1e}",
                    sample.kind, outcome.difference
                ));
            }
            tracing::debug!(
                kind = sample.kind,
                columns,
                ours = ?outcome.ours,
                theirs = ?outcome.theirs,
                difference = outcome.difference,
                "our kernels were tried"
            );
            *cost += sample.share * outcome.ours.as_secs_f64() / outcome.theirs.as_secs_f64();
        }
    }
    if !measured {
        return Verdict::Leave("its weights are too few to measure".into());
    }
    verdict(costs)
}

/// What follows from the times of our kernels over llama.cpp's.
fn verdict(costs: [f64; SIZES.len()]) -> Verdict {
    for ((Size { columns, .. }, cost), least) in SIZES.iter().zip(costs).zip(LEAST_OF_EACH) {
        let times = 1.0 / cost;
        if times.is_nan() || times < least {
            return Verdict::Leave(format!(
                "they are {times:.2} times as fast as llama.cpp's on {columns} columns"
            ));
        }
    }
    // Each number of columns counts as much.
    let times = costs.len() as f64 / costs.iter().sum::<f64>();
    if times.is_nan() || times < LEAST_GAIN {
        return Verdict::Leave(format!("they are {times:.2} times as fast as llama.cpp's"));
    }
    Verdict::Use(times)
}

/// How a sample is tried.
#[derive(Clone, Copy)]
struct Size {
    /// Columns of activations.
    columns: usize,
    /// Which part of the sample's rows is enough: a half, a quarter.
    part: usize,
    /// Times it is measured. The shorter it is, the more often; the best counts, so that other load disturbs little.
    rounds: usize,
}

/// Some rows of one of a model's matrices.
pub(super) struct Sample {
    pub(super) kind: sys::ggml_type,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) bytes: Vec<u8>,
    /// Bytes of the model's weights in this form over those in all that our kernels know.
    pub(super) share: f64,
}

impl Sample {
    /// The first of so many parts of the rows, in whole bundles.
    fn part(&self, parts: usize) -> Self {
        let outputs = (self.outputs / parts)
            .next_multiple_of(BUNDLE)
            .min(self.outputs);
        let bytes = self.bytes.len() / self.outputs * outputs;
        Self {
            outputs,
            bytes: self.bytes[..bytes].to_vec(),
            ..*self
        }
    }
}

/// Frees what GGUF's reader has made.
struct Head(NonNull<sys::gguf_context>);

impl Drop for Head {
    fn drop(&mut self) {
        // SAFETY: it was made by `gguf_init_from_file`, and nobody else frees it.
        unsafe { sys::gguf_free(self.0.as_ptr()) };
    }
}

/// A sample of every form that there are kernels for, and the share of these among all matrices' bytes.
fn samples(file: &Path, name: &CStr) -> Option<(Vec<Sample>, f64)> {
    let params = sys::gguf_init_params {
        no_alloc: true,
        ctx: std::ptr::null_mut(),
    };
    // SAFETY: the name is NUL-terminated, and no context is asked for.
    let head = NonNull::new(unsafe { sys::gguf_init_from_file(name.as_ptr(), params) })?;
    let head = Head(head);
    let raw = head.0.as_ptr().cast_const();
    let file = File::open(file).ok()?;
    // SAFETY: `head` is valid until the end of this function, and the numbers are within what it has; a tensor has four sizes.
    let tensors = unsafe {
        let data = sys::gguf_get_data_offset(raw);
        (0..sys::gguf_get_n_tensors(raw)).map(move |number| {
            let sizes = *sys::gguf_get_tensor_ne(raw, number).cast::<[i64; 4]>();
            let place = data + sys::gguf_get_tensor_offset(raw, number);
            let bytes = sys::gguf_get_tensor_size(raw, number);
            (sys::gguf_get_tensor_type(raw, number), sizes, place, bytes)
        })
    };
    let mut all = 0.0;
    let mut known = 0.0;
    let mut samples: Vec<Sample> = Vec::new();
    for (kind, sizes, place, bytes) in tensors {
        let [inputs, outputs, others, more] = sizes.map(|size| usize::try_from(size).unwrap_or(0));
        if outputs < 2 {
            continue;
        }
        all += bytes as f64;
        let Some(format) = hook::format(kind).filter(|_| others == 1 && more == 1) else {
            continue;
        };
        known += bytes as f64;
        let row = inputs / format.weights() * format.bytes();
        let rows = outputs.min(SAMPLE_BYTES / row.max(1));
        // llama.cpp rearranges whole bundles of rows.
        let rows = if rows > BUNDLE {
            rows / BUNDLE * BUNDLE
        } else {
            rows
        };
        if let Some(sample) = samples.iter_mut().find(|sample| sample.kind == kind) {
            sample.share += bytes as f64;
            if sample.bytes.len() >= rows * row {
                continue;
            }
        }
        if rows < super::plan::GROUP || row == 0 {
            continue;
        }
        let mut sampled = vec![0; rows * row];
        file.read_exact_at(&mut sampled, place as u64).ok()?;
        let sample = Sample {
            kind,
            inputs,
            outputs: rows,
            bytes: sampled,
            share: bytes as f64,
        };
        match samples.iter_mut().find(|other| other.kind == kind) {
            Some(other) => {
                let share = other.share;
                *other = sample;
                other.share = share;
            }
            None => samples.push(sample),
        }
    }
    for sample in &mut samples {
        sample.share /= known;
    }
    let share = if known > 0.0 { known / all } else { 0.0 };
    Some((samples, share))
}

/// Both kernels on the same numbers.
pub(super) struct Outcome {
    pub(super) difference: f64,
    ours: Duration,
    theirs: Duration,
}

/// A product of a sample's weights with activations, and its time in so many rounds. `None` where ggml has no memory.
pub(super) fn compare(sample: &Sample, columns: usize, rounds: usize) -> Option<Outcome> {
    let activations: Vec<f32> = numbers(sample.inputs * columns);
    let backend = Backend::new()?;
    let ours = Product::new(sample, &activations, Place::Ours)?;
    let plain = Product::new(sample, &activations, Place::Theirs)?;
    backend.compute(&ours.graph)?;
    backend.compute(&plain.graph)?;
    let (mut square, mut error) = (0.0, 0.0);
    for (a, b) in ours.graph.outcome().iter().zip(plain.graph.outcome()) {
        square += f64::from(*b).powi(2);
        error += f64::from(a - b).powi(2);
    }
    let mut outcome = Outcome {
        difference: if square > 0.0 { error / square } else { error },
        ours: Duration::from_nanos(1),
        theirs: Duration::from_nanos(1),
    };
    if rounds > 0 {
        // The best that llama.cpp has: weights rearranged, if it does that with such ones.
        let theirs = Product::new(sample, &activations, Place::Rearranged).unwrap_or(plain);
        (outcome.ours, outcome.theirs) = (Duration::MAX, Duration::MAX);
        // The first warms up.
        for _ in 0..=rounds {
            for (product, best) in [(&ours, &mut outcome.ours), (&theirs, &mut outcome.theirs)] {
                product.weights_room.evict();
                *best = backend.compute(&product.graph)?.min(*best);
            }
        }
    }
    Some(outcome)
}

/// Numbers from -1 to 1 without a pattern, always the same.
pub(super) fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

/// Time that this thread has spent on a processor.
fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to the variable. Where there is no such clock, zero stays, and nothing is found faster.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// ggml's CPU backend.
pub(super) struct Backend(sys::ggml_backend_t);

impl Backend {
    pub(super) fn new() -> Option<Self> {
        // SAFETY: this is the type of the function that ggml gives for this name; the backend is valid for the call.
        unsafe {
            let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
            let set_threads = sys::ggml_backend_reg_get_proc_address(
                sys::ggml_backend_dev_backend_reg(device),
                c"ggml_backend_set_n_threads".as_ptr(),
            );
            let set_threads =
                std::mem::transmute::<*mut c_void, sys::ggml_backend_set_n_threads_t>(set_threads)?;
            let backend = sys::ggml_backend_dev_init(device, std::ptr::null());
            if backend.is_null() {
                return None;
            }
            set_threads(backend, THREADS);
            Some(Self(backend))
        }
    }

    /// How long it took.
    pub(super) fn compute(&self, graph: &Graph) -> Option<Duration> {
        let start = processor_time();
        // SAFETY: both are valid, and all tensors of the graph have memory.
        let status = unsafe { sys::ggml_backend_graph_compute(self.0, graph.graph) };
        (status == sys::GGML_STATUS_SUCCESS).then(|| processor_time().saturating_sub(start))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // SAFETY: it was made above, and nobody else frees it.
        unsafe { sys::ggml_backend_free(self.0) };
    }
}

/// Where weights lie.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    /// In ordinary memory, for our kernels.
    Ours,
    /// There, for llama.cpp's.
    Theirs,
    /// In the first of llama.cpp's other kinds of memory that takes them.
    Rearranged,
}

/// Something to compute. It lives as long as the room it was made in.
pub(super) struct Graph {
    graph: *mut sys::ggml_cgraph,
    output: NonNull<sys::ggml_tensor>,
}

impl Graph {
    /// `output` is its last tensor: floats, which have got memory.
    pub(super) fn new(graph: *mut sys::ggml_cgraph, output: NonNull<sys::ggml_tensor>) -> Self {
        Self { graph, output }
    }

    /// The numbers computed last.
    pub(super) fn outcome(&self) -> &[f32] {
        // SAFETY: the output lies in ordinary memory of this size, which is zeros or has been computed.
        unsafe {
            let output = self.output.as_ref();
            let count = sys::ggml_nelements(output);
            let count = usize::try_from(count).expect("a size is not negative");
            std::slice::from_raw_parts(output.data.cast::<f32>(), count)
        }
    }
}

/// A product, and where its tensors lie.
struct Product {
    graph: Graph,
    weights_room: Room,
    _others: Room,
}

/// Tensors and their memory.
pub(super) struct Room {
    context: NonNull<sys::ggml_context>,
    buffer: sys::ggml_backend_buffer_t,
}

impl Room {
    pub(super) fn new() -> Option<Self> {
        // SAFETY: plain data; ggml allocates the memory for the descriptions itself.
        let context = unsafe {
            sys::ggml_init(sys::ggml_init_params {
                mem_size: 16 * sys::ggml_tensor_overhead() + sys::ggml_graph_overhead(),
                mem_buffer: std::ptr::null_mut(),
                no_alloc: true,
            })
        };
        Some(Self {
            context: NonNull::new(context)?,
            buffer: std::ptr::null_mut(),
        })
    }

    /// Where tensors are described.
    pub(super) fn context(&self) -> *mut sys::ggml_context {
        self.context.as_ptr()
    }

    /// Gives memory to all tensors that are described; `None` where there is none.
    pub(super) fn allocate(&mut self, kind: sys::ggml_backend_buffer_type_t) -> Option<()> {
        // SAFETY: both are valid.
        self.buffer =
            unsafe { sys::ggml_backend_alloc_ctx_tensors_from_buft(self.context.as_ptr(), kind) };
        (!self.buffer.is_null()).then_some(())
    }

    /// Has the processor write its memory back and forget it: a model's weights are too large for caches, so a token finds none there.
    fn evict(&self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the buffer is valid and has so many bytes from its base on.
        unsafe {
            use std::arch::x86_64::{_mm_clflush, _mm_mfence};

            const LINE: usize = 64;
            let base = sys::ggml_backend_buffer_get_base(self.buffer).cast::<u8>();
            for line in (0..sys::ggml_backend_buffer_get_size(self.buffer)).step_by(LINE) {
                _mm_clflush(base.add(line));
            }
            _mm_mfence();
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: both were made for this room, and nobody else frees them; a null buffer is none.
        unsafe {
            sys::ggml_backend_buffer_free(self.buffer);
            sys::ggml_free(self.context.as_ptr());
        }
    }
}

impl Product {
    fn new(sample: &Sample, activations: &[f32], place: Place) -> Option<Self> {
        let [inputs, outputs, columns] = [
            sample.inputs,
            sample.outputs,
            activations.len() / sample.inputs,
        ]
        .map(|size| i64::try_from(size).expect("a sample is small"));
        let (mut weights_room, mut others) = (Room::new()?, Room::new()?);
        // SAFETY: the rooms hold the descriptions of these few tensors and of the graph, every tensor gets memory before it is
        // written, and as many bytes are written as it has.
        unsafe {
            let kind = sys::GGML_TYPE_F32;
            let weights = sys::ggml_new_tensor_2d(
                weights_room.context.as_ptr(),
                sample.kind,
                inputs,
                outputs,
            );
            let context = others.context.as_ptr();
            let right = sys::ggml_new_tensor_2d(context, kind, inputs, columns);
            let output = sys::ggml_mul_mat(context, weights, right);
            let graph = sys::ggml_new_graph(context);
            sys::ggml_build_forward_expand(graph, output);
            others.allocate(sys::ggml_backend_cpu_buffer_type())?;
            weights_room.allocate(match place {
                Place::Ours | Place::Theirs => sys::ggml_backend_cpu_buffer_type(),
                Place::Rearranged => rearranging(weights, output)?,
            })?;
            if sys::ggml_nbytes(weights) != sample.bytes.len() {
                return None;
            }
            let bytes = sample.bytes.as_ptr().cast::<c_void>();
            sys::ggml_backend_tensor_set(weights, bytes, 0, sample.bytes.len());
            let numbers = activations.as_ptr().cast::<c_void>();
            sys::ggml_backend_tensor_set(right, numbers, 0, size_of_val(activations));
            match place {
                Place::Ours => (*weights).extra = hook::mark(true),
                Place::Theirs => (*weights).extra = hook::mark(false),
                Place::Rearranged => {}
            }
            Some(Self {
                graph: Graph::new(graph, NonNull::new(output)?),
                weights_room,
                _others: others,
            })
        }
    }
}

/// The first kind of memory for rearranged weights that takes these, for this product.
///
/// # Safety
/// Both are valid tensors, and the first is a source of the second.
unsafe fn rearranging(
    weights: *mut sys::ggml_tensor,
    product: *const sys::ggml_tensor,
) -> Option<sys::ggml_backend_buffer_type_t> {
    // SAFETY: the caller's promise; ggml gives the list's address by its name, and the list ends with a null pointer. An empty buffer is
    // enough to ask whether a type takes weights: llama.cpp asks in this way, too.
    unsafe {
        let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
        let list = sys::ggml_backend_reg_get_proc_address(
            sys::ggml_backend_dev_backend_reg(device),
            c"ggml_backend_dev_get_extra_bufts".as_ptr(),
        );
        let list =
            std::mem::transmute::<*mut c_void, sys::ggml_backend_dev_get_extra_bufts_t>(list);
        let mut next = list?(device);
        while !next.is_null() && !(*next).is_null() {
            let kind = *next;
            let empty = sys::ggml_backend_buft_alloc_buffer(kind, 0);
            (*weights).buffer = empty;
            let takes = sys::ggml_backend_dev_supports_op(device, product);
            (*weights).buffer = std::ptr::null_mut();
            sys::ggml_backend_buffer_free(empty);
            if takes {
                return Some(kind);
            }
            next = next.add(1);
        }
    }
    None
}

#[cfg(test)]
mod verdicts {
    use super::*;

    #[test]
    fn only_a_clear_gain_without_a_loss_anywhere_is_taken() {
        let check = |times: [f64; 3], expected: bool| {
            let is_taken = matches!(verdict(times.map(f64::recip)), Verdict::Use(_));
            assert_eq!(is_taken, expected, "{times:?}");
        };
        check([1.3, 1.1, 2.0], true);
        check([1.1, 0.95, 2.0], true);
        check([1.0, 1.5, 3.0], true);
        check([0.92, 1.5, 3.0], false);
        check([1.0, 1.05, 1.05], false);
        check([0.8, 1.5, 3.0], false);
        check([1.2, 0.7, 1.6], false);
        check([f64::NAN, 1.5, 3.0], false);
    }
}

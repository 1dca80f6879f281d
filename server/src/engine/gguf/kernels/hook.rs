//! Our kernels in llama.cpp's threads.
//!
//! ggml's CPU backend asks each of its "extra buffer types" for kernels of every operation before it uses its own; `hook.cpp`
//! adds one of ours. A product is taken if its weights lie in ordinary memory (read or mapped, not rearranged for other kernels) in a
//! form that there are kernels for. So the graph is not split, no thread waits more often than it did, and weights lie in memory once.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::sync::OnceLock;

use llama_cpp_sys_2 as sys;

use super::{Format, Kernels, Plan};

/// What a thread is given by ggml's CPU backend: `ggml_compute_params` of `ggml-cpu-impl.h`.
#[repr(C)]
struct Params {
    thread: c_int,
    threads: c_int,
    work_bytes: usize,
    work: *mut c_void,
    pool: *mut c_void,
    use_reference: bool,
}

unsafe extern "C" {
    fn chaski_kernels_register() -> bool;
    fn ggml_barrier(pool: *mut c_void);
    fn ggml_threadpool_chunk_set(pool: *mut c_void, value: c_int);
    fn ggml_threadpool_chunk_add(pool: *mut c_void, value: c_int) -> c_int;
}

/// Alignment of the working memory, which ggml does not promise.
const ALIGNMENT: usize = 64;

/// Shares of a product that a thread should get, so that one that is held up does not hold up all.
const SHARES: usize = 8;

thread_local! {
    /// The kernels in use for graphs that this thread computes, with whatever threads: see [`number`].
    static IN_USE: Cell<u8> = const { Cell::new(0) };
}

/// What marks weights of a trial: to be computed with the best kernels, or by llama.cpp, whatever is in use. Only the addresses count.
static MARKS: [u8; 2] = [0, 1];

/// Which of a product's parameters says who computes it. ggml uses the first two of a product's sixteen.
const TAG: usize = 15;

const CHOICES: [Kernels; 4] = [
    Kernels::Portable,
    Kernels::Avx2,
    Kernels::Avx512,
    Kernels::Amx,
];

/// Offers the kernels to llama.cpp; they are not used before [`InUse::new`]. Says whether that was possible. It is called first where llama.cpp is
/// started, before anything computes.
pub fn register() -> bool {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    // SAFETY: it runs once, and nothing computes yet.
    *REGISTERED.get_or_init(|| unsafe { chaski_kernels_register() })
}

/// While it lives, these kernels are used, or llama.cpp's, in what its thread computes: a model is loaded and computed with by one.
#[derive(Debug)]
pub struct InUse {
    before: u8,
    /// It is of its thread.
    _thread: PhantomData<*const ()>,
}

impl InUse {
    pub fn new(kernels: Option<Kernels>) -> Self {
        Self {
            before: IN_USE.replace(number(kernels)),
            _thread: PhantomData,
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        IN_USE.set(self.before);
    }
}

/// 0 for llama.cpp's kernels, else one more than the place in [`CHOICES`].
fn number(kernels: Option<Kernels>) -> u8 {
    kernels.map_or(0, |kernels| {
        let place = CHOICES.iter().position(|&choice| choice == kernels);
        place.expect("all are among them") as u8 + 1
    })
}

/// The mark of weights that are to be computed with the best kernels, or by llama.cpp.
pub fn mark(ours: bool) -> *mut c_void {
    (&raw const MARKS[usize::from(ours)]).cast_mut().cast()
}

/// Who is to compute a product with these weights.
fn wanted(weights: &sys::ggml_tensor) -> u8 {
    if weights.extra == mark(true) {
        number(Kernels::all().next())
    } else if weights.extra.is_null() {
        IN_USE.get()
    } else {
        0
    }
}

/// The form of ggml's type.
pub fn format(kind: sys::ggml_type) -> Option<Format> {
    match kind {
        sys::GGML_TYPE_Q4_0 => Some(Format::Q4_0),
        sys::GGML_TYPE_Q8_0 => Some(Format::Q8_0),
        sys::GGML_TYPE_Q4_K => Some(Format::Q4_K),
        sys::GGML_TYPE_Q5_K => Some(Format::Q5_K),
        sys::GGML_TYPE_Q6_K => Some(Format::Q6_K),
        _ => None,
    }
}

/// A product that may be ours.
struct Product<'a> {
    format: Format,
    /// Of a row, rows, and columns.
    sizes: [usize; 3],
    weights: &'a sys::ggml_tensor,
    activations: &'a sys::ggml_tensor,
    output: &'a sys::ggml_tensor,
}

impl<'a> Product<'a> {
    /// `None` for what is left to llama.cpp in any case.
    ///
    /// # Safety
    /// `op` is a valid tensor with valid sources, as ggml passes it.
    unsafe fn new(op: *const sys::ggml_tensor) -> Option<Self> {
        // SAFETY: the caller's promise.
        let (output, weights, activations) = unsafe {
            let op = &*op;
            (op, op.src[0].as_ref()?, op.src[1].as_ref()?)
        };
        let format = format(weights.type_)?;
        // A hint about the weights, for which llama.cpp has other means.
        let hinted = output.op_params[1] != 0;
        let plain = is_ordinary(weights)
            && weights.ne[2] == 1
            && weights.ne[3] == 1
            && weights.nb[0] == format.bytes();
        let floats = [activations, output]
            .iter()
            .all(|tensor| tensor.type_ == sys::GGML_TYPE_F32 && is_matrix(tensor));
        if output.op != sys::GGML_OP_MUL_MAT || hinted || !plain || !floats {
            return None;
        }
        let size = |number: i64| usize::try_from(number).ok();
        let columns = size(output.ne[1] * output.ne[2] * output.ne[3])?;
        let sizes = [size(weights.ne[0])?, size(weights.ne[1])?, columns];
        let ours = Self {
            format,
            sizes,
            weights,
            activations,
            output,
        };
        ours.plan(Kernels::Portable).map(|_| ours)
    }

    /// `None` for sizes without a kernel.
    fn plan(&self, kernels: Kernels) -> Option<Plan> {
        let [inputs, outputs, columns] = self.sizes;
        Plan::new(kernels, self.format, inputs, outputs, columns)
            .filter(|plan| self.weights.nb[1] >= plan.row_bytes())
    }

    /// Groups of outputs that a thread takes at a time: an even number.
    fn chunk(plan: &Plan, threads: usize) -> usize {
        let groups = plan.groups() / (threads * SHARES);
        groups.clamp(1, 16).next_multiple_of(2)
    }
}

/// Whether a tensor lies in memory that the processor reads as it is, in ggml's own layout.
fn is_ordinary(tensor: &sys::ggml_tensor) -> bool {
    if tensor.buffer.is_null() || tensor.data.is_null() {
        return false;
    }
    // SAFETY: a tensor's buffer lives as long as the tensor, and has a type.
    unsafe { sys::ggml_backend_buft_is_host(sys::ggml_backend_buffer_get_type(tensor.buffer)) }
}

/// Whether a tensor of floats is one matrix, whose columns lie at equal distances.
fn is_matrix(tensor: &sys::ggml_tensor) -> bool {
    let flat = tensor.ne[2] == 1 && tensor.ne[3] == 1;
    let rows = tensor.nb[1] * usize::try_from(tensor.ne[1]).unwrap_or(0);
    let stacked =
        tensor.nb[2] == rows && tensor.nb[3] == rows * usize::try_from(tensor.ne[2]).unwrap_or(0);
    tensor.nb[0] == size_of::<f32>()
        && tensor.nb[1].is_multiple_of(size_of::<f32>())
        && (flat || stacked)
}

/// Whether the product may be ours.
///
/// # Safety
/// `op` is a valid tensor.
#[unsafe(no_mangle)]
unsafe extern "C" fn chaski_kernels_claim(op: *const sys::ggml_tensor) -> bool {
    // SAFETY: passed on.
    unsafe { Product::new(op) }.is_some()
}

/// Says whether a product is ours, and then what working memory it needs, in bytes. ggml asks on one thread each time before it
/// computes a graph; the answer is noted in `op`, so that all threads go by it.
///
/// # Safety
/// As above, and nobody else uses `op` meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn chaski_kernels_work_size(
    threads: c_int,
    op: *mut sys::ggml_tensor,
    bytes: *mut usize,
) -> bool {
    let threads = usize::try_from(threads).unwrap_or(1).max(1);
    // SAFETY: passed on; the size is written to the caller's variable.
    unsafe {
        let ours = Product::new(op);
        let number = ours.as_ref().map_or(0, |ours| wanted(ours.weights));
        (*op).op_params[TAG] = i32::from(number);
        let plan = ours.and_then(|ours| ours.plan(kernels(number)?));
        if let Some(plan) = plan {
            *bytes = plan.work_bytes(threads) + ALIGNMENT;
        }
        plan.is_some()
    }
}

/// The kernels of a [`number`].
fn kernels(number: u8) -> Option<Kernels> {
    let place = usize::from(number).checked_sub(1)?;
    CHOICES.get(place).copied()
}

/// A thread's part of a product. False if it is not ours: then it is llama.cpp's.
///
/// # Safety
/// As above; `params` are those of ggml, and every thread of its pool calls this with the same `op`.
#[unsafe(no_mangle)]
unsafe extern "C" fn chaski_kernels_compute(
    params: *const Params,
    op: *const sys::ggml_tensor,
) -> bool {
    // SAFETY: passed on.
    let (params, ours) = unsafe { (&*params, Product::new(op)) };
    let Some(ours) = ours else {
        return false;
    };
    let number = u8::try_from(ours.output.op_params[TAG]).unwrap_or(0);
    let Some(plan) = kernels(number).and_then(|kernels| ours.plan(kernels)) else {
        return false;
    };
    let (Ok(thread), Ok(threads)) = (
        usize::try_from(params.thread),
        usize::try_from(params.threads),
    ) else {
        return false;
    };
    if params.use_reference || params.work_bytes < plan.work_bytes(threads) + ALIGNMENT {
        return false;
    }
    let work = params.work.cast::<u8>();
    let stride = |tensor: &sys::ggml_tensor| tensor.nb[1] / size_of::<f32>();
    // SAFETY: ggml gives all threads one working memory of the size asked for, and the tensors have the sizes that the plan was
    // made of. Each thread prepares its own share, waits for the others at the barrier, and then computes groups that no other does.
    unsafe {
        let work = work.add(work.align_offset(ALIGNMENT));
        let activations = ours.activations.data.cast::<f32>();
        plan.prepare(activations, stride(ours.activations), work, thread, threads);
        let weights = (
            ours.weights.data.cast::<u8>().cast_const(),
            ours.weights.nb[1],
        );
        let chunk = Product::chunk(&plan, threads);
        // The others may not be there yet; memory is.
        plan.ask_for(weights, thread * chunk);
        if thread == 0 {
            ggml_threadpool_chunk_set(params.pool, params.threads);
        }
        ggml_barrier(params.pool);
        let output = (ours.output.data.cast::<f32>(), stride(ours.output));
        let mut now = thread;
        while now * chunk < plan.groups() {
            // It is taken before it is due, so that its weights, and no others, can be on their way.
            let next = usize::try_from(ggml_threadpool_chunk_add(params.pool, 1))
                .expect("it counts up from the number of threads");
            let groups = now * chunk..((now + 1) * chunk).min(plan.groups());
            plan.multiply(weights, work, output, groups, Some(next * chunk), thread);
            now = next;
        }
    }
    true
}

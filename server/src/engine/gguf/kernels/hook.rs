//! Our kernels in llama.cpp's threads.
//!
//! ggml's CPU backend asks each of its "extra buffer types" for kernels of every operation before it uses its own; `hook.cpp`
//! adds one of ours. A product is taken if its weights lie in ordinary memory (read or mapped, not rearranged for other kernels) in a
//! form that there are kernels for; attention if it is stated as one operation ("flash attention"). So the graph is not split, no thread
//! waits more often than it did, and weights lie in memory once.

mod attention;

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::sync::OnceLock;

use llama_cpp_sys_2 as sys;

use self::attention::Operation;
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
    fn chaski_kernels_barrier(pool: *mut c_void);
    fn chaski_kernels_chunk_set(pool: *mut c_void, value: c_int);
    fn chaski_kernels_chunk_add(pool: *mut c_void, value: c_int) -> c_int;
}

/// Alignment of the working memory, which ggml does not promise.
const ALIGNMENT: usize = 64;

/// Shares of a product that a thread should get, so that one that is held up does not hold up all.
const SHARES: usize = 8;

thread_local! {
    /// The kernels in use for graphs that this thread computes, with whatever threads.
    static IN_USE: Cell<Used> = const { Cell::new(Used::NONE) };
}

/// Which kernels of ours are used; `None` for llama.cpp's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Used {
    pub products: Option<Kernels>,
    pub attention: Option<Kernels>,
}

impl Used {
    pub const NONE: Self = Self {
        products: None,
        attention: None,
    };
}

/// What marks weights of a trial: to be computed with the best kernels, or by llama.cpp, whatever is in use. Only the addresses count.
static MARKS: [u8; 2] = [0, 1];

/// Which of an operation's parameters says who computes it. ggml uses the first two of a product's sixteen, and five of attention's.
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
    before: Used,
    /// It is of its thread.
    _thread: PhantomData<*const ()>,
}

impl InUse {
    pub fn new(used: Used) -> Self {
        Self {
            before: IN_USE.replace(used),
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

/// Who is to compute an operation, if it may be ours: `marked` is what may bear a mark.
fn wanted(marked: &sys::ggml_tensor, of: impl Fn(Used) -> Option<Kernels>) -> Option<Kernels> {
    if marked.extra == mark(true) {
        Kernels::all().next()
    } else if marked.extra.is_null() {
        of(IN_USE.get())
    } else {
        None
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

    /// A thread's part. False if there is no kernel for its sizes, or the working memory is not what was asked for.
    ///
    /// # Safety
    /// The product is as it was made, and every thread of the team calls this.
    unsafe fn compute(&self, kernels: Kernels, team: &Team) -> bool {
        let Some(plan) = self.plan(kernels) else {
            return false;
        };
        let &Team {
            thread, threads, ..
        } = team;
        if team.work_bytes < plan.work_bytes(threads) + ALIGNMENT {
            return false;
        }
        let stride = |tensor: &sys::ggml_tensor| tensor.nb[1] / size_of::<f32>();
        // SAFETY: ggml gives all threads one working memory of the size asked for, and the tensors have the sizes that the plan was
        // made of. Each thread prepares its own share, waits for the others at the barrier, and then computes groups that no other does.
        unsafe {
            let work = team.work.add(team.work.align_offset(ALIGNMENT));
            let activations = self.activations.data.cast::<f32>();
            plan.prepare(activations, stride(self.activations), work, thread, threads);
            let bytes = self.weights.data.cast::<u8>().cast_const();
            let weights = (bytes, self.weights.nb[1]);
            let chunk = Self::chunk(&plan, threads);
            // The others may not be there yet; memory is.
            plan.ask_for(weights, thread * chunk);
            team.count_from_threads();
            team.meet();
            let output = (self.output.data.cast::<f32>(), stride(self.output));
            let mut now = thread;
            while now * chunk < plan.groups() {
                // It is taken before it is due, so that its weights, and no others, can be on their way.
                let next = team.next();
                let groups = now * chunk..((now + 1) * chunk).min(plan.groups());
                plan.multiply(weights, work, output, groups, Some(next * chunk), thread);
                now = next;
            }
        }
        true
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

/// An operation that may be ours.
enum Operand<'a> {
    Product(Product<'a>),
    Attention(Operation),
}

impl Operand<'_> {
    /// `None` for what is left to llama.cpp in any case.
    ///
    /// # Safety
    /// `op` is a valid tensor with valid sources, as ggml passes it.
    unsafe fn new(op: *const sys::ggml_tensor) -> Option<Self> {
        // SAFETY: passed on.
        unsafe {
            match (*op).op {
                sys::GGML_OP_MUL_MAT => Product::new(op).map(Self::Product),
                sys::GGML_OP_FLASH_ATTN_EXT => Operation::new(op).map(Self::Attention),
                _ => None,
            }
        }
    }

    /// The kernels that are to compute it, if they are ours.
    ///
    /// # Safety
    /// As above, with the same `op`.
    unsafe fn wanted(&self, op: *const sys::ggml_tensor) -> Option<Kernels> {
        // SAFETY: it was made of `op`, so the source is there.
        let source = |n: usize| unsafe { &*(*op).src[n] };
        match self {
            Self::Product(_) => wanted(source(0), |used| used.products),
            Self::Attention(_) => wanted(source(1), |used| used.attention),
        }
    }

    /// Bytes of working memory; `None` without a kernel for its sizes.
    fn work_bytes(&self, kernels: Kernels, threads: usize) -> Option<usize> {
        match self {
            Self::Product(product) => {
                let plan = product.plan(kernels)?;
                Some(plan.work_bytes(threads) + ALIGNMENT)
            }
            Self::Attention(operation) => Some(operation.work_bytes(threads)),
        }
    }
}

/// Whether the operation may be ours.
///
/// # Safety
/// `op` is a valid tensor.
#[unsafe(no_mangle)]
unsafe extern "C" fn chaski_kernels_claim(op: *const sys::ggml_tensor) -> bool {
    // SAFETY: passed on.
    unsafe { Operand::new(op) }.is_some()
}

/// Says whether an operation is ours, and then what working memory it needs, in bytes. ggml asks on one thread each time before it
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
        let ours = Operand::new(op);
        let kernels = ours.as_ref().and_then(|ours| ours.wanted(op));
        (*op).op_params[TAG] = i32::from(number(kernels));
        let needed = ours.and_then(|ours| ours.work_bytes(kernels?, threads));
        if let Some(needed) = needed {
            *bytes = needed;
        }
        needed.is_some()
    }
}

/// The kernels of a [`number`].
fn kernels(number: u8) -> Option<Kernels> {
    let place = usize::from(number).checked_sub(1)?;
    CHOICES.get(place).copied()
}

/// A thread of those that compute an operation together.
struct Team {
    thread: usize,
    threads: usize,
    work: *mut u8,
    work_bytes: usize,
    pool: *mut c_void,
}

impl Team {
    fn new(params: &Params) -> Option<Self> {
        Some(Self {
            thread: usize::try_from(params.thread).ok()?,
            threads: usize::try_from(params.threads).ok()?,
            work: params.work.cast(),
            work_bytes: params.work_bytes,
            pool: params.pool,
        })
    }

    /// Waits for the others.
    ///
    /// # Safety
    /// All threads call it equally often.
    unsafe fn meet(&self) {
        // SAFETY: the pool is the one that ggml gave, and the caller's promise.
        unsafe { chaski_kernels_barrier(self.pool) };
    }

    /// Has [`Team::next`] count from the number of threads on.
    ///
    /// # Safety
    /// All threads call it before they meet.
    unsafe fn count_from_threads(&self) {
        if self.thread == 0 {
            let threads = c_int::try_from(self.threads).expect("ggml counts them so");
            // SAFETY: the pool is the one that ggml gave.
            unsafe { chaski_kernels_chunk_set(self.pool, threads) };
        }
    }

    /// A number that no other thread gets.
    ///
    /// # Safety
    /// All threads have met after [`Team::count_from_threads`].
    unsafe fn next(&self) -> usize {
        // SAFETY: as above.
        let next = unsafe { chaski_kernels_chunk_add(self.pool, 1) };
        usize::try_from(next).expect("it counts up from the number of threads")
    }
}

/// A thread's part of an operation. False if it is not ours: then it is llama.cpp's.
///
/// # Safety
/// As above; `params` are those of ggml, and every thread of its pool calls this with the same `op`.
#[unsafe(no_mangle)]
unsafe extern "C" fn chaski_kernels_compute(
    params: *const Params,
    op: *const sys::ggml_tensor,
) -> bool {
    // SAFETY: passed on.
    unsafe {
        let tag = u8::try_from((*op).op_params[TAG]).unwrap_or(0);
        let (Some(kernels), Some(team)) = (kernels(tag), Team::new(&*params)) else {
            return false;
        };
        if (*params).use_reference {
            return false;
        }
        match Operand::new(op) {
            Some(Operand::Product(product)) => product.compute(kernels, &team),
            Some(Operand::Attention(operation)) => operation.compute(kernels, &team),
            None => false,
        }
    }
}

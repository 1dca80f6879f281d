//! Memory that llama.cpp clears. It makes the key-value cache of all tokens a context can ever hold and writes zeros to it,
//! which takes the memory at once. Here such a buffer becomes zero by being given back to the system: anonymous memory
//! reads as zeros until it is written, and takes room from then on.
//!
//! ggml has no setting for it, but an interface of functions for every kind of buffer, which is what the backends outside
//! of its own tree implement (`ggml-backend-impl.h`, whose layout is repeated here as far as it is used). Two functions of
//! the buffers in main memory are replaced once, before the first is made. Whether the layout is still that of the pinned
//! version is looked at before anything is written; if it is not, everything stays as llama.cpp has it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_char, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_sys_2 as sys;
use rustix::mm::{Advice, madvise};

/// Smaller buffers are left as they are.
const LEAST_BYTES: usize = 64 << 10;

type BufferType = sys::ggml_backend_buffer_type_t;
type Buffer = sys::ggml_backend_buffer_t;
type Allocate = unsafe extern "C" fn(BufferType, usize) -> Buffer;
type Free = unsafe extern "C" fn(Buffer);
type Clear = unsafe extern "C" fn(Buffer, u8);

/// The beginning of `ggml_backend_buffer_type`.
#[repr(C)]
struct BufferTypeHead {
    get_name: Option<unsafe extern "C" fn(BufferType) -> *const c_char>,
    alloc_buffer: Option<Allocate>,
}

/// `ggml_backend_buffer` up to its size.
#[repr(C)]
struct BufferHead {
    free_buffer: Option<Free>,
    get_base: Option<unsafe extern "C" fn(Buffer) -> *mut c_void>,
    /// `init_tensor`, `memset_tensor`, `set_tensor`, `get_tensor`, `set_tensor_2d`, `get_tensor_2d`, `cpy_tensor`.
    others: [*const c_void; 7],
    clear: Option<Clear>,
    reset: *const c_void,
    buffer_type: BufferType,
    context: *mut c_void,
    size: usize,
}

/// What the buffers in main memory did before.
#[derive(Clone, Copy, Debug)]
struct Original {
    allocate: Allocate,
    free: Free,
}

static ORIGINAL: OnceLock<Option<Original>> = OnceLock::new();

/// Buffers in main memory that are alive: by the address of their description, where they lie.
static ALIVE: Mutex<Option<HashMap<usize, Range>>> = Mutex::new(None);

thread_local! {
    /// What this thread has made since it last asked.
    static MADE: RefCell<Vec<Made>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy, Debug)]
struct Range {
    start: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Made {
    buffer: usize,
    bytes: usize,
    is_cleared: bool,
}

/// The buffers of a context.
#[derive(Debug, Default)]
pub(in crate::engine::gguf) struct Buffers {
    /// The key-value cache, by the addresses of the descriptions.
    cache: Vec<usize>,
    /// Bytes of it.
    pub(in crate::engine::gguf) cache_bytes: u64,
    /// Bytes of the others: what a step computes, and its results.
    pub(in crate::engine::gguf) compute_bytes: u64,
}

impl Buffers {
    /// Gives the memory of the cache back. Whoever asks knows that nothing is in it that is still wanted: it reads as zeros
    /// from here on, as it did at first.
    pub(in crate::engine::gguf) fn release(&mut self) {
        let alive = alive();
        for range in (self.cache.iter()).filter_map(|buffer| alive.as_ref()?.get(buffer)) {
            // SAFETY: the buffer is alive, as nobody can free it while the table is locked; that its content may go is
            // the caller's word, and `&mut self` that no step is being computed.
            unsafe { zero(*range) };
        }
    }
}

/// Replaces the functions. To be called before a model is loaded.
pub(in crate::engine::gguf) fn install(_initialised: &LlamaBackend) {
    ORIGINAL.get_or_init(|| {
        let original = replace();
        if original.is_none() {
            tracing::warn!(
                "llama.cpp's buffers are not as expected: caches take all of their memory at once"
            );
        }
        original
    });
}

fn replace() -> Option<Original> {
    // SAFETY: takes no argument and returns a pointer to a static.
    let kind = unsafe { sys::ggml_backend_cpu_buffer_type() };
    let head = kind.cast::<BufferTypeHead>();
    // SAFETY: every version of the structure begins with these two pointers, or `is_known` says so below.
    let (name, allocate) = unsafe { ((*head).get_name?, (*head).alloc_buffer?) };
    // SAFETY: what lies there is called only if it is where ggml's own function finds the name too, by comparing results:
    // both are functions of the buffer type.
    let named = unsafe { name(kind) == sys::ggml_backend_buft_name(kind) };
    // SAFETY: a buffer of a page, freed again below.
    let trial = unsafe { sys::ggml_backend_buft_alloc_buffer(kind, LEAST_BYTES) };
    if !named || trial.is_null() {
        return None;
    }
    // SAFETY: `trial` is a buffer, and what its head says is compared with what ggml's own functions say of it.
    let free = unsafe {
        let buffer = &*trial.cast::<BufferHead>();
        let known = buffer.size == sys::ggml_backend_buffer_get_size(trial)
            && buffer.context == sys::ggml_backend_buffer_get_base(trial)
            && buffer.buffer_type == kind
            && buffer.clear.is_some();
        let free = buffer.free_buffer.filter(|_| known);
        sys::ggml_backend_buffer_free(trial);
        free?
    };
    *alive() = Some(HashMap::new());
    // SAFETY: the structure is a static that nothing else writes to, nor reads at this moment: no model is loaded yet.
    unsafe { (*head).alloc_buffer = Some(make) };
    Some(Original { allocate, free })
}

/// Runs `make_context` and returns its result with the buffers that it made. `outputs_bytes` is the size of the one for
/// results, which llama.cpp clears too.
pub(in crate::engine::gguf) fn of_context<T>(
    outputs_bytes: usize,
    make_context: impl FnOnce() -> T,
) -> (T, Buffers) {
    MADE.take();
    let made = make_context();
    let mut buffers = Buffers::default();
    for buffer in MADE.take() {
        let still_there =
            (alive().as_ref()).is_some_and(|alive| alive.contains_key(&buffer.buffer));
        if !still_there {
            continue;
        }
        if buffer.is_cleared && buffer.bytes != outputs_bytes {
            buffers.cache.push(buffer.buffer);
            buffers.cache_bytes += buffer.bytes as u64;
        } else {
            buffers.compute_bytes += buffer.bytes as u64;
        }
    }
    (made, buffers)
}

fn alive() -> MutexGuard<'static, Option<HashMap<usize, Range>>> {
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn original() -> Original {
    (ORIGINAL.get().copied().flatten()).expect("nothing calls this before it is put in place")
}

unsafe extern "C" fn make(kind: BufferType, size: usize) -> Buffer {
    // SAFETY: called as the function that it stands for.
    let buffer = unsafe { (original().allocate)(kind, size) };
    if buffer.is_null() || size < LEAST_BYTES {
        return buffer;
    }
    // SAFETY: a buffer of the kind that was looked at in `replace`, which nobody else knows yet.
    let head = unsafe { &mut *buffer.cast::<BufferHead>() };
    head.clear = Some(clear);
    head.free_buffer = Some(free);
    let (start, bytes) = (head.context as usize, head.size);
    if let Some(alive) = &mut *alive() {
        alive.insert(buffer as usize, Range { start, bytes });
    }
    MADE.with_borrow_mut(|made| {
        made.push(Made {
            buffer: buffer as usize,
            bytes,
            is_cleared: false,
        });
    });
    buffer
}

unsafe extern "C" fn free(buffer: Buffer) {
    if let Some(alive) = &mut *alive() {
        alive.remove(&(buffer as usize));
    }
    // SAFETY: called as the function that it stands for.
    unsafe { (original().free)(buffer) };
}

unsafe extern "C" fn clear(buffer: Buffer, value: u8) {
    // SAFETY: a live buffer that `make` made.
    let head = unsafe { &*buffer.cast::<BufferHead>() };
    if value != 0 {
        // SAFETY: what the function that it stands for does.
        unsafe { head.context.cast::<u8>().write_bytes(value, head.size) };
        return;
    }
    MADE.with_borrow_mut(|made| {
        for made in made
            .iter_mut()
            .filter(|made| made.buffer == buffer as usize)
        {
            made.is_cleared = true;
        }
    });
    let range = Range {
        start: head.context as usize,
        bytes: head.size,
    };
    // SAFETY: the buffer's memory, of which ggml wants every byte to be zero.
    unsafe { zero(range) };
}

/// Makes memory read as zeros without taking any.
///
/// # Safety
/// The range is memory of malloc's that nobody else uses at this moment.
unsafe fn zero(range: Range) {
    let page = usize::try_from(procfs::page_size()).expect("a page is a few thousand bytes");
    let end = range.start + range.bytes;
    let (first, last) = (range.start.next_multiple_of(page), end / page * page);
    let whole = last.saturating_sub(first);
    // Whole pages of private anonymous memory, which is what malloc has. Not huge ones: a token would take one of 2 MiB in
    // each layer.
    let pages = std::ptr::with_exposed_provenance_mut::<c_void>(first);
    // SAFETY: the pages lie within the range.
    let released = whole > 0
        && unsafe {
            let _ = madvise(pages, whole, Advice::LinuxNoHugepage);
            madvise(pages, whole, Advice::LinuxDontNeed).is_ok()
        };
    let edges = match released {
        true => [(range.start, first), (last, end)],
        false => [(range.start, end), (end, end)],
    };
    for (from, to) in edges {
        // SAFETY: within the range.
        unsafe {
            std::ptr::with_exposed_provenance_mut::<u8>(from).write_bytes(0, to - from);
        }
    }
}

#[cfg(test)]
mod tests {
    use procfs::process::{PageInfo, Process};

    use super::*;
    use crate::engine::gguf::load;

    /// Pages of a range that take memory.
    fn present(range: Range) -> usize {
        let page = usize::try_from(procfs::page_size()).unwrap();
        let pages = range.start.div_ceil(page)..(range.start + range.bytes) / page;
        let mut map = Process::myself().unwrap().pagemap().unwrap();
        let is_present = |info: &PageInfo| match info {
            PageInfo::MemoryPage(flags) => {
                flags.contains(procfs::process::MemoryPageFlags::PRESENT)
            }
            PageInfo::SwapPage(_) => true,
        };
        (map.get_range_info(pages).unwrap().iter())
            .filter(|info| is_present(info))
            .count()
    }

    #[test]
    fn a_cleared_buffer_is_zero_and_takes_no_memory() {
        load::backend();
        const BYTES: usize = 8 << 20;
        // SAFETY: a buffer of its own, whose bytes are touched only while it is there.
        unsafe {
            let kind = sys::ggml_backend_cpu_buffer_type();
            let (buffer, made) = of_context(0, || sys::ggml_backend_buft_alloc_buffer(kind, BYTES));
            // Until it is cleared it is none of the cache.
            assert_eq!((made.cache_bytes, made.compute_bytes), (0, BYTES as u64));
            let base = sys::ggml_backend_buffer_get_base(buffer).cast::<u8>();
            let range = Range {
                start: base as usize,
                bytes: BYTES,
            };
            for value in [7, 0, 9, 0] {
                sys::ggml_backend_buffer_clear(buffer, value);
                let full = present(range) > BYTES / 4096 / 2;
                assert_eq!(full, value != 0);
                let bytes = std::slice::from_raw_parts(base, BYTES);
                assert!(bytes.iter().all(|byte| *byte == value));
            }
            sys::ggml_backend_buffer_free(buffer);
        }
    }
}

//! Threads that stay. Without any llama.cpp starts some for every step and waits for their end, which takes a while on an idle
//! machine and half of the speed on a busy one: each new thread has to find a processor again.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

/// How long a thread looks for work before it sleeps, in llama.cpp's unit of 131,072 pauses of a processor: a few milliseconds.
/// The next step of a stream comes sooner; when nobody asks for anything, no processor is kept busy.
const PATIENCE: u32 = 1;

type New = unsafe extern "C" fn(*mut sys::ggml_threadpool_params) -> *mut sys::ggml_threadpool;
type Free = unsafe extern "C" fn(*mut sys::ggml_threadpool);

/// See the module. The thread that asks for a computation is one of them.
pub(super) struct Threads {
    pool: NonNull<sys::ggml_threadpool>,
    free: Free,
}

impl Threads {
    /// So many, which sleep. `None` where the system has none left.
    pub(super) fn start(count: i32) -> Option<Self> {
        // SAFETY: these are the types that ggml's CPU backend documents for these names.
        let new = unsafe {
            std::mem::transmute::<NonNull<c_void>, New>(function(c"ggml_threadpool_new")?)
        };
        // SAFETY: as above.
        let free = unsafe {
            std::mem::transmute::<NonNull<c_void>, Free>(function(c"ggml_threadpool_free")?)
        };
        // SAFETY: takes a number and returns plain data.
        let mut params = unsafe { sys::ggml_threadpool_params_default(count) };
        params.poll = PATIENCE;
        // SAFETY: `params` is valid and only read.
        let pool = NonNull::new(unsafe { new(&raw mut params) })?;
        Some(Self { pool, free })
    }

    /// Has a context compute with them from now on.
    ///
    /// # Safety
    /// The context must not compute anything after these are dropped.
    pub(super) unsafe fn attach(&self, context: NonNull<sys::llama_context>) {
        // SAFETY: both are alive; the second pool may be null, and is the first then.
        unsafe {
            sys::llama_attach_threadpool(
                context.as_ptr(),
                self.pool.as_ptr(),
                std::ptr::null_mut(),
            );
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // SAFETY: it was made by the function's counterpart, and nobody else frees it.
        unsafe { (self.free)(self.pool.as_ptr()) };
    }
}

/// A function of the CPU backend, which may be a library that was opened at run time.
fn function(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the backends are registered before the first model is loaded, and the name ends with a zero byte.
    unsafe {
        let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
        if device.is_null() {
            return None;
        }
        let registry = sys::ggml_backend_dev_backend_reg(device);
        NonNull::new(sys::ggml_backend_reg_get_proc_address(
            registry,
            name.as_ptr(),
        ))
    }
}

//! Where a context's memory lies: in the machine, or on graphics processors. `breakdown.cpp` asks llama.cpp.

use llama_cpp_sys_2 as sys;

/// What the memory of one place is for, in bytes. The layout is that of `chaski_parts`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::engine::gguf) struct Parts {
    /// Weights of the model, those of other contexts included.
    pub(in crate::engine::gguf) weights: u64,
    /// The key-value cache of all the tokens that it can hold.
    pub(in crate::engine::gguf) cache: u64,
    /// What a step needs while it is computed.
    pub(in crate::engine::gguf) compute: u64,
}

impl Parts {
    /// All of it.
    pub(in crate::engine::gguf) fn total(&self) -> u64 {
        self.weights + self.cache + self.compute
    }
}

/// What llama.cpp counts, by place.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::engine::gguf) struct Breakdown {
    /// In the machine's memory. Of the cache that is what it was made for: see [`super::buffers`].
    pub(in crate::engine::gguf) machine: Parts,
    /// On graphics processors.
    pub(in crate::engine::gguf) devices: Parts,
}

unsafe extern "C" {
    fn chaski_memory_breakdown(
        context: *const sys::llama_context,
        machine: *mut Parts,
        devices: *mut Parts,
    );
}

/// Of a context and its model.
///
/// # Safety
/// The context is alive.
pub(super) unsafe fn of(context: *const sys::llama_context) -> Breakdown {
    let mut found = Breakdown::default();
    // SAFETY: the context is alive, says the caller, and both results are written to before the call returns.
    unsafe { chaski_memory_breakdown(context, &raw mut found.machine, &raw mut found.devices) };
    found
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::path::Path;

    use super::*;
    use crate::engine::gguf::ffi::context::{Context, ContextSpec};
    use crate::engine::gguf::{CacheType, Preference, ffi, load};

    #[test]
    fn llama_cpp_counts_as_is_counted_here_and_nothing_lies_on_devices_that_none_asked_for() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny/tiny.gguf");
        let backend = load::backend();
        let weights = load::weights(backend, &file, None, Some(0), Preference::default()).unwrap();
        let model = load::model(backend, &weights).unwrap();
        let spec = ContextSpec {
            tokens: NonZeroU32::new(4096).unwrap(),
            sequences: 2,
            is_shared: true,
            batch: 64,
            micro_batch: 64,
            outputs: 2,
            threads: 1,
            flash_attention: sys::LLAMA_FLASH_ATTN_TYPE_ENABLED,
            cache_type: CacheType::F16,
        };
        let context = Context::new(backend, &model, spec).unwrap();
        let found = context.breakdown();
        assert_eq!(found.machine.cache, context.buffers().cache_bytes);
        assert!(found.machine.cache > 0);
        assert!(found.machine.weights >= ffi::weights_bytes(&model));
        assert!(found.machine.compute > 0);
        assert_eq!(found.devices, Parts::default());
    }
}

//! Whether AMX, the processor's unit for products of tiles, may be used: what the kernels of both engines ask.
#![expect(unsafe_code, reason = "only a system call tells")]

use std::arch::x86_64::__cpuid_count;
use std::sync::LazyLock;

/// Whether the processor has tiles and products of bytes, and the system lets this process use them. Asked once.
#[must_use]
pub fn are_available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        const TILES_AND_BYTES: u32 = 1 << 24 | 1 << 25;
        let features = __cpuid_count(7, 0);
        features.edx & TILES_AND_BYTES == TILES_AND_BYTES && are_granted()
    });
    *AVAILABLE
}

/// Asks Linux for the tiles' state, which a process has to do once: see "Using XSTATE features in user space applications" in the
/// kernel's documentation.
#[cfg(target_os = "linux")]
fn are_granted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: it takes two numbers and writes to no memory of ours.
    unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        ) == 0
    }
}

#[cfg(not(target_os = "linux"))]
fn are_granted() -> bool {
    false
}

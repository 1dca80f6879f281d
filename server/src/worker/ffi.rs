//! The system calls that no safe crate offers.
#![expect(unsafe_code, reason = "close_range has no safe wrapper")]

use std::io;

/// Closes every descriptor from 3 up: whatever a careless parent of the server left open.
///
/// To be called first thing in a worker's `main`, before anything that owns a descriptor exists.
///
/// # Errors
/// When the kernel does not know the call (before Linux 5.9).
pub fn close_inherited_descriptors() -> io::Result<()> {
    // SAFETY: called before any file, socket or runtime exists in this process, so no owned descriptor is closed under
    // its owner. The call touches no memory.
    let result = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

//! How much of the system a worker may take.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Files that a worker has open at a time: its model's, those of libraries while they load, its socket.
const MOST_DESCRIPTORS: u64 = 256;

/// Beyond what was planned: stacks of threads, arenas of the allocator, buffers of an image or of many texts.
const MEMORY_SLACK: u64 = 2 << 30;

/// Writable memory that a worker may take when `planned` bytes are expected: twice that, and some. It is no plan to be kept but a
/// bound that a malicious file or a leak runs into before the machine does.
#[must_use]
pub fn memory(planned: u64) -> u64 {
    planned.saturating_mul(2).saturating_add(MEMORY_SLACK)
}

/// No core dumps, which would hold prompts of users and fill the disk with weights, and few descriptors.
///
/// # Errors
/// When the kernel refuses, which it does not for lower limits.
pub fn always() -> io::Result<()> {
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, MOST_DESCRIPTORS)
}

/// Bounds the writable memory of this process, in bytes. Mapped weights are not counted: the system may drop their pages.
///
/// # Errors
/// See [`always`].
pub fn bound_memory(bytes: u64) -> io::Result<()> {
    limit(Resource::Data, bytes)
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let before = rustix::process::getrlimit(resource);
    // A limit that is lower already stays: raising it would take privileges.
    let most = before.maximum.map_or(most, |maximum| maximum.min(most));
    setrlimit(
        resource,
        Rlimit {
            current: Some(most),
            maximum: Some(most),
        },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_grows_with_the_plan_and_never_overflows() {
        assert_eq!(memory(0), MEMORY_SLACK);
        assert_eq!(memory(1 << 30), (2 << 30) + MEMORY_SLACK);
        assert_eq!(memory(u64::MAX), u64::MAX);
    }
}

//! The system calls that no safe crate offers.
#![expect(unsafe_code, reason = "they have no safe wrappers")]

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::ptr::NonNull;

use rustix::mm::{Advice, madvise};

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

/// Gives back what starting took and working does not need: memory that the allocator keeps free, and the pages of this program and its libraries
/// that only the start has read. Those that are read again come back from the page cache, some at once, in a microsecond.
///
/// A process that serves an 8-bit encoder of 22 MB gets half as large as its weights beside them; nearly all of what is left of the program was
/// touched while it started.
pub fn settle() {
    // SAFETY: it takes a number, and locks the allocator by itself.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
    // SAFETY: the function keeps to what is asked of such, and wants no data.
    unsafe { libc::dl_iterate_phdr(Some(forget_pages), std::ptr::null_mut()) };
}

/// Lets go of the pages of one loaded object that nobody can have written to.
unsafe extern "C" fn forget_pages(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: the loader hands over an object that it holds on to until this returns.
    let object = unsafe { &*object };
    // SAFETY: the loader keeps a name for each, which is empty for the program itself.
    let name = unsafe { CStr::from_ptr(object.dlpi_name) }.to_bytes();
    // What the kernel provides is no file.
    if object.dlpi_phdr.is_null() || !(name.is_empty() || name.starts_with(b"/")) {
        return 0;
    }
    // SAFETY: so many headers lie there.
    let segments =
        unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    let page = procfs::page_size() as usize;
    for segment in segments {
        if segment.p_type != libc::PT_LOAD || segment.p_flags & libc::PF_W != 0 {
            continue;
        }
        let start = (object.dlpi_addr + segment.p_vaddr) as usize;
        let end = (start + segment.p_filesz as usize).next_multiple_of(page);
        let start = start - start % page;
        let Some(pages) = NonNull::new(std::ptr::with_exposed_provenance_mut::<c_void>(start))
        else {
            continue;
        };
        // SAFETY: the segment is mapped from a file without the right to write, so these pages are what the file holds, and the next
        // access to one reads that again.
        let _ = unsafe { madvise(pages.as_ptr(), end - start, Advice::LinuxDontNeed) };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settled_process_has_less_of_its_program_in_memory_and_goes_on() {
        let of_files = || {
            let status = procfs::process::Process::myself()
                .unwrap()
                .status()
                .unwrap();
            status.rssfile.unwrap()
        };
        let before = of_files();
        settle();
        assert!(of_files() < before, "{} of {before} KiB", of_files());
        // Text, tables and what relocations have made are as they were.
        assert_eq!(format!("{:?}", "grüße".to_uppercase()), "\"GRÜSSE\"");
        assert!(
            std::thread::spawn(|| "a".repeat(1000).len())
                .join()
                .unwrap()
                == 1000
        );
    }
}

//! Files in memory that are read where they lie: shared with every process that reads them, and given up when memory is short.
#![expect(unsafe_code, reason = "no safe crate maps files")]

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags};

/// A file, mapped for reading.
///
/// The files are blobs of the store, which are written once and then only ever removed, as llama.cpp and ONNX Runtime
/// trust as well. A file that someone cuts short meanwhile ends this process at the next read beyond its end, which is why only
/// workers map.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is never written, and it stays until the last owner is gone.
unsafe impl Send for Mapping {}
// SAFETY: likewise.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a whole file.
    ///
    /// # Errors
    /// Those of opening it; [`io::ErrorKind::UnexpectedEof`] for an empty one, which cannot be mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len())
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: the kernel chooses a place that is free, and nothing else knows of it.
        let start = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                &file,
                0,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped there, for as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `open` made, and no borrow of it outlives `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "what was mapped can be unmapped");
    }
}

/// Where memory of our own begins that is read in vectors: at a line of the cache, as sections of files do. A vector that lies across two takes twice as long.
const LINE_BYTES: usize = 64;

/// Signed bytes: of their own, or a part of a mapped file.
#[derive(Debug)]
pub enum SignedBytes {
    /// In memory: this part, which begins at a line of the cache.
    Owned(Vec<i8>, Range<usize>),
    /// In a file.
    Mapped(Arc<Mapping>, Range<usize>),
}

impl SignedBytes {
    /// A part of a file; `None` if it does not have such a part.
    #[must_use]
    pub fn mapped(file: &Arc<Mapping>, range: Range<usize>) -> Option<Self> {
        file.get(range.clone())?;
        Some(Self::Mapped(Arc::clone(file), range))
    }

    /// So many zeros of its own.
    #[must_use]
    pub fn zeros(length: usize) -> Self {
        let bytes = vec![0; length + LINE_BYTES];
        // The vector is never grown, so it stays where it is.
        let start = bytes.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES);
        Self::Owned(bytes, start..start + length)
    }

    /// The bytes, to be changed: `None` for those of a file.
    pub fn own(&mut self) -> Option<&mut [i8]> {
        match self {
            Self::Owned(bytes, range) => Some(&mut bytes[range.clone()]),
            Self::Mapped(..) => None,
        }
    }

    /// The same bytes without their signs, as files hold them.
    #[must_use]
    pub fn as_unsigned(&self) -> &[u8] {
        let bytes: &[i8] = self;
        // SAFETY: the two types have one size and alignment, and every value of one is a value of the other.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
    }
}

impl Default for SignedBytes {
    fn default() -> Self {
        Self::Owned(Vec::new(), 0..0)
    }
}

impl Deref for SignedBytes {
    type Target = [i8];

    fn deref(&self) -> &[i8] {
        match self {
            Self::Owned(bytes, range) => &bytes[range.clone()],
            Self::Mapped(file, range) => {
                let bytes = &file[range.clone()];
                // SAFETY: the two types have one size and alignment, and every value of one is a value of the other.
                unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_where_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [1, 0xff, 3]).unwrap();
        let mapping = Arc::new(Mapping::open(&path).unwrap());
        assert_eq!(mapping[..], [1, 0xff, 3]);
        let part = SignedBytes::mapped(&mapping, 1..3).unwrap();
        // What a part is of stays as long as the part, and a name that is removed does not matter.
        drop(mapping);
        drop(folder);
        assert_eq!(part[..], [-1, 3]);
        assert_eq!(part.as_unsigned(), [0xff, 3]);
    }

    #[test]
    fn bytes_of_our_own_begin_at_a_line() {
        for length in [0, 1, 100, 1 << 20] {
            let mut bytes = SignedBytes::zeros(length);
            assert_eq!(
                (bytes.len(), bytes.as_ptr().addr() % LINE_BYTES),
                (length, 0)
            );
            bytes.own().unwrap().fill(-1);
            assert!(bytes.iter().all(|byte| *byte == -1));
        }
    }

    #[test]
    fn what_is_not_there_is_not_given() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(Mapping::open(&path).is_err());
        std::fs::write(&path, []).unwrap();
        assert!(Mapping::open(&path).is_err());
        std::fs::write(&path, [1]).unwrap();
        let mapping = Arc::new(Mapping::open(&path).unwrap());
        #[expect(clippy::reversed_empty_ranges, reason = "a range from a damaged file")]
        for range in [0..2, 2..2, 1..0] {
            assert!(SignedBytes::mapped(&mapping, range).is_none());
        }
    }
}

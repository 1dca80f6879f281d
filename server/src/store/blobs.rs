//! Blobs: bytes under their own digest.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::lock::Lock;
use super::{Digest, Store, StoreError, durable};

/// A blob being received is `incoming-…-partial`, so that every tool that knows Ollama's partial files knows ours.
pub(super) const PARTIAL_PREFIX: &str = "incoming-";
pub(super) const PARTIAL_SUFFIX: &str = "-partial";

const COPY_BUFFER_BYTES: usize = 1 << 20;

/// A blob that is in the store, flushed to the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blob {
    /// Its name.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Whether it was not in the store before.
    pub is_new: bool,
}

/// Receives a blob piece by piece. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    file: NamedTempFile,
    hasher: Sha256,
    size: u64,
}

/// A file that another process writes, to become a blob. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct Staged {
    store: Store,
    file: NamedTempFile,
}

impl Store {
    /// Whether the blob is here.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        match self.blob_path(digest).metadata() {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("looking for a blob")(error)),
        }
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        durable::open_regular(&self.blob_path(digest)).map_err(|error| blob_error(digest, error))
    }

    /// The whole of a blob that must not be longer than `limit` bytes.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        durable::read_bounded(&self.blob_path(digest), limit)
            .map_err(|error| blob_error(digest, error))
    }

    /// Starts to receive a blob.
    pub fn write_blob(&self) -> Result<BlobWriter, StoreError> {
        let file = durable::temporary(&self.blobs_folder(), PARTIAL_PREFIX, PARTIAL_SUFFIX)
            .map_err(StoreError::io("creating a blob"))?;
        Ok(BlobWriter {
            store: self.clone(),
            file,
            hasher: Sha256::new(),
            size: 0,
        })
    }

    /// A file beside the blobs, for another process to write to.
    pub fn stage(&self) -> Result<Staged, StoreError> {
        let file = durable::temporary(&self.blobs_folder(), PARTIAL_PREFIX, PARTIAL_SUFFIX)
            .map_err(StoreError::io("creating a blob"))?;
        Ok(Staged {
            store: self.clone(),
            file,
        })
    }

    /// Receives all of `reader`, which must hash to `expected` if that is given.
    pub fn import(&self, reader: impl Read, expected: Option<Digest>) -> Result<Blob, StoreError> {
        self.receive(reader)?.finish(expected)
    }

    /// Copies a local regular file into the store.
    pub fn import_file(&self, path: &Path) -> Result<Blob, StoreError> {
        let file =
            durable::open_regular(path).map_err(StoreError::io("opening the file to import"))?;
        self.import(file, None)
    }

    /// As [`Store::import`] for small blobs made while the lock is held; one that is already whole is not rewritten.
    pub(super) fn import_bytes(&self, lock: &Lock, bytes: &[u8]) -> Result<Blob, StoreError> {
        let digest = Digest::of(bytes);
        let size = u64::try_from(bytes.len()).expect("a slice's length fits 64 bits");
        let path = self.blob_path(&digest);
        if path
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
        {
            return Ok(Blob {
                digest,
                size,
                is_new: false,
            });
        }
        self.receive(bytes)?.publish(lock, digest)
    }

    fn receive(&self, mut reader: impl Read) -> Result<BlobWriter, StoreError> {
        let mut writer = self.write_blob()?;
        let mut buffer = vec![0; COPY_BUFFER_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(writer),
                Ok(length) => writer
                    .write_all(&buffer[..length])
                    .map_err(StoreError::io("writing a blob"))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::io("receiving a blob")(error)),
            }
        }
    }
}

impl Staged {
    /// Where to write.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Keeps the file, as it is now, as a blob; it then survives a power loss.
    pub fn finish(self) -> Result<Blob, StoreError> {
        let mut input = self
            .file
            .reopen()
            .map_err(StoreError::io("reading what was made"))?;
        let mut hasher = Sha256::new();
        let mut size = 0;
        let mut piece = vec![0; COPY_BUFFER_BYTES];
        loop {
            match input.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => {
                    hasher.update(&piece[..length]);
                    size += u64::try_from(length).expect("a slice's length fits 64 bits");
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::io("reading what was made")(error)),
            }
        }
        let writer = BlobWriter {
            store: self.store,
            file: self.file,
            hasher,
            size,
        };
        writer.finish(None)
    }
}

impl BlobWriter {
    /// Keeps the blob if its digest is `expected`, or whatever it is if that is `None`.
    ///
    /// When this returns, the blob survives a power loss. One that was there is replaced: whoever sends a blob again
    /// thereby repairs it.
    pub fn finish(mut self, expected: Option<Digest>) -> Result<Blob, StoreError> {
        // The long part of flushing happens before others have to wait for the lock.
        self.file
            .as_file()
            .sync_all()
            .map_err(StoreError::io("flushing a blob"))?;
        let actual = Digest::finish(std::mem::take(&mut self.hasher));
        if let Some(expected) = expected.filter(|expected| *expected != actual) {
            return Err(StoreError::DigestMismatch { expected, actual });
        }
        let store = self.store.clone();
        self.publish(&store.lock()?, actual)
    }

    fn publish(self, _lock: &Lock, digest: Digest) -> Result<Blob, StoreError> {
        let is_new = !self.store.has_blob(&digest)?;
        // The age that protects a fresh blob from garbage collection counts from now, not from its last byte.
        self.file
            .as_file()
            .set_modified(SystemTime::now())
            .map_err(StoreError::io("dating a blob"))?;
        durable::publish(self.file, &self.store.blob_path(&digest))
            .map_err(StoreError::io("storing a blob"))?;
        Ok(Blob {
            digest,
            size: self.size,
            is_new,
        })
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.size += u64::try_from(length).expect("a slice's length fits 64 bits");
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn blob_error(digest: &Digest, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::BlobNotFound(*digest),
        io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput => {
            StoreError::BrokenModel(format!("blob {digest} is {error}"))
        }
        _ => StoreError::io("reading a blob")(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::testing::{TestStore, file_names};

    #[test]
    fn a_blob_is_found_again_under_its_digest() {
        let store = TestStore::new();
        let first = store.import(&b"hello"[..], None).unwrap();
        assert_eq!(
            (first.digest, first.size, first.is_new),
            (Digest::of(b"hello"), 5, true)
        );
        assert_eq!(store.read_blob(&first.digest, 5).unwrap(), b"hello");
        assert!(
            !store
                .import(&b"hello"[..], Some(first.digest))
                .unwrap()
                .is_new
        );
        assert!(matches!(
            store.read_blob(&first.digest, 4),
            Err(StoreError::BrokenModel(_))
        ));
        let absent = Digest::of(b"absent");
        assert!(!store.has_blob(&absent).unwrap());
        assert!(
            matches!(store.open_blob(&absent), Err(StoreError::BlobNotFound(digest)) if digest == absent)
        );
    }

    #[test]
    fn bytes_that_are_not_as_announced_leave_nothing() {
        let store = TestStore::new();
        let expected = Digest::of(b"announced");
        let error = store.import(&b"sent"[..], Some(expected)).unwrap_err();
        let actual = Digest::of(b"sent");
        assert_eq!(
            error.to_string(),
            format!("digest mismatch, expected \"{expected}\", got \"{actual}\"")
        );
        assert_eq!(file_names(&store.blobs_folder()), [""; 0]);
    }

    #[test]
    fn a_broken_upload_leaves_nothing() {
        struct Breaks(usize);
        impl Read for Breaks {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 = self
                    .0
                    .checked_sub(1)
                    .ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
                Ok(buffer.len())
            }
        }
        let store = TestStore::new();
        for pieces in 0..3 {
            assert!(matches!(
                store.import(Breaks(pieces), None),
                Err(StoreError::NoSpace)
            ));
        }
        let mut abandoned = store.write_blob().unwrap();
        abandoned.write_all(b"half").unwrap();
        assert_eq!(file_names(&store.blobs_folder()).len(), 1);
        drop(abandoned);
        assert_eq!(file_names(&store.blobs_folder()), [""; 0]);
    }

    #[test]
    fn sending_a_damaged_blob_again_repairs_it() {
        let store = TestStore::new();
        let digest = store.import(&b"whole"[..], None).unwrap().digest;
        fs::write(store.blob_path(&digest), b"wh").unwrap();
        assert!(!store.import(&b"whole"[..], None).unwrap().is_new);
        assert_eq!(store.read_blob(&digest, 9).unwrap(), b"whole");
    }

    #[test]
    fn only_regular_files_are_imported() {
        let store = TestStore::new();
        for path in ["/dev/zero", "/"] {
            assert!(
                matches!(
                    store.import_file(Path::new(path)),
                    Err(StoreError::Io { .. })
                ),
                "{path}"
            );
        }
        let fifo = store.root().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        assert!(matches!(
            store.import_file(&fifo),
            Err(StoreError::Io { .. })
        ));
    }

    #[test]
    fn many_senders_of_one_blob_all_succeed() {
        let store = TestStore::new();
        let body = vec![7; 3 << 20];
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| store.import(&body[..], None).unwrap());
            }
        });
        assert_eq!(
            file_names(&store.blobs_folder()),
            [Digest::of(&body).file_name()]
        );
    }
}

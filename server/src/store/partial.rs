//! Blobs on their way from a registry, in the files Ollama keeps meanwhile: either program goes on where the other stopped.
//!
//! ```text
//! sha256-<64 hex>-partial       the bytes at their places, with holes
//! sha256-<64 hex>-partial-<n>   {"N":0,"Offset":0,"Size":100,"Completed":10}: how far part n has come
//! ```
//!
//! The format is that of `server/download.go` in Ollama's sources. Bytes are flushed before the part says that they are
//! there, and the part's file is replaced as a whole: whenever the process or the machine stops, a part claims no more
//! than is on the disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};

use super::blobs::{PARTIAL_PREFIX, PARTIAL_SUFFIX};
use super::{Digest, Store, StoreError, durable};

/// Ollama makes at least 16 parts of at most 1 GB, so this is a model of some terabytes.
const MAX_PARTS: usize = 4096;

/// Four numbers and their names.
const MAX_PART_FILE_BYTES: u64 = 1024;

/// A piece of a blob that is fetched on its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Where it begins in the blob.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u64,
    /// How many of its first bytes are on the disk.
    pub completed: u64,
}

/// A blob of which some bytes are here. Nobody else, in this process or another Chaski, has it open.
#[derive(Debug)]
pub struct PartialBlob {
    store: Store,
    digest: Digest,
    size: u64,
    file: File,
    parts: Mutex<Vec<Part>>,
}

/// A part as Ollama's file has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PartFile {
    n: usize,
    offset: u64,
    size: u64,
    completed: u64,
}

impl Part {
    /// Whether all of it is here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.completed == self.size
    }
}

impl Store {
    /// What is here of a blob of `size` bytes. If nothing is that could be used, it is begun anew in parts of `part_bytes`.
    ///
    /// # Errors
    /// When the files cannot be made, or another process has them open.
    pub fn partial_blob(
        &self,
        digest: Digest,
        size: u64,
        part_bytes: u64,
    ) -> Result<PartialBlob, StoreError> {
        let blob = PartialBlob {
            store: self.clone(),
            digest,
            size,
            file: self.open_partial(&digest)?,
            parts: Mutex::default(),
        };
        let parts = match blob.read_parts() {
            Some(parts) => parts,
            None => blob.begin(part_bytes)?,
        };
        *blob.parts() = parts;
        Ok(blob)
    }

    /// How many bytes this user can still write to the disk that the blobs are on.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        let disk = rustix::fs::statvfs(self.blobs_folder())
            .map_err(io::Error::from)
            .map_err(StoreError::io("measuring the disk"))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// How many bytes of a blob are here already, whole or in part.
    #[must_use]
    pub fn bytes_here(&self, digest: &Digest, size: u64) -> u64 {
        if self.is_whole(digest, size) {
            return size;
        }
        let parts = (0..MAX_PARTS).map_while(|n| self.read_part(digest, n));
        parts
            .fold(0, |sum: u64, part| sum.saturating_add(part.completed))
            .min(size)
    }

    /// Whether the blob is here at that length.
    #[must_use]
    pub fn is_whole(&self, digest: &Digest, size: u64) -> bool {
        self.blob_path(digest)
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
    }

    /// Opens the file of the bytes for this process alone.
    fn open_partial(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.partial_path(digest);
        let busy = StoreError::io("opening a partial blob that another process is fetching");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("opening a partial blob"))?;
        if let Err(error) = retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive))
        {
            return Err(busy(error.into()));
        }
        // Between opening and locking it, another process may have made the file a blob, which must not be written.
        let opened = file
            .metadata()
            .map_err(StoreError::io("opening a partial blob"))?;
        match path.metadata() {
            Ok(named) if named.dev() == opened.dev() && named.ino() == opened.ino() => Ok(file),
            _ => Err(busy(io::ErrorKind::ResourceBusy.into())),
        }
    }

    fn partial_path(&self, digest: &Digest) -> PathBuf {
        let name = format!("{}{PARTIAL_SUFFIX}", digest.file_name());
        self.blobs_folder().join(name)
    }

    fn part_path(&self, digest: &Digest, n: usize) -> PathBuf {
        let name = format!("{}{PARTIAL_SUFFIX}-{n}", digest.file_name());
        self.blobs_folder().join(name)
    }

    fn read_part(&self, digest: &Digest, n: usize) -> Option<PartFile> {
        let bytes = durable::read_bounded(&self.part_path(digest, n), MAX_PART_FILE_BYTES).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

impl PartialBlob {
    /// The parts, in order; together they are the blob.
    pub fn parts(&self) -> std::sync::MutexGuard<'_, Vec<Part>> {
        // A number is either written or not, so a panic elsewhere leaves nothing half done.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes bytes at their place in the blob. They count once [`PartialBlob::record`] says so.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(StoreError::io("writing a blob"))
    }

    /// Flushes what was written and remembers that the first `completed` bytes of part `n` are here.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn record(&self, n: usize, completed: u64) -> Result<(), StoreError> {
        self.file
            .sync_data()
            .map_err(StoreError::io("flushing a blob"))?;
        let mut part = self.parts()[n];
        part.completed = completed;
        self.write_part(n, part)?;
        self.parts()[n] = part;
        Ok(())
    }

    /// Checks that the bytes are what the digest says, and makes them a blob. What is something else is deleted.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`], or when the disk fails.
    pub fn finish(self) -> Result<(), StoreError> {
        self.file
            .sync_all()
            .map_err(StoreError::io("flushing a blob"))?;
        let actual = File::open(self.store.partial_path(&self.digest))
            .and_then(Digest::of_reader)
            .map_err(StoreError::io("checking a blob"))?;
        if actual != self.digest {
            let expected = self.digest;
            self.discard()?;
            return Err(StoreError::DigestMismatch { expected, actual });
        }
        // Half an hour may have passed since the last byte, and a fresh blob is protected by its age.
        self.file
            .set_modified(SystemTime::now())
            .map_err(StoreError::io("dating a blob"))?;
        let _lock = self.store.lock()?;
        let target = self.store.blob_path(&self.digest);
        std::fs::rename(self.store.partial_path(&self.digest), &target)
            .and_then(|()| durable::sync_parent(&target))
            .map_err(StoreError::io("storing a blob"))?;
        self.remove_parts()
    }

    /// Deletes everything that is here of the blob.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn discard(&self) -> Result<(), StoreError> {
        self.remove_parts()?;
        match std::fs::remove_file(self.store.partial_path(&self.digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("deleting a partial blob")(error))
            }
            _ => Ok(()),
        }
    }

    /// The parts on the disk, if they are the whole blob without gaps and its bytes are where they say.
    fn read_parts(&self) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        let mut end = 0_u64;
        while end < self.size && parts.len() < MAX_PARTS {
            let found = self.store.read_part(&self.digest, parts.len())?;
            let fits =
                found.n == parts.len() && found.offset == end && found.completed <= found.size;
            if !fits || found.size == 0 {
                return None;
            }
            end = end.checked_add(found.size)?;
            parts.push(Part {
                offset: found.offset,
                size: found.size,
                completed: found.completed,
            });
        }
        let length = self.file.metadata().ok()?.len();
        let surplus = self.store.part_path(&self.digest, parts.len());
        (end == self.size && length == self.size && !surplus.exists()).then_some(parts)
    }

    /// Forgets what was here and plans the parts.
    fn begin(&self, part_bytes: u64) -> Result<Vec<Part>, StoreError> {
        self.remove_parts()?;
        // Emptied first, so that bytes of another attempt cannot be taken for this one's.
        self.file
            .set_len(0)
            .and_then(|()| self.file.set_len(self.size))
            .map_err(StoreError::io("creating a partial blob"))?;
        // A part size that would make too many parts is none of ours.
        let fewest = self
            .size
            .div_ceil(u64::try_from(MAX_PARTS).expect("the bound is small"));
        let part_bytes = part_bytes.max(fewest).max(1);
        let mut parts = Vec::new();
        let mut offset = 0;
        while offset < self.size {
            let part = Part {
                offset,
                size: part_bytes.min(self.size - offset),
                completed: 0,
            };
            self.write_part(parts.len(), part)?;
            offset += part.size;
            parts.push(part);
        }
        Ok(parts)
    }

    fn write_part(&self, n: usize, part: Part) -> Result<(), StoreError> {
        let file = PartFile {
            n,
            offset: part.offset,
            size: part.size,
            completed: part.completed,
        };
        let bytes = super::manifest::to_json_line(&file);
        // The temporary name is none that Ollama would take for a part.
        let folder = self.store.blobs_folder();
        durable::temporary(&folder, PARTIAL_PREFIX, PARTIAL_SUFFIX)
            .and_then(|mut temporary| {
                io::Write::write_all(&mut temporary, &bytes)?;
                temporary.persist(self.store.part_path(&self.digest, n))?;
                Ok(())
            })
            .map_err(StoreError::io("recording how far a blob has come"))
    }

    fn remove_parts(&self) -> Result<(), StoreError> {
        for n in 0..MAX_PARTS {
            match std::fs::remove_file(self.store.part_path(&self.digest, n)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(StoreError::io("deleting a partial blob")(error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::testing::{TestStore, file_names};

    const BODY: &[u8] = b"the quick brown fox";

    fn open(store: &Store) -> PartialBlob {
        let size = u64::try_from(BODY.len()).unwrap();
        store.partial_blob(Digest::of(BODY), size, 8).unwrap()
    }

    fn fill(blob: &PartialBlob, n: usize, completed: u64) {
        let part = blob.parts()[n];
        let [from, to] = [part.offset + part.completed, part.offset + completed]
            .map(|at| usize::try_from(at).unwrap());
        blob.write(part.offset + part.completed, &BODY[from..to])
            .unwrap();
        blob.record(n, completed).unwrap();
    }

    #[test]
    fn what_was_recorded_is_there_again_after_any_stop() {
        let store = TestStore::new();
        let blob = open(&store);
        assert_eq!(
            blob.parts()
                .iter()
                .map(|part| part.size)
                .collect::<Vec<_>>(),
            [8, 8, 3]
        );
        fill(&blob, 1, 5);
        // Written and not recorded: as good as never fetched.
        blob.write(0, b"xxxx").unwrap();
        drop(blob);
        let blob = open(&store);
        let completed = |blob: &PartialBlob| -> Vec<u64> {
            blob.parts().iter().map(|part| part.completed).collect()
        };
        assert_eq!(completed(&blob), [0, 5, 0]);
        assert_eq!(store.bytes_here(&Digest::of(BODY), 19), 5);
        for (n, size) in [8, 8, 3].into_iter().enumerate() {
            fill(&blob, n, size);
        }
        blob.finish().unwrap();
        assert_eq!(store.read_blob(&Digest::of(BODY), 19).unwrap(), BODY);
        let only = Digest::of(BODY).file_name();
        assert_eq!(file_names(&store.blobs_folder()), [only]);
    }

    #[test]
    fn ollamas_files_are_ours_and_the_other_way_round() {
        let store = TestStore::new();
        let digest = Digest::of(BODY);
        let blobs = store.blobs_folder();
        let file = |suffix: &str| blobs.join(format!("{}-partial{suffix}", digest.file_name()));
        let mut bytes = BODY.to_vec();
        bytes[12..].fill(0);
        fs::write(file(""), bytes).unwrap();
        fs::write(
            file("-0"),
            "{\"N\":0,\"Offset\":0,\"Size\":10,\"Completed\":10}\n",
        )
        .unwrap();
        fs::write(
            file("-1"),
            "{\"N\":1,\"Offset\":10,\"Size\":9,\"Completed\":2}\n",
        )
        .unwrap();
        let blob = open(&store);
        assert!(blob.parts()[0].is_complete());
        fill(&blob, 1, 4);
        assert_eq!(
            fs::read_to_string(file("-1")).unwrap(),
            "{\"N\":1,\"Offset\":10,\"Size\":9,\"Completed\":4}\n"
        );
        fill(&blob, 1, 9);
        blob.finish().unwrap();
        assert_eq!(store.read_blob(&digest, 19).unwrap(), BODY);
    }

    #[test]
    fn parts_that_are_not_the_blob_are_not_believed() {
        let digest = Digest::of(BODY);
        let wrong: &[&[&str]] = &[
            &["{\"N\":0,\"Offset\":0,\"Size\":18,\"Completed\":18}"],
            &["{\"N\":0,\"Offset\":0,\"Size\":20,\"Completed\":20}"],
            &["{\"N\":0,\"Offset\":0,\"Size\":19,\"Completed\":20}"],
            &["{\"N\":1,\"Offset\":0,\"Size\":19,\"Completed\":0}"],
            &["{\"N\":0,\"Offset\":1,\"Size\":18,\"Completed\":0}"],
            &["{\"N\":0,\"Offset\":0,\"Size\":-1,\"Completed\":0}"],
            &["{\"N\":0,\"Offset\":0,\"Size\":0,\"Completed\":0}"],
            &["{\"N\":0,\"Offset\":0,\"Size\":10,\"Completed\":3}"],
            &[
                "{\"N\":0,\"Offset\":0,\"Size\":19,\"Completed\":3}",
                "{\"N\":1,\"Offset\":19,\"Size\":5,\"Completed\":3}",
            ],
            &[""],
        ];
        for parts in wrong {
            let store = TestStore::new();
            let file = |suffix: &str| {
                let name = format!("{}-partial{suffix}", digest.file_name());
                store.blobs_folder().join(name)
            };
            fs::write(file(""), BODY).unwrap();
            for (n, part) in parts.iter().enumerate() {
                fs::write(file(&format!("-{n}")), part).unwrap();
            }
            let blob = open(&store);
            let begun = blob.parts().iter().all(|part| part.completed == 0);
            assert!(begun && blob.parts().len() == 3, "{parts:?}");
        }
    }

    #[test]
    fn bytes_that_are_something_else_are_deleted() {
        let store = TestStore::new();
        let blob = open(&store);
        for (n, size) in [8, 8, 3].into_iter().enumerate() {
            fill(&blob, n, size);
        }
        blob.write(3, b"X").unwrap();
        assert!(matches!(
            blob.finish(),
            Err(StoreError::DigestMismatch { .. })
        ));
        assert_eq!(file_names(&store.blobs_folder()), [""; 0]);
    }

    #[test]
    fn one_at_a_time_may_fetch_a_blob() {
        let store = TestStore::new();
        let first = open(&store);
        let digest = Digest::of(BODY);
        let second = store.partial_blob(digest, 19, 8);
        assert!(matches!(second, Err(StoreError::Io { .. })), "{second:?}");
        drop(first);
        open(&store).discard().unwrap();
        assert_eq!(file_names(&store.blobs_folder()), [""; 0]);
    }

    #[test]
    fn an_empty_blob_is_complete_from_the_start() {
        let store = TestStore::new();
        let digest = Digest::of(b"");
        store.partial_blob(digest, 0, 8).unwrap().finish().unwrap();
        assert!(store.is_whole(&digest, 0));
    }
}

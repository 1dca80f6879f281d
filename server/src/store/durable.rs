//! Writing so that a power loss leaves the old file or the new one, and reading only what is a bounded, regular file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

/// Starts the name of every manifest or marker that is being written.
pub(super) const TEMPORARY_PREFIX: &str = ".incoming-";

/// Readable by all, as Ollama leaves its files; the process's mask still applies.
const FILE_MODE: u32 = 0o644;

/// A file that deletes itself unless [`publish`]ed.
pub(super) fn temporary(folder: &Path, prefix: &str, suffix: &str) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(prefix)
        .suffix(suffix)
        .permissions(fs::Permissions::from_mode(FILE_MODE))
        .tempfile_in(folder)
}

/// Flushes `file`, gives it its name and flushes the folder; only then does the name survive a power loss.
pub(super) fn publish(file: NamedTempFile, target: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(target)?;
    sync_parent(target)
}

/// Replaces `target` by `bytes`. The temporary file stands in `staging`, which must be on the same file system.
pub(super) fn replace(target: &Path, bytes: &[u8], staging: &Path) -> io::Result<()> {
    let mut file = temporary(staging, TEMPORARY_PREFIX, "")?;
    file.write_all(bytes)?;
    publish(file, target)
}

/// Makes `folder` and its missing parents, each flushed into the folder above it.
pub(super) fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_folders(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_parent(folder),
    }
}

/// Removes a file for good: flushed, so that it does not come back after a power loss.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_parent(path)
}

/// Flushes the folder that `path` is in.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .expect("files of the store are inside its folders");
    File::open(folder)?.sync_all()
}

/// Opens a regular file; a pipe, device or folder is refused without waiting for it.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).expect("the flag is one low bit");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ))
    }
}

/// The whole of a regular file that must not be longer than `limit` bytes.
pub(super) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    // The length tells early; the reading is bounded all the same, for a file can grow.
    let mut bytes = Vec::new();
    if file.metadata()?.len() <= limit {
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
            return Ok(bytes);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!("longer than {limit} bytes"),
    ))
}

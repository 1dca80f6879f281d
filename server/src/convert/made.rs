//! Whether what was made is on the disk, and if not, why.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::Error;
use crate::store::gguf::{Arrays, Gguf};

/// Enough to need space that a nearly full disk does not have.
const PROBE_BYTES: usize = 1 << 20;

/// Reads the head of a GGUF file that was just made. llama.cpp does not notice when the last thing that it writes, which
/// is the head, gets lost; that is nothing the caller could mend.
///
/// # Errors
/// What the disk says.
pub fn check(output: &Path) -> Result<(), Error> {
    let file = File::open(output).map_err(Error::io("reading what was made"))?;
    Gguf::read(file, Arrays::Skip)
        .map(|_| ())
        .map_err(|_| disk_failure(output))
}

/// Why a file could not be written, from who could not say more than that: the disk is asked by writing a little more.
pub fn disk_failure(output: &Path) -> Error {
    match probe(output) {
        Err(error) => Error::io("writing the file")(error),
        Ok(()) => Error::Failed("what was made could not be written to the disk".into()),
    }
}

fn probe(output: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(output)?;
    file.write_all(&vec![0; PROBE_BYTES])?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_whose_head_was_lost_is_the_disks_fault() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let counts = [
            3_u32.to_le_bytes(),
            [0; 4],
            [0; 4],
            1_u32.to_le_bytes(),
            [0; 4],
        ]
        .concat();
        let mut bytes = [
            b"GGUF".to_vec(),
            counts,
            text("general.architecture"),
            8_u32.to_le_bytes().to_vec(),
            text("llama"),
        ]
        .concat();
        file.write_all(&bytes).unwrap();
        assert_eq!(check(file.path()), Ok(()));
        bytes[..32].fill(0);
        std::fs::write(file.path(), &bytes).unwrap();
        assert!(matches!(check(file.path()), Err(Error::Failed(_))));
    }

    #[test]
    fn a_full_disk_says_so() {
        // Every write to this device fails for want of space.
        assert_eq!(disk_failure(Path::new("/dev/full")), Error::NoSpace);
    }
}

//! A GGUF model's numbers in fewer bits, by `llama_model_quantize`.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ffi, load, processors};
use crate::convert::{Done, Error, made};

/// What to quantise, and to what.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Quantize {
    /// A GGUF file of 16-bit or 32-bit floats.
    pub model: PathBuf,
    /// What its matrices become.
    pub to: Level,
}

/// The encodings that models are quantised to. Each is a mixture: norms stay as they are, and sensitive matrices may
/// get more bits. A row whose length does not suit the encoding gets a similar one that it suits (Q4_K needs 256
/// numbers a row and falls back to Q5_0, which needs 32, or to F16).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Level {
    /// 32-bit floats.
    F32,
    /// 16-bit floats of IEEE 754.
    F16,
    /// The upper halves of 32-bit floats.
    Bf16,
    /// 8.5 bits.
    Q8_0,
    /// 4.5 bits.
    Q4_0,
    /// 4.5 bits, and a little more for half of the sensitive matrices.
    Q4KSmall,
    /// 4.5 bits, and 6.6 for half of the sensitive matrices.
    Q4KMedium,
}

impl Quantize {
    /// Writes the quantised model to `output`.
    ///
    /// # Errors
    /// [`Error::Refused`] with llama.cpp's reason, or what the disk says.
    pub fn run(&self, output: &Path, told: &mut (dyn FnMut(Done) + Send)) -> Result<(), Error> {
        let backend = load::backend();
        let input = in_c(&self.model)?;
        let output_name = in_c(output)?;
        let total = std::fs::metadata(&self.model).map_or(0, |metadata| metadata.len());
        let threads = i32::try_from(processors::usable()).unwrap_or(1);
        let mut complaint = None;
        let mut hear = |line: ffi::Line<'_>| match line {
            ffi::Line::Error(text) => {
                complaint.get_or_insert_with(|| text.trim().to_owned());
            }
            ffi::Line::Other(text) => {
                if let Some((tensor, tensors)) = progress(text) {
                    // Told at the start of a tensor, so that the ones before it are done.
                    let completed = total / tensors * (tensor - 1);
                    told(Done { completed, total });
                }
            }
        };
        let request = ffi::QuantizeRequest {
            input: &input,
            output: &output_name,
            level: self.to,
            threads,
        };
        if ffi::quantize(backend, &request, &mut hear) {
            told(Done {
                completed: total,
                total,
            });
            Ok(())
        } else {
            let complaint = complaint.unwrap_or_else(|| "llama.cpp gave no reason".into());
            let reason = complaint
                .split_once("failed to quantize: ")
                .map_or(complaint.as_str(), |(_, reason)| reason);
            Err(failure(reason, output))
        }
    }
}

/// What C++ says when a stream cannot be written, whatever the system said.
const WRITE_FAILED: &str = "iostream";

/// Whose fault it is: the model's or the disk's.
fn failure(reason: &str, output: &Path) -> Error {
    if reason.contains(WRITE_FAILED) {
        made::disk_failure(output)
    } else {
        Error::Refused(format!("failed to quantize: {reason}"))
    }
}

/// What llama.cpp prints as it begins a tensor: `[  12/ 201] blk.1.attn_k.weight - …`.
fn progress(line: &str) -> Option<(u64, u64)> {
    let (numbers, _) = line.strip_prefix('[')?.split_once(']')?;
    let (tensor, tensors) = numbers.split_once('/')?;
    let tensor = tensor.trim().parse().ok()?;
    let tensors = tensors.trim().parse().ok()?;
    (1..=tensors).contains(&tensor).then_some((tensor, tensors))
}

fn in_c(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::Failed(format!("{} has a zero byte in its name", path.display())))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{failure, progress};
    use crate::convert::Error;

    #[test]
    fn a_full_disk_is_not_the_models_fault() {
        let stream = "basic_ios::clear: iostream error";
        let full = Path::new("/dev/full");
        assert_eq!(failure(stream, full), Error::NoSpace);
        assert!(matches!(
            failure("tensor 'x' is missing", full),
            Error::Refused(_)
        ));
    }

    #[test]
    fn progress_is_read_from_what_llama_cpp_prints() {
        let line = "[  12/ 201] blk.1.attn_k.weight - [ 64, 64, 1, 1], type = f16, ";
        assert_eq!(progress(line), Some((12, 201)));
        for other in [
            "",
            "[",
            "[1/0] x",
            "[0/4] x",
            "[5/4] x",
            "converting [1/4]",
            "[a/4]",
        ] {
            assert_eq!(progress(other), None, "{other}");
        }
    }
}

//! Where the ONNX Runtime library is.

use std::path::{Path, PathBuf};

/// No library was found.
#[derive(Debug, thiserror::Error)]
#[error("ONNX Runtime is missing")]
pub struct Missing;

/// Looks for the library.
///
/// # Errors
/// [`Missing`].
pub fn find(explicit: Option<&Path>) -> Result<PathBuf, Missing> {
    explicit.map(Path::to_path_buf).ok_or(Missing)
}

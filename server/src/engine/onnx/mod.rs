//! ONNX models through ONNX Runtime.

pub mod library;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Facts;
use crate::inference::{Error, Inbox, Outbox};

/// An ONNX model and how to load it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Spec {
    /// The graph.
    pub graph: PathBuf,
    /// Its name in the model's folder: external data is relative to it.
    pub graph_name: String,
    /// The other files of the model's folder by their names in it (`tokenizer.json`, `1_Pooling/config.json`, ...).
    pub files: Vec<(String, PathBuf)>,
    /// Threads; 0 chooses from the processors this process may use.
    pub threads: u32,
    /// The ONNX Runtime library, as the server found it.
    pub library: PathBuf,
}

/// Loads the model and runs the encoding loop on it.
///
/// # Errors
/// See [`super::serve`].
pub fn serve(
    spec: &Spec,
    inbox: &Inbox,
    outbox: &mut dyn Outbox,
    ready: &mut dyn FnMut(Facts),
) -> Result<(), Error> {
    let _ = (spec, inbox, outbox, ready);
    Err(Error::LoadFailed(
        "ONNX models cannot be loaded by this build".into(),
    ))
}

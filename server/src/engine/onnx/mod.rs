//! ONNX models through ONNX Runtime: text embeddings and text classification.
//!
//! `library` finds the runtime, `folder` and `modules` read what the model's files say about its graph, `graph` finds the
//! graph's weights, `session` runs it, `judge` finds out whether our own encoder may compute instead, `store` keeps that encoder
//! in a file, `tokenizer` turns texts into tokens (`wordpiece`, with little memory; `template` looks at what it puts around them), `pool`, `dense` and `heads` are the layers that stand beside the graph, and
//! `model` joins them into an [`Encoder`](crate::inference::encode::Encoder). Nothing here knows jobs or queues.

#[doc(hidden)]
pub mod bench;
mod dense;
mod folder;
mod graph;
mod heads;
mod judge;
pub mod library;
mod model;
mod modules;
mod pool;
mod session;
mod store;
mod template;
mod tokenizer;
mod wordpiece;

#[cfg(test)]
mod quality_tests;
#[cfg(test)]
mod tests;

use std::num::NonZero;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use self::model::Model;
pub use self::store::Storing;
use super::{Ability, Computing, Facts, Memory};
use crate::inference::encode::{self, Company, Encoder};
use crate::inference::{Error, Inbox, Outbox};

/// Most threads of a session that are chosen without being asked for. The second thread nearly halved the time of a text
/// of 32 tokens or more on MiniLM; texts are too short to feed many more.
const MOST_CHOSEN_THREADS: usize = 4;

/// An ONNX model and how to load it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Spec {
    /// The graph.
    pub graph: PathBuf,
    /// Its name in the model's folder. The names it gives of files with weights are relative to it.
    pub graph_name: String,
    /// The other files of the model's folder by their names in it (`tokenizer.json`, `1_Pooling/config.json`, ...),
    /// those with the graph's weights included. Files with weights lie in one folder, under any names.
    pub files: Vec<(String, PathBuf)>,
    /// Threads; 0 chooses from the processors this process may use.
    pub threads: u32,
    /// The ONNX Runtime library, if the server found it. A model with a stored encoder does without.
    pub library: Option<PathBuf>,
    /// The encoder that was made when the model was created: see [`Storing`].
    pub stored: Option<PathBuf>,
    /// What a stored encoder must have been made of: a name for the graph and all files.
    pub source: String,
    /// What computes.
    pub computation: Computation,
}

/// What computes an ONNX model.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Computation {
    /// Our own encoder where its results agree with ONNX Runtime's, else ONNX Runtime.
    #[default]
    Auto,
    /// ONNX Runtime, always.
    Graph,
}

impl Spec {
    /// Every file that is read to load the model, libraries included.
    #[must_use]
    pub fn read_files(&self) -> Vec<PathBuf> {
        let beside = self.files.iter().map(|(_, path)| path);
        let own = [&self.graph].into_iter().chain(&self.stored).chain(beside);
        let libraries = self.library.iter().flat_map(|path| library::family(path));
        own.cloned().chain(libraries).collect()
    }

    /// The name in the model's folder of a file that lies beside the graph.
    fn beside_graph(&self, name: &str) -> String {
        match self.graph_name.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}"),
            None => name.to_owned(),
        }
    }
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
    let threads = threads(spec.threads);
    let mut model = Model::load(spec, threads)?;
    ready(facts(&model, threads));
    encode::run(&mut model, inbox, outbox);
    Ok(())
}

fn facts(model: &Model, threads: usize) -> Facts {
    Facts {
        ability: Ability::of(model.head()),
        context: model.max_tokens(),
        slots: match model.company() {
            Company::Alone => 1,
            Company::SameWidth | Company::Any => encode::BATCH_TEXTS,
        },
        threads: u32::try_from(threads).unwrap_or(u32::MAX),
        computing: Computing {
            own_kernels: model.is_ours(),
            ..Computing::default()
        },
        description: format!(
            "{}, {threads} threads, texts {}",
            model.choice(),
            match model.company() {
                Company::Alone => "one at a time",
                Company::SameWidth => "of one length in batches",
                Company::Any => "of any lengths in batches",
            }
        ),
        memory: Memory::default(),
    }
}

/// The threads of a session: as many as asked for, else the processors that this process may use (affinity and control
/// group counted), up to a few.
fn threads(wanted: u32) -> usize {
    match wanted {
        0 => std::thread::available_parallelism()
            .map_or(1, NonZero::get)
            .min(MOST_CHOSEN_THREADS),
        wanted => wanted as usize,
    }
}

//! From a create request to a model: what has to be merged, converted or quantised first is, each in a process of its
//! own that ends when the caller leaves.
//!
//! The store decides what is next ([`Store::next_step`]), this carries it out, until there is nothing left to make.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::config::Config;
use crate::convert::{self, Done, Files, Float, Task};
use crate::engine::gguf::{Level, Quantize};
use crate::engine::onnx::{self, Computation, Storing};
use crate::sandbox::Mode;
use crate::store::{
    CreateModel, Digest, EncoderWish, Progress, Quantization, RelativeName, Step, Store,
    StoreError, onnx_source,
};
use crate::worker::make::{self, Order, Work};

/// Requests that wait for the one that is being made.
const MAX_WAITING: usize = 16;

/// Makes models, one at a time where anything has to be computed: such work takes all processors and much of the disk.
#[derive(Clone, Debug)]
pub struct Making {
    store: Store,
    /// The ONNX Runtime library, if encoders of graphs are to be made, for which it is the judge.
    judge: Option<PathBuf>,
    /// How the processes are locked in.
    sandbox: Mode,
    turn: Arc<Semaphore>,
    line: Arc<Semaphore>,
}

/// Hears how far the work is. Must not wait for anyone.
pub type Told = Arc<dyn Fn(Progress) + Send + Sync>;

/// Why a model could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MakingError {
    /// From the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// From a conversion.
    #[error(transparent)]
    Convert(#[from] convert::Error),
    /// As many requests wait as are allowed to.
    #[error("server busy, please try again.  maximum pending requests exceeded")]
    Busy,
}

impl Making {
    /// Makes models in `store`, in processes that are locked in as configured. Those of ONNX graphs get an encoder of our own if
    /// ONNX Runtime is there to compare it with, and is not configured to serve.
    #[must_use]
    pub fn new(store: Store, config: &Config) -> Self {
        let judge = match config.onnx_computation {
            Computation::Auto => onnx::library::find(config.ort_library.as_deref()).ok(),
            Computation::Graph => None,
        };
        Self {
            store,
            judge,
            sandbox: config.sandbox,
            turn: Arc::new(Semaphore::new(1)),
            line: Arc::new(Semaphore::new(MAX_WAITING + 1)),
        }
    }

    /// Makes a model and returns its identity. Dropping the future ends whatever is under way.
    ///
    /// # Errors
    /// See [`MakingError`].
    pub async fn create(
        &self,
        mut request: CreateModel,
        told: Told,
    ) -> Result<Digest, MakingError> {
        if self.judge.is_some() {
            request.encoder = EncoderWish::Wanted;
        }
        let (request, first) = self.next(request).await?;
        let Some(first) = first else {
            return self.store_model(request, told).await;
        };
        let _place = self.line.try_acquire().map_err(|_| MakingError::Busy)?;
        let turn = self.turn.acquire().await;
        let _turn = turn.expect("the semaphore is never closed");
        let mut leftovers = Leftovers {
            store: self.store.clone(),
            blobs: Vec::new(),
        };
        let (mut request, mut step) = (request, Some(first));
        while let Some(next) = step {
            match self.carry_out(&next, &told).await {
                Ok(blob) => {
                    leftovers.blobs.extend(blob.is_new.then_some(blob.digest));
                    request.made(&next, blob.digest);
                }
                // A model that is not made better is still a model.
                Err(MakingError::Convert(
                    convert::Error::Refused(reason) | convert::Error::Failed(reason),
                )) if matches!(next, Step::Encoder { .. }) => {
                    told(Progress::NoEncoder(reason));
                    request.encoder = EncoderWish::No;
                }
                Err(error) => return Err(error),
            }
            (request, step) = self.next(request).await?;
        }
        self.store_model(request, told).await
    }

    async fn next(&self, request: CreateModel) -> Result<(CreateModel, Option<Step>), StoreError> {
        let store = self.store.clone();
        blocking(move || {
            let step = store.next_step(&request)?;
            Ok((request, step))
        })
        .await
    }

    async fn store_model(&self, request: CreateModel, told: Told) -> Result<Digest, MakingError> {
        let store = self.store.clone();
        let made = blocking(move || store.create(&request, &mut |progress| told(progress))).await;
        Ok(made?)
    }

    async fn carry_out(&self, step: &Step, told: &Told) -> Result<crate::store::Blob, MakingError> {
        let store = self.store.clone();
        let staged = blocking(move || store.stage()).await?;
        let order = Order {
            work: self.work(step),
            output: staged.path().to_owned(),
        };
        let tell = Arc::clone(told);
        let mut tell_done: Box<dyn FnMut(Done) + Send> = match *step {
            Step::Quantize { from, to, .. } => Box::new(move |Done { completed, total }| {
                tell(Progress::Quantizing {
                    from,
                    to,
                    completed,
                    total,
                });
            }),
            Step::Merge { .. } => Box::new(move |Done { completed, total }| {
                tell(Progress::Merging { completed, total })
            }),
            Step::Convert { .. } => {
                tell(Progress::ConvertingModel);
                Box::new(|_| {})
            }
            Step::ConvertAdapter { .. } => {
                tell(Progress::ConvertingAdapter);
                Box::new(|_| {})
            }
            Step::Encoder { .. } => {
                tell(Progress::MakingEncoder);
                Box::new(|_| {})
            }
        };
        if let Some(agreement) = make::make(order, self.sandbox, &mut *tell_done).await? {
            told(Progress::EncoderMade(agreement));
        }
        told(Progress::Verifying);
        Ok(blocking(move || staged.finish()).await?)
    }

    fn work(&self, step: &Step) -> Work {
        let path = |digest: &Digest| self.store.blob_path(digest);
        match step {
            Step::Merge { parts, .. } => Work::Convert(Task::Merge {
                parts: parts.iter().map(|(_, digest)| path(digest)).collect(),
            }),
            Step::Quantize { model, to, .. } => Work::Quantize(Quantize {
                model: path(model),
                to: level(*to),
            }),
            Step::Convert { files, to } => Work::Convert(Task::Model {
                files: self.paths(files),
                to: to.and_then(float),
            }),
            Step::ConvertAdapter { files, base } => Work::Convert(Task::Adapter {
                files: self.paths(files),
                base: path(base),
            }),
            Step::Encoder { graph, files } => {
                let beside = || files.iter().filter(|(name, _)| *name != graph);
                let graph = (graph, &files[graph]);
                Work::Store(Storing(onnx::Spec {
                    graph: path(graph.1),
                    graph_name: graph.0.to_string(),
                    files: beside()
                        .map(|(name, digest)| (name.to_string(), path(digest)))
                        .collect(),
                    threads: 0,
                    library: self.judge.clone(),
                    stored: None,
                    source: onnx_source(graph, beside()).to_string(),
                    computation: Computation::Auto,
                }))
            }
        }
    }

    fn paths(&self, files: &BTreeMap<RelativeName, Digest>) -> Files {
        let path = |digest| self.store.blob_path(digest);
        files
            .iter()
            .map(|(name, digest)| (name.to_string(), path(digest)))
            .collect()
    }
}

/// Blobs made on the way. Those that the model does not need are removed, however the work ended.
struct Leftovers {
    store: Store,
    blobs: Vec<Digest>,
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        let (store, blobs) = (self.store.clone(), std::mem::take(&mut self.blobs));
        if blobs.is_empty() {
            return;
        }
        std::thread::spawn(move || {
            if let Err(error) = store.discard(blobs) {
                tracing::warn!(?error, "what was made on the way could not be removed");
            }
        });
    }
}

fn level(quantization: Quantization) -> Level {
    match quantization {
        Quantization::F32 => Level::F32,
        Quantization::F16 => Level::F16,
        Quantization::Bf16 => Level::Bf16,
        Quantization::Q8_0 => Level::Q8_0,
        Quantization::Q4_0 => Level::Q4_0,
        Quantization::Q4KSmall => Level::Q4KSmall,
        Quantization::Q4KMedium => Level::Q4KMedium,
    }
}

fn float(quantization: Quantization) -> Option<Float> {
    match quantization {
        Quantization::F32 => Some(Float::F32),
        Quantization::F16 => Some(Float::F16),
        Quantization::Bf16 => Some(Float::Bf16),
        _ => None,
    }
}

/// Runs what waits for the disk where that holds up nobody else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

//! A request's hold on a loaded model, with its measurements.

use std::sync::Arc;
use std::time::Duration;

use super::observe::{self, Stages};
use super::{App, Error};
use crate::duration::KeepAlive;
use crate::inference::encode::{Ask, Encoded};
use crate::metrics;
use crate::models::{Lease, LoadOptions, Want};
use crate::store::{Model, Store};

/// A model that is ready, on behalf of one request.
pub struct Session {
    /// Keeps the model loaded.
    pub lease: Lease,
    /// Counts as cancelled if it is dropped without an outcome.
    pub request: metrics::Request,
    /// From the request's arrival until the model was ready.
    pub load: Duration,
    /// Messages that were left out because the context does not hold them: [`super::conversation::Prompt::left_out`].
    pub left_out: usize,
    /// Whether a prompt may be cut at all, whatever the request says.
    pub may_cut: bool,
}

/// What a session is opened for.
pub struct Purpose {
    /// `generate`, `chat`, `embed`, `classify`, `rerank` or `tokenize`.
    pub operation: &'static str,
    /// How the model is to be loaded.
    pub options: LoadOptions,
    /// How long it stays loaded afterwards.
    pub keep_alive: Option<KeepAlive>,
}

impl Session {
    /// Has the model loaded if need be.
    ///
    /// # Errors
    /// When it cannot be loaded, or too many wait for that.
    pub async fn open(app: &App, model: &Arc<Model>, purpose: Purpose) -> Result<Self, Error> {
        let mut request = metrics::Request::start(&model.name.to_string(), purpose.operation);
        let want = Want {
            name: model.name.clone(),
            model: Arc::clone(model),
            options: purpose.options,
            keep_alive: purpose.keep_alive,
        };
        match app.models.acquire(want).await {
            Ok(lease) => {
                request.granted();
                let load = request.elapsed();
                Ok(Self {
                    lease,
                    request,
                    load,
                    left_out: 0,
                    may_cut: app.config.cut_prompts,
                })
            }
            Err(error) => {
                let error = Error::from(error);
                request.ended(error.outcome());
                Err(error)
            }
        }
    }

    /// The same hold for one more answer, which counts as a request of its own.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            lease: self.lease.clone(),
            request: self.request.again(),
            load: self.load,
            left_out: self.left_out,
            may_cut: self.may_cut,
        }
    }

    /// Turns texts into vectors, scores, or labelled parts.
    ///
    /// # Errors
    /// Whatever refused or ended the job.
    pub async fn encode<J: Ask>(&mut self, job: J) -> Result<Encoded<J::Result>, Error> {
        let encoded = self.lease.encode(job).await;
        let encoded = self.checked(encoded)?;
        let usage = &encoded.usage;
        if usage.truncated_inputs > 0 {
            self.request.truncated();
        }
        self.request.encoded(usage.prompt_tokens, usage.queue_ns);
        observe::about_stages(Stages {
            tokenize: Duration::from_nanos(usage.tokenize_ns),
            queue: Duration::from_nanos(usage.queue_ns),
            compute: Duration::from_nanos(usage.compute_ns),
        });
        Ok(encoded)
    }

    /// Counts the request by how it failed, if it has.
    ///
    /// # Errors
    /// The same.
    pub fn checked<T>(&mut self, result: Result<T, impl Into<Error>>) -> Result<T, Error> {
        result.map_err(|error| {
            let error = error.into();
            self.request.ended(error.outcome());
            error
        })
    }
}

impl App {
    /// Does something with the store where waiting for the disk holds up nobody else.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn with_store<T: Send + 'static, E: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

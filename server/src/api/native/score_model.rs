//! What requests for scores, tokens and plain vectors share: a model, which may be left out where there is no choice.

use std::sync::Arc;

use crate::api::find::Refusals;
use crate::api::json::{Fields, Mismatch};
use crate::api::keep_alive::KeepAliveField;
use crate::api::session::{Purpose, Session};
use crate::api::{App, Error, observe};
use crate::builtin;
use crate::inference::encode::Overflow;
use crate::models::LoadOptions;
use crate::store::{Capability, Model};

/// The model of a request, and what happens to texts that are too long for it.
#[derive(Default)]
pub struct ScoreModel {
    model: String,
    truncate: Option<bool>,
    keep_alive: KeepAliveField,
}

/// What a model is wanted for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Task {
    /// Vectors.
    Embed,
    /// Labels of texts or pairs.
    Classify,
    /// Relevance of texts to a query.
    Rerank,
}

/// A model that is ready.
pub struct Opened {
    /// Its name as the caller typed it, or its own where none was typed.
    pub name: String,
    /// The request's hold on it.
    pub session: Session,
    /// What happens to texts that are too long.
    pub overflow: Overflow,
}

impl Task {
    /// The operation as errors and metrics call it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Classify => "classify",
            Self::Rerank => "rerank",
        }
    }

    fn is_done_by(self, model: &Model) -> bool {
        let can = |capability| model.capabilities.contains(&capability);
        match self {
            Self::Embed => can(Capability::Embedding),
            // A single label is a label too.
            Self::Classify => can(Capability::Classify) || can(Capability::Rerank),
            Self::Rerank => can(Capability::Rerank),
        }
    }
}

impl ScoreModel {
    /// Takes these fields out of a body.
    ///
    /// # Errors
    /// When one is of another type.
    pub fn take(fields: &mut Fields) -> Result<Self, Mismatch> {
        Ok(Self {
            model: fields.take_name()?,
            truncate: fields.take("truncate")?,
            keep_alive: fields.take("keep_alive")?,
        })
    }

    /// The same, for clients that expect texts to be refused rather than cut unless they say otherwise.
    #[must_use]
    pub fn truncating_only_if_told(mut self) -> Self {
        self.truncate = Some(self.truncate.unwrap_or(false));
        self
    }

    /// Has the model loaded.
    ///
    /// # Errors
    /// When there is no such model, it cannot do the task, or it cannot be loaded.
    pub async fn open(&self, app: &App, task: Task) -> Result<Opened, Error> {
        let model = if self.model.is_empty() {
            only_model(app, task).await?
        } else {
            app.find(&self.model, Refusals::RequiredPullFirst).await?
        };
        let operation = task.as_str();
        if !task.is_done_by(&model) {
            let text = format!("{:?} does not support {operation}", self.model);
            return Err(Error::BadRequest(text));
        }
        let purpose = Purpose {
            operation,
            options: LoadOptions::default(),
            keep_alive: self.keep_alive.0,
        };
        let session = Session::open(app, &model, purpose).await?;
        Ok(Opened {
            name: if self.model.is_empty() {
                model.name.to_string()
            } else {
                self.model.clone()
            },
            session,
            overflow: Overflow {
                truncate: self.truncate.unwrap_or(true),
                max_tokens: None,
            },
        })
    }
}

/// The model that a request means which names none: the only one that can do the task. The built-in ones do not count where
/// there are others.
pub async fn only_model(app: &App, task: Task) -> Result<Arc<Model>, Error> {
    let mut able = app.with_store(crate::store::Store::models).await?;
    able.retain(|model| task.is_done_by(model));
    let is_own = |model: &Arc<Model>| {
        let name = model.name.to_string();
        !builtin::MODELS
            .iter()
            .any(|builtin| name == format!("{}:latest", builtin.name))
    };
    if able.iter().any(is_own) {
        able.retain(is_own);
    }
    let operation = task.as_str();
    match &able[..] {
        [model] => {
            observe::about_model(&model.name.to_string());
            Ok(Arc::clone(model))
        }
        [] => Err(Error::BadRequest(format!(
            "model is required: there is no model here that can {operation}"
        ))),
        several => {
            let names: Vec<String> = several.iter().map(|model| model.name.to_string()).collect();
            Err(Error::BadRequest(format!(
                "model is required: several can {operation}: {}",
                names.join(", ")
            )))
        }
    }
}

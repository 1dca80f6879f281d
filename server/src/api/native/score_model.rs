//! What requests for scores, tokens and plain vectors share: a model, which may be left out where there is no choice.

use std::sync::Arc;

use crate::api::encoding::LongTexts;
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
    long_texts: LongTexts,
    keep_alive: KeepAliveField,
}

/// What a model is wanted for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Task {
    /// Vectors.
    Embed,
    /// Labels of texts or pairs.
    Classify,
    /// Labels of parts of texts.
    Tag,
    /// Relevance of texts to a query.
    Rerank,
    /// Tokens, by any model that encodes; by the one that embeds where none is named.
    Tokenize,
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
    /// The operation as errors call it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Classify => "classify",
            Self::Tag => "classify tokens",
            Self::Rerank => "rerank",
            Self::Tokenize => "tokenize",
        }
    }

    /// The operation as metrics call it.
    fn operation(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Classify | Self::Tag => "classify",
            Self::Rerank => "rerank",
            Self::Tokenize => "tokenize",
        }
    }

    fn is_done_by(self, model: &Model) -> bool {
        let can = |capability| model.capabilities.contains(&capability);
        match self {
            Self::Embed => can(Capability::Embedding),
            // A single label is a label too.
            Self::Classify => can(Capability::Classify) || can(Capability::Rerank),
            Self::Tag => can(Capability::TokenClassify),
            Self::Rerank => can(Capability::Rerank),
            Self::Tokenize => [Self::Embed, Self::Classify, Self::Tag]
                .iter()
                .any(|task| task.is_done_by(model)),
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
            long_texts: LongTexts::take(fields)?,
            keep_alive: fields.take("keep_alive")?,
        })
    }

    /// The same, for clients that expect texts to be refused rather than cut unless they say otherwise.
    #[must_use]
    pub fn truncating_only_if_told(mut self) -> Self {
        self.truncate = Some(self.truncate.unwrap_or(false));
        self
    }

    /// The same for the model of this name.
    #[must_use]
    pub fn of_name(mut self, name: String) -> Self {
        self.model = name;
        self
    }

    /// Has the model loaded.
    ///
    /// # Errors
    /// When there is no such model, it cannot do the task, or it cannot be loaded.
    pub async fn open(&self, app: &App, task: Task) -> Result<Opened, Error> {
        let model = self.find(app, task).await?;
        self.open_found(app, &model, task).await
    }

    /// The model, which need not be loaded.
    ///
    /// # Errors
    /// When there is no such model, or it cannot do the task.
    pub async fn find(&self, app: &App, task: Task) -> Result<Arc<Model>, Error> {
        let model = if self.model.is_empty() {
            let task = match task {
                Task::Tokenize => Task::Embed,
                other => other,
            };
            only_model(app, task).await?
        } else {
            app.find(&self.model, Refusals::RequiredPullFirst).await?
        };
        if task.is_done_by(&model) {
            return Ok(model);
        }
        let operation = task.as_str();
        let text = format!("{:?} does not support {operation}", self.model);
        Err(Error::BadRequest(text))
    }

    async fn open_found(&self, app: &App, model: &Arc<Model>, task: Task) -> Result<Opened, Error> {
        let operation = task.operation();
        let purpose = Purpose {
            operation,
            options: LoadOptions::default(),
            keep_alive: self.keep_alive.0,
        };
        let session = Session::open(app, model, purpose).await?;
        Ok(Opened {
            name: if self.model.is_empty() {
                model.name.to_string()
            } else {
                self.model.clone()
            },
            session,
            overflow: Overflow {
                too_long: self.long_texts.rule(self.truncate.unwrap_or(true)),
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

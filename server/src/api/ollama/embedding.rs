//! What `/api/embed` and `/api/embeddings` share: fields, and the way to a model that embeds.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::api::encoding::LongTexts;
use crate::api::find::Refusals;
use crate::api::json::{Fields, Mismatch};
use crate::api::keep_alive::KeepAliveField;
use crate::api::options::Options;
use crate::api::session::{Purpose, Session};
use crate::api::{App, Error};
use crate::inference::encode::Overflow;
use crate::metrics::Outcome;
use crate::store::Model;

/// Fields of both.
#[derive(Default)]
pub struct Embedding {
    /// The model's name as typed.
    pub model: String,
    keep_alive: KeepAliveField,
    options: Map<String, Value>,
    long_texts: LongTexts,
}

/// A model that is ready to embed.
pub struct Opened {
    /// The model.
    pub model: Arc<Model>,
    /// The request's hold on it.
    pub session: Session,
    /// What happens to texts that are too long.
    pub overflow: Overflow,
}

impl Embedding {
    /// Takes these fields out of a body.
    ///
    /// # Errors
    /// When one is of another type.
    pub fn take(fields: &mut Fields) -> Result<Self, Mismatch> {
        Ok(Self {
            model: fields.take_name()?,
            keep_alive: fields.take("keep_alive")?,
            options: fields.take("options")?,
            long_texts: LongTexts::take(fields)?,
        })
    }

    /// Has the model loaded. That comes before all else: even a request for nothing loads it.
    ///
    /// # Errors
    /// When there is no such model, an option is of the wrong type, or it cannot be loaded.
    pub async fn open(
        &self,
        app: &App,
        refusals: Refusals,
        truncate: bool,
    ) -> Result<Opened, Error> {
        let model = app.find(&self.model, refusals).await?;
        let options = Options::new(&model.parameters, &self.options)?;
        let purpose = Purpose {
            operation: "embed",
            options: options.load_to_encode(),
            keep_alive: self.keep_alive.0,
        };
        let session = Session::open(app, &model, purpose).await?;
        Ok(Opened {
            model,
            session,
            overflow: Overflow {
                too_long: self.long_texts.rule(truncate),
                max_tokens: Some(options.text_tokens(app.config.context)),
            },
        })
    }
}

impl Opened {
    /// The request only wanted the model to be loaded.
    pub fn nothing_asked(&mut self) {
        self.session.request.ended(Outcome::Answered);
    }
}

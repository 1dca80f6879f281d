//! The fields that `/api/generate` and `/api/chat` share.

use serde_json::{Map, Value};

use super::format;
use super::think::ThinkField;
use crate::api::Error;
use crate::api::json::{Fields, Mismatch};
use crate::api::keep_alive::KeepAliveField;
use crate::api::manner::{MAX_TOP_LOGPROBS, Manner};
use crate::api::shape::Format;
use crate::store::Parameters;

/// See the module.
#[derive(Default)]
pub struct Common {
    /// The model's name as typed.
    pub model: String,
    /// How long the model stays loaded.
    pub keep_alive: KeepAliveField,
    /// Whether the model is to think.
    pub think: ThinkField,
    truncate: bool,
    /// Whether to show the prompt instead of answering it.
    pub is_debug: bool,
    stream: bool,
    format: Value,
    grammar: Value,
    options: Map<String, Value>,
    shift: bool,
    logprobs: bool,
    top_logprobs: i64,
}

impl Common {
    /// Takes these fields out of a body.
    ///
    /// # Errors
    /// When one is of another type.
    pub fn take(fields: &mut Fields) -> Result<Self, Mismatch> {
        let yes_unless_told = |told: Option<bool>| told.unwrap_or(true);
        Ok(Self {
            model: fields.take_name()?,
            keep_alive: fields.take("keep_alive")?,
            think: fields.take("think")?,
            truncate: yes_unless_told(fields.take("truncate")?),
            is_debug: fields.take("_debug_render_only")?,
            stream: yes_unless_told(fields.take("stream")?),
            format: fields.take("format")?,
            grammar: fields.take("grammar")?,
            options: fields.take("options")?,
            shift: yes_unless_told(fields.take("shift")?),
            logprobs: fields.take("logprobs")?,
            top_logprobs: fields.take("top_logprobs")?,
        })
    }

    /// Whether the answer is wanted piece by piece.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.stream
    }

    /// How many alternatives to report with every token.
    ///
    /// # Errors
    /// When it is not a number that can be reported.
    pub fn logprobs(&self) -> Result<Option<u8>, Error> {
        let count = u8::try_from(self.top_logprobs)
            .ok()
            .filter(|count| *count <= MAX_TOP_LOGPROBS)
            .ok_or_else(|| {
                let range = format!("top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}");
                Error::BadRequest(range)
            })?;
        Ok(self.logprobs.then_some(count))
    }

    /// What the text of the answer is to be.
    ///
    /// # Errors
    /// For what is no format.
    pub fn format(&self) -> Result<Format, Error> {
        format::read(&self.format, &self.grammar)
    }

    /// How the answer is to be written.
    ///
    /// # Errors
    /// For options of the wrong type, and those of [`Common::logprobs`].
    pub fn manner(&self) -> Result<Manner, Error> {
        let parameters = Parameters::from_json(&self.options);
        Ok(Manner {
            parameters: parameters.map_err(|error| Error::BadOption(error.to_string()))?,
            keep_alive: self.keep_alive.0,
            truncate: self.truncate,
            shift: self.shift,
            logprobs: self.logprobs()?,
            ..Manner::default()
        })
    }
}

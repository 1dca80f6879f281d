//! Fields of Ollama's own API that are taken on the routes of the others too, since their clients ask for them.

use serde_json::{Map, Value};

use super::json::{Fields, Mismatch};
use super::keep_alive::KeepAliveField;
use crate::duration::KeepAlive;
use crate::store::Parameters;

/// What Ollama's own API has and the others lack.
pub struct Extension {
    /// How long the model stays loaded.
    pub keep_alive: Option<KeepAlive>,
    /// `options`.
    pub parameters: Parameters,
    /// Whether a prompt that is too long is cut.
    pub truncate: bool,
    /// Whether to go on when the context is full.
    pub shift: bool,
}

impl Extension {
    /// Takes the fields out of a body.
    ///
    /// # Errors
    /// When one is of another type.
    pub fn take(fields: &mut Fields) -> Result<Self, Mismatch> {
        let keep_alive: KeepAliveField = fields.take("keep_alive")?;
        let options: Map<String, Value> = fields.take("options")?;
        let parameters =
            Parameters::from_json(&options).map_err(|error| Mismatch::Value(error.to_string()))?;
        let truncate: Option<bool> = fields.take("truncate")?;
        let shift: Option<bool> = fields.take("shift")?;
        Ok(Self {
            keep_alive: keep_alive.0,
            parameters,
            truncate: truncate.unwrap_or(true),
            shift: shift.unwrap_or(true),
        })
    }
}

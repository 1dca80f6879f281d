//! What requests for vectors share in these shapes.

use crate::api::encoding::{TextsOrTokens, take_prompt};
use crate::api::json::{Fields, Mismatch};
use crate::api::native::score_model::{Opened, ScoreModel, Task};
use crate::api::{App, Error};
use crate::inference::encode::{Input, Prompt};

/// The model, the texts and what stands before them.
#[derive(Default)]
pub struct TextsRequest {
    model: ScoreModel,
    inputs: TextsOrTokens,
    prompt: Prompt,
}

/// A model that is ready for the texts.
pub struct OpenedTexts {
    pub opened: Opened,
    pub inputs: Vec<Input>,
    pub prompt: Prompt,
}

impl TextsRequest {
    /// Takes these fields out of a body.
    ///
    /// # Errors
    /// When one is of another type.
    pub fn take(fields: &mut Fields) -> Result<Self, Mismatch> {
        Ok(Self {
            model: ScoreModel::take(fields)?.truncating_only_if_told(),
            inputs: fields.take("inputs")?,
            prompt: take_prompt(fields)?,
        })
    }

    /// Has the model loaded.
    ///
    /// # Errors
    /// When there are no texts, no such model, or it cannot be loaded.
    pub async fn open(self, app: &App) -> Result<OpenedTexts, Error> {
        if self.inputs.0.is_empty() {
            return Err(Error::BadRequest("`inputs` cannot be empty".into()));
        }
        Ok(OpenedTexts {
            opened: self.model.open(app, Task::Embed).await?,
            inputs: self.inputs.0,
            prompt: self.prompt,
        })
    }
}

//! POST `/similarity`: how near several sentences are to one, as cosines.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::TeiError;
use crate::api::encoding::take_prompt;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::native::score_model::{Opened, ScoreModel, Task};
use crate::api::openapi::About;
use crate::api::{App, Error, reply};
use crate::inference::encode::{Embed, Input, Prompt};

/// The body.
#[derive(Default)]
pub struct SimilarityRequest {
    model: ScoreModel,
    sentences: Sentences,
    prompt: Prompt,
}

/// One sentence and those that it is compared with.
#[derive(Default)]
pub struct Sentences {
    source: String,
    others: Vec<String>,
}

/// What a request may have in `parameters` rather than beside its inputs.
#[derive(Default)]
struct Parameters {
    model: ScoreModel,
    prompt: Prompt,
}

impl FromJson for SimilarityRequest {
    const GO_TYPE: &'static str = "SimilarityRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let name = fields.take_name()?;
        let parameters: Parameters = fields.take("parameters")?;
        Ok(Self {
            model: parameters.model.of_name(name),
            sentences: fields.take("inputs")?,
            prompt: parameters.prompt,
        })
    }
}

impl FromJson for Sentences {
    const GO_TYPE: &'static str = "SimilarityInput";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            source: fields.take("source_sentence")?,
            others: fields.take("sentences")?,
        })
    }
}

impl FromJson for Parameters {
    const GO_TYPE: &'static str = "SimilarityParameters";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            model: ScoreModel::take(&mut fields)?.truncating_only_if_told(),
            prompt: take_prompt(&mut fields)?,
        })
    }
}

impl Sentences {
    /// The cosine of each sentence with the first.
    ///
    /// # Errors
    /// When there is nothing to compare, or whatever refused or ended the job.
    pub async fn compare(self, opened: &mut Opened, prompt: Prompt) -> Result<Vec<f32>, Error> {
        let mut inputs = vec![Input::Text(self.source)];
        inputs.extend(self.others.into_iter().map(Input::Text));
        let job = Embed {
            inputs,
            prompt,
            overflow: opened.overflow,
            dimensions: None,
            normalize: true,
        };
        let vectors = opened.session.encode(job).await?.results;
        let (source, others) = vectors.split_first().expect("one result per input");
        let cosine = |other: &Vec<f32>| source.iter().zip(other).map(|(a, b)| a * b).sum();
        Ok(others.iter().map(cosine).collect())
    }

    /// Refuses a comparison with nothing.
    ///
    /// # Errors
    /// When there is no other sentence.
    pub fn check(&self) -> Result<(), Error> {
        if self.others.is_empty() {
            let text = "`inputs.sentences` cannot be empty";
            return Err(Error::BadRequest(text.into()));
        }
        Ok(())
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Tell how near sentences are to another")
        .takes::<SimilarityRequest>()
        .gives_content("application/json")
}

/// Compares the sentences.
pub async fn similarity(
    State(app): State<Arc<App>>,
    body: Result<Json<SimilarityRequest>, Error>,
) -> Result<Response, TeiError> {
    let Json(request) = body?;
    request.sentences.check()?;
    let mut opened = request.model.open(&app, Task::Embed).await?;
    let cosines = request
        .sentences
        .compare(&mut opened, request.prompt)
        .await?;
    Ok(reply::json(StatusCode::OK, &cosines))
}

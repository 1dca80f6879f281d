//! POST `/embed`: texts to vectors, and nothing around them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::TeiError;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::native::score_model::{ScoreModel, Task};
use crate::api::openapi::About;
use crate::api::openapi::describe;
use crate::api::{App, Error, reply};
use crate::inference::encode::Embed;

/// The body.
#[derive(Default)]
pub struct EmbedRequest {
    model: ScoreModel,
    inputs: Texts,
    normalize: bool,
    dimensions: Option<i64>,
    prompt_name: Option<String>,
}

/// One text, or several.
#[derive(Default)]
struct Texts(Vec<String>);

impl FromJson for EmbedRequest {
    const GO_TYPE: &'static str = "EmbedRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let normalize: Option<bool> = fields.take("normalize")?;
        Ok(Self {
            model: ScoreModel::take(&mut fields)?.truncating_only_if_told(),
            inputs: fields.take("inputs")?,
            normalize: normalize.unwrap_or(true),
            dimensions: fields.take("dimensions")?,
            prompt_name: fields.take("prompt_name")?,
        })
    }
}

impl FromJson for Texts {
    const GO_TYPE: &'static str = "string or []string";

    fn schema() -> RefOr<Schema> {
        describe::either([
            <String as FromJson>::schema(),
            describe::list(<String as FromJson>::schema()),
        ])
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let texts = match value {
            Value::String(text) => vec![text],
            list => Vec::from_json(list)?,
        };
        Ok(Self(texts))
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Turn texts into vectors")
        .takes::<EmbedRequest>()
        .gives_content("application/json")
}

/// Embeds the texts.
pub async fn embed(
    State(app): State<Arc<App>>,
    body: Result<Json<EmbedRequest>, Error>,
) -> Result<Response, TeiError> {
    let Json(request) = body?;
    let bad = |text: &str| Error::BadRequest(text.to_owned());
    if request.inputs.0.is_empty() {
        return Err(bad("`inputs` cannot be empty").into());
    }
    if request.prompt_name.is_some() {
        return Err(bad("`prompt_name` is not supported; put the prompt before the text").into());
    }
    let dimensions = match request.dimensions {
        None => None,
        Some(count) => match u32::try_from(count) {
            Ok(count) if count > 0 => Some(count),
            _ => return Err(bad("`dimensions` must be at least 1").into()),
        },
    };
    let mut opened = request.model.open(&app, Task::Embed).await?;
    let job = Embed {
        inputs: request.inputs.0,
        overflow: opened.overflow,
        dimensions,
        normalize: request.normalize,
    };
    let embedded = opened.session.embed(job).await?;
    Ok(reply::json(StatusCode::OK, &embedded.vectors))
}

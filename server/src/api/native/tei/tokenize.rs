//! POST `/tokenize`: texts to tokens and where they stand. POST `/decode`: tokens to texts.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::TeiError;
use crate::api::encoding::{TextsOrTokens, take_prompt};
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::native::score_model::{ScoreModel, Task};
use crate::api::native::tag::Texts;
use crate::api::openapi::About;
use crate::api::{App, Error, reply};
use crate::inference::encode::{Input, Piece, Prompt, Spell, Write};
use crate::metrics::Outcome;

/// The body of `/tokenize`.
#[derive(Default)]
pub struct TokenizeRequest {
    model: ScoreModel,
    inputs: Texts,
    add_special_tokens: Option<bool>,
    prompt: Prompt,
}

/// The body of `/decode`.
#[derive(Default)]
pub struct DecodeRequest {
    model: ScoreModel,
    ids: TextsOrTokens,
    skip_special_tokens: Option<bool>,
}

/// A token. Where it stands is counted in bytes of UTF-8, of the text with its prompt.
#[derive(Serialize, ToSchema)]
struct TokenRecord {
    id: u32,
    text: String,
    special: bool,
    start: Option<u32>,
    stop: Option<u32>,
}

impl From<Piece> for TokenRecord {
    fn from(piece: Piece) -> Self {
        Self {
            id: piece.id,
            text: piece.name,
            special: piece.special,
            start: piece.place.map(|place| place.start_byte),
            stop: piece.place.map(|place| place.end_byte),
        }
    }
}

impl FromJson for TokenizeRequest {
    const GO_TYPE: &'static str = "TokenizeRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            model: ScoreModel::take(&mut fields)?,
            inputs: fields.take("inputs")?,
            add_special_tokens: fields.take("add_special_tokens")?,
            prompt: take_prompt(&mut fields)?,
        })
    }
}

impl FromJson for DecodeRequest {
    const GO_TYPE: &'static str = "DecodeRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            model: ScoreModel::take(&mut fields)?,
            ids: fields.take("ids")?,
            skip_special_tokens: fields.take("skip_special_tokens")?,
        })
    }
}

/// For the document.
pub fn about_tokenize() -> About {
    About::new("Turn texts into tokens with their places")
        .takes::<TokenizeRequest>()
        .gives_content("application/json")
}

/// Turns texts into tokens.
pub async fn tokenize(
    State(app): State<Arc<App>>,
    body: Result<Json<TokenizeRequest>, Error>,
) -> Result<Response, TeiError> {
    let Json(request) = body?;
    let Texts(inputs) = request.inputs;
    if inputs.is_empty() {
        return Err(Error::BadRequest("`inputs` cannot be empty".into()).into());
    }
    let mut opened = request.model.open(&app, Task::Tokenize).await?;
    let job = Spell {
        inputs,
        prompt: request.prompt,
        add_special: request.add_special_tokens.unwrap_or(true),
    };
    let spelled = opened.session.encode(job).await?;
    opened.session.request.ended(Outcome::Answered);
    let records = |pieces: Vec<Piece>| pieces.into_iter().map(TokenRecord::from).collect();
    let results: Vec<Vec<TokenRecord>> = spelled.results.into_iter().map(records).collect();
    Ok(reply::json(StatusCode::OK, &results))
}

/// For the document.
pub fn about_decode() -> About {
    About::new("Turn tokens into texts")
        .takes::<DecodeRequest>()
        .gives_content("application/json")
}

/// Turns tokens into texts.
pub async fn decode(
    State(app): State<Arc<App>>,
    body: Result<Json<DecodeRequest>, Error>,
) -> Result<Response, TeiError> {
    let Json(request) = body?;
    let bad = |text: &str| Error::BadRequest(text.to_owned());
    let tokens = |input| match input {
        Input::Tokens(ids) => Ok(ids),
        Input::Text(_) | Input::Pair(..) => Err(bad("`ids` must be token ids, or a list of them")),
    };
    let inputs: Vec<Vec<u32>> = request
        .ids
        .0
        .into_iter()
        .map(tokens)
        .collect::<Result<_, _>>()?;
    if inputs.is_empty() {
        return Err(bad("`ids` cannot be empty").into());
    }
    let mut opened = request.model.open(&app, Task::Tokenize).await?;
    let job = Write {
        inputs,
        skip_special: request.skip_special_tokens.unwrap_or(true),
    };
    let written = opened.session.encode(job).await?;
    opened.session.request.ended(Outcome::Answered);
    Ok(reply::json(StatusCode::OK, &written.results))
}

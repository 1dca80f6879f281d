//! POST `/api/tokenize` and `/api/detokenize`: texts to a model's tokens and back, in the fields that llama.cpp's server has
//! for the same.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::keep_alive::KeepAliveField;
use crate::api::openapi::About;
use crate::api::session::{Purpose, Session};
use crate::api::time::nanoseconds;
use crate::api::{App, Error, reply};
use crate::inference::Token;
use crate::metrics::Outcome;
use crate::models::LoadOptions;

/// The model of either request.
#[derive(Default)]
struct Target {
    model: String,
    keep_alive: KeepAliveField,
}

/// The body of `/api/tokenize`.
#[derive(Default)]
pub struct TokenizeRequest {
    target: Target,
    content: Option<String>,
    add_special: bool,
    parse_special: bool,
    with_pieces: bool,
}

/// The body of `/api/detokenize`.
#[derive(Default)]
pub struct DetokenizeRequest {
    target: Target,
    tokens: Option<Vec<Token>>,
}

/// Times in nanoseconds.
#[derive(Serialize, ToSchema)]
struct TokenizeRecord {
    model: String,
    tokens: Tokens,
    total_duration: u64,
    load_duration: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Tokens {
    Bare(Vec<Token>),
    WithPieces(Vec<TokenRecord>),
}

#[derive(Serialize, ToSchema)]
struct TokenRecord {
    id: Token,
    piece: Piece,
}

/// What a token stands for: text, or bytes where they are only a part of a character.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Piece {
    Text(String),
    Bytes(Vec<u8>),
}

/// Times in nanoseconds.
#[derive(Serialize, ToSchema)]
struct DetokenizeRecord {
    model: String,
    content: String,
    total_duration: u64,
    load_duration: u64,
}

impl Target {
    fn take(fields: &mut Fields) -> Result<Self, Mismatch> {
        Ok(Self {
            model: fields.take_name()?,
            keep_alive: fields.take("keep_alive")?,
        })
    }

    async fn open(&self, app: &App) -> Result<Session, Error> {
        let model = app.find(&self.model, Refusals::RequiredPullFirst).await?;
        let purpose = Purpose {
            operation: "tokenize",
            options: LoadOptions::default(),
            keep_alive: self.keep_alive.0,
        };
        Session::open(app, &model, purpose).await
    }
}

impl FromJson for TokenizeRequest {
    const GO_TYPE: &'static str = "TokenizeRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let content = fields.take_any(&["content", "text", "prompt", "input"])?;
        let parse_special: Option<bool> = fields.take("parse_special")?;
        Ok(Self {
            target: Target::take(&mut fields)?,
            content,
            add_special: fields.take("add_special")?,
            parse_special: parse_special.unwrap_or(true),
            with_pieces: fields.take("with_pieces")?,
        })
    }
}

impl FromJson for DetokenizeRequest {
    const GO_TYPE: &'static str = "DetokenizeRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            target: Target::take(&mut fields)?,
            tokens: fields.take("tokens")?,
        })
    }
}

/// For the document.
pub fn about_tokenize() -> About {
    About::new("Turn a text into tokens")
        .takes::<TokenizeRequest>()
        .gives::<TokenizeRecord>()
}

/// Turns a text into tokens.
pub async fn tokenize(
    State(app): State<Arc<App>>,
    Json(request): Json<TokenizeRequest>,
) -> Result<Response, Error> {
    let required = || Error::BadRequest("content is required".into());
    let content = request.content.ok_or_else(required)?;
    let mut session = request.target.open(&app).await?;
    let tokens = session
        .lease
        .tokenize(content, request.add_special, request.parse_special)
        .await;
    let tokens = session.checked(tokens)?;
    let tokens = if request.with_pieces {
        let pieces = session.lease.pieces(tokens.clone()).await;
        let pieces = session.checked(pieces)?;
        let record = |(id, piece)| TokenRecord {
            id,
            piece: Piece::of(piece),
        };
        Tokens::WithPieces(tokens.into_iter().zip(pieces).map(record).collect())
    } else {
        Tokens::Bare(tokens)
    };
    session.request.ended(Outcome::Answered);
    let record = TokenizeRecord {
        model: request.target.model,
        tokens,
        total_duration: nanoseconds(session.request.elapsed()),
        load_duration: nanoseconds(session.load),
    };
    Ok(reply::json(StatusCode::OK, &record))
}

/// For the document.
pub fn about_detokenize() -> About {
    About::new("Turn tokens into text")
        .takes::<DetokenizeRequest>()
        .gives::<DetokenizeRecord>()
}

/// Turns tokens into a text.
pub async fn detokenize(
    State(app): State<Arc<App>>,
    Json(request): Json<DetokenizeRequest>,
) -> Result<Response, Error> {
    let required = || Error::BadRequest("tokens is required".into());
    let tokens = request.tokens.ok_or_else(required)?;
    let mut session = request.target.open(&app).await?;
    let content = session.lease.detokenize(tokens).await;
    let content = session.checked(content)?;
    session.request.ended(Outcome::Answered);
    let record = DetokenizeRecord {
        model: request.target.model,
        content,
        total_duration: nanoseconds(session.request.elapsed()),
        load_duration: nanoseconds(session.load),
    };
    Ok(reply::json(StatusCode::OK, &record))
}

impl Piece {
    fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Bytes(error.into_bytes()),
        }
    }
}

//! POST `/v1/embeddings`: texts to vectors.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::record;
use crate::api::body::Body;
use crate::api::encoding::{LongTexts, TextsOrTokens, take_prompt};
use crate::api::extension::Extension;
use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::openapi::About;
use crate::api::options::Options;
use crate::api::session::{Purpose, Session};
use crate::api::{App, Error};
use crate::duration::KeepAlive;
use crate::inference::encode::{Embed, Input, Overflow, Prompt, TooLong};
use crate::store::Parameters;

/// The body.
pub struct EmbeddingRequest {
    model: String,
    inputs: Vec<Input>,
    prompt: Prompt,
    dimensions: Option<u32>,
    normalize: bool,
    encoding: Encoding,
    keep_alive: Option<KeepAlive>,
    parameters: Parameters,
    too_long: TooLong,
}

/// `encoding_format`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Encoding {
    /// A list of numbers.
    #[default]
    Float,
    /// 32-bit floats, little-endian, as base64: a quarter of the length.
    Base64,
}

#[derive(Serialize, ToSchema)]
struct EmbeddingList {
    object: &'static str,
    data: Vec<EmbeddingRecord>,
    model: String,
    usage: EmbeddingUsage,
}

#[derive(Serialize, ToSchema)]
struct EmbeddingRecord {
    object: &'static str,
    embedding: Vector,
    index: usize,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Serialize, ToSchema)]
struct EmbeddingUsage {
    prompt_tokens: u32,
    total_tokens: u32,
}

impl Default for EmbeddingRequest {
    fn default() -> Self {
        Self {
            model: String::new(),
            inputs: Vec::new(),
            prompt: Prompt::Default,
            dimensions: None,
            normalize: true,
            encoding: Encoding::Float,
            keep_alive: None,
            parameters: Parameters::default(),
            too_long: TooLong::Cut(None),
        }
    }
}

impl FromJson for EmbeddingRequest {
    const GO_TYPE: &'static str = "EmbedRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let TextsOrTokens(inputs) = fields.take("input")?;
        if inputs.is_empty() {
            return Err(Mismatch::Value("invalid input".into()));
        }
        let extension = Extension::take(&mut fields)?;
        let dimensions: i64 = fields.take("dimensions")?;
        let normalize: Option<bool> = fields.take("normalize")?;
        Ok(Self {
            model: fields.take("model")?,
            inputs,
            prompt: take_prompt(&mut fields)?,
            normalize: normalize.unwrap_or(true),
            dimensions: u32::try_from(dimensions).ok().filter(|count| *count > 0),
            encoding: fields.take("encoding_format")?,
            keep_alive: extension.keep_alive,
            parameters: extension.parameters,
            too_long: LongTexts::take(&mut fields)?.rule(extension.truncate),
        })
    }
}

impl FromJson for Encoding {
    const GO_TYPE: &'static str = "string";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let name = String::from_json(value)?;
        match name.to_lowercase().as_str() {
            "" | "float" => Ok(Self::Float),
            "base64" => Ok(Self::Base64),
            _ => Err(Mismatch::Value(format!(
                "Invalid value for 'encoding_format' = {name}. Supported values: ['float', 'base64']."
            ))),
        }
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Turn texts into vectors")
        .takes::<EmbeddingRequest>()
        .gives::<EmbeddingList>()
}

/// Embeds the texts.
pub async fn embeddings(
    State(app): State<Arc<App>>,
    Body(request): Body<EmbeddingRequest>,
) -> Result<Response, Error> {
    let model = app.find(&request.model, Refusals::PullFirst).await?;
    let options = Options::over(&model.parameters, request.parameters)?;
    let purpose = Purpose {
        operation: "embed",
        options: options.load_to_encode(),
        keep_alive: request.keep_alive,
    };
    let mut session = Session::open(&app, &model, purpose).await?;
    let job = Embed {
        inputs: request.inputs,
        prompt: request.prompt,
        overflow: Overflow {
            too_long: request.too_long,
            max_tokens: Some(options.text_tokens(app.config.context)),
        },
        dimensions: request.dimensions,
        normalize: request.normalize,
    };
    let embedded = session.encode(job).await?;
    let vectors = embedded.results.into_iter().enumerate();
    let prompt_tokens = embedded.usage.prompt_tokens;
    Ok(record::json(&EmbeddingList {
        object: "list",
        data: vectors
            .map(|(index, vector)| EmbeddingRecord {
                object: "embedding",
                embedding: Vector::of(vector, request.encoding),
                index,
            })
            .collect(),
        model: request.model,
        usage: EmbeddingUsage {
            prompt_tokens,
            total_tokens: prompt_tokens,
        },
    }))
}

impl Vector {
    fn of(vector: Vec<f32>, encoding: Encoding) -> Self {
        match encoding {
            Encoding::Float => Self::Float(vector),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|it| it.to_le_bytes()).collect();
                Self::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<EmbeddingRequest, String> {
        EmbeddingRequest::from_json(body).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_and_nonsense_are_refused() {
        let check = |body: Value, expected: &str| {
            assert_eq!(read(body.clone()).err().unwrap(), expected, "{body}");
        };
        for nothing in [json!({}), json!({"input": null}), json!({"input": []})] {
            check(nothing, "invalid input");
        }
        for nonsense in [json!(1), json!([{}]), json!([1, "a"])] {
            check(json!({"input": nonsense}), "invalid input type");
        }
        check(
            json!({"input": "a", "encoding_format": "int8"}),
            "Invalid value for 'encoding_format' = int8. Supported values: ['float', 'base64'].",
        );
    }

    #[test]
    fn base64_holds_little_endian_floats() {
        let Vector::Base64(text) = Vector::of(vec![1.0, -2.0], Encoding::Base64) else {
            panic!("a text was asked for");
        };
        assert_eq!(text, "AACAPwAAAMA=");
    }
}

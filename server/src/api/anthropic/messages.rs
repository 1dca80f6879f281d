//! POST `/v1/messages`: the next message of a conversation.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::reply::{Event, MessageRecord, Narrated, Shown};
use super::request;
use crate::api::blocks;
use crate::api::body::Body;
use crate::api::chat::Chat;
use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::number::Float;
use crate::api::openapi::About;
use crate::api::sse::sse;
use crate::api::{App, Error};
use crate::store::Parameters;
use crate::store::parameters::Parameter;

/// The body.
#[derive(Default)]
pub struct MessagesRequest {
    chat: Chat,
    stop_sequences: Vec<String>,
    stream: bool,
}

impl FromJson for MessagesRequest {
    const GO_TYPE: &'static str = "MessagesRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        if fields.look::<String>("model")?.is_empty() {
            return Err(Mismatch::Value("model is required".into()));
        }
        let max_tokens: i64 = fields.take("max_tokens")?;
        if max_tokens <= 0 {
            return Err(Mismatch::Value(
                "max_tokens is required and must be positive".into(),
            ));
        }
        let mut parameters = Parameters::default();
        parameters.set("num_predict", Parameter::Integer(max_tokens));
        for name in ["temperature", "top_p"] {
            if let Some(Float(number)) = fields.take(name)? {
                parameters.set(name, Parameter::Float(number));
            }
        }
        if let Some(number) = fields.take::<Option<i64>>("top_k")? {
            parameters.set("top_k", Parameter::Integer(number));
        }
        let stop_sequences: Vec<String> = fields.take("stop_sequences")?;
        if !stop_sequences.is_empty() {
            parameters.set("stop", Parameter::Texts(stop_sequences.clone()));
        }
        let mut chat = request::take(&mut fields)?;
        chat.manner.parameters.merge(parameters);
        Ok(Self {
            chat,
            stop_sequences,
            stream: fields.take("stream")?,
        })
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Answer a conversation")
        .takes::<MessagesRequest>()
        .gives_or_tells::<MessageRecord<'_>, Event<'_>>()
}

/// Answers the conversation.
pub async fn messages(
    State(app): State<Arc<App>>,
    Body(request): Body<MessagesRequest>,
) -> Result<Response, Error> {
    let mut chat = request.chat;
    let typed_model = chat.conversation.typed_model.clone();
    let model = app.find(&typed_model, Refusals::Required).await?;
    request::relax_thinking(&mut chat, &model);
    let shown = Shown::new(typed_model, request.stop_sequences);
    let answers = chat.prepare(&app, &model).await?.answers().await?;
    if request.stream {
        let narrator = Narrated::new(shown, answers.prompt_tokens());
        return sse(answers.pieces(), narrator).await;
    }
    let (blocks, ending) = blocks::whole(answers).await?;
    Ok(shown.whole(&blocks, &ending))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::shape::{Format, ToolChoice};
    use crate::prompt::{Effort, Think};

    fn read(body: Value) -> Result<MessagesRequest, String> {
        MessagesRequest::from_json(body).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_reach_the_job() {
        let request = read(json!({
            "model": "tiny", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}],
            "system": [{"type": "text", "text": "Be brief."}], "temperature": 0.5, "top_k": 3,
            "stop_sequences": ["END"], "tools": [{"name": "add", "input_schema": {}}],
            "tool_choice": {"type": "any"}, "output_config": {"effort": "xhigh", "format": {"type": "json_schema", "schema": {}}},
            "options": {"num_ctx": 512, "temperature": 2}, "metadata": {"user_id": "x"},
        }))
        .unwrap();
        let chat = request.chat;
        assert_eq!(chat.conversation.messages.len(), 2);
        assert_eq!(chat.conversation.think, Think::Level(Effort::High));
        assert_eq!(chat.shape.tool_choice, ToolChoice::Required);
        assert!(matches!(chat.shape.format, Format::Schema(_)));
        let expected = json!({"num_ctx": 512, "num_predict": 5, "stop": ["END"], "temperature": 0.5, "top_k": 3});
        assert_eq!(json!(chat.manner.parameters), expected);
        assert_eq!(request.stop_sequences, ["END"]);
    }

    #[test]
    fn what_is_required_is_asked_for_in_ollama_s_words() {
        let message = json!({"role": "user", "content": "Hi"});
        let check = |body: Value, expected: &str| {
            assert_eq!(read(body.clone()).err().unwrap(), expected, "{body}");
        };
        check(json!({}), "model is required");
        let tokens = "max_tokens is required and must be positive";
        check(json!({"model": "tiny", "messages": [message]}), tokens);
        check(json!({"model": "tiny", "max_tokens": 0}), tokens);
        check(
            json!({"model": "tiny", "max_tokens": 1}),
            "messages is required",
        );
    }
}

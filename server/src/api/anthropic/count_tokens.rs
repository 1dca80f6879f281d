//! POST `/v1/messages/count_tokens`: how long a conversation is, counted by the model's own template and vocabulary.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{reply, request};
use crate::api::body::Body;
use crate::api::chat::Chat;
use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::openapi::About;
use crate::api::{App, Error};

/// The body: that of `/v1/messages` without what is about the answer.
#[derive(Default)]
pub struct CountRequest(Chat);

#[derive(Serialize, ToSchema)]
struct CountRecord {
    input_tokens: usize,
}

impl FromJson for CountRequest {
    const GO_TYPE: &'static str = "CountTokensRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let mut chat = request::take(&mut fields)?;
        // Counted is what was asked, not what would be left of it.
        chat.manner.truncate = false;
        Ok(Self(chat))
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Count the tokens of a conversation")
        .takes::<CountRequest>()
        .gives::<CountRecord>()
}

/// Counts the tokens of the prompt.
pub async fn count_tokens(
    State(app): State<Arc<App>>,
    Body(CountRequest(mut chat)): Body<CountRequest>,
) -> Result<Response, Error> {
    let typed_model = chat.conversation.typed_model.clone();
    let model = app.find(&typed_model, Refusals::Required).await?;
    request::relax_thinking(&mut chat, &model);
    let ready = chat.prepare(&app, &model).await?;
    Ok(reply::json(&CountRecord {
        input_tokens: ready.into_prompt_tokens().await?,
    }))
}

//! Refusals in the words of whoever asked: a path belongs to a family of clients, and so does the shape of every error
//! on it, whether its route, a guard in front of it or no route at all has refused.

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::observe::REQUEST_ID;
use super::{anthropic, openai};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a reply refuses its request with, kept beside its body so that it can be told in another shape.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What the caller is told.
    pub text: String,
    /// What a program may look for, in OpenAI's words.
    pub code: Option<&'static str>,
}

/// Tells a refusal in the dialect of the path.
pub async fn in_dialect(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_anthropic = path == "/v1/messages" || path.starts_with("/v1/messages/");
    let is_openai = path.starts_with("/v1/") && !is_anthropic;
    let id = request.headers().get(&REQUEST_ID).cloned();

    let response = next.run(request).await;
    let Some(refusal) = response.extensions().get::<Refusal>() else {
        return response;
    };
    let status = response.status();
    let body = if is_anthropic {
        let id = id.as_ref().and_then(|id| id.to_str().ok());
        serde_json::to_vec(&anthropic::error(status, &refusal.text, id))
    } else if is_openai {
        serde_json::to_vec(&openai::error(status, refusal))
    } else {
        return response;
    };
    retold(response, body.expect("errors have string keys"))
}

/// The same reply with another body.
fn retold(response: Response, body: Vec<u8>) -> Response {
    let (mut head, _) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, JSON);
    Response::from_parts(head, body.into())
}

//! GET and HEAD `/`: what clients knock on. A browser is shown the playground.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::api::ui;

/// The text that tells clients they have found what they look for, or the page for people.
pub async fn root(headers: HeaderMap) -> Response {
    let mut response = if ui::is_wanted(&headers) {
        ui::playground()
    } else {
        "Ollama is running".into_response()
    };
    // Caches must not give the one to who wants the other.
    let accept = HeaderValue::from_static("Accept");
    response.headers_mut().append(header::VARY, accept);
    response
}

//! `/api/me`, `/api/signout` and `/api/user/keys/{key}`: accounts at ollama.com, where this server never signs in.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::{App, Error, reply};

const HOSTNAME_FILE: &str = "/proc/sys/kernel/hostname";

/// What is allowed in a URL's path or query as it is, of what host names are made of.
const PLAIN: &[u8] = b"-._~";

#[derive(Serialize, ToSchema)]
struct SignIn {
    error: &'static str,
    signin_url: String,
}

/// Nobody is signed in; the reply says where this machine's key could be registered, which pushing to ollama.com needs.
///
/// # Errors
/// When there is no key and none can be made.
pub async fn me(State(app): State<Arc<App>>) -> Result<Response, Error> {
    let key = app.registry.public_key().await.map_err(|error| {
        tracing::warn!(%error, "no key to sign in with");
        Error::Failed("error getting authorization details".into())
    })?;
    // A machine without a name can be given one on the page.
    let host = std::fs::read_to_string(HOSTNAME_FILE).unwrap_or_default();
    let host = escaped(host.trim());
    let body = SignIn {
        error: "unauthorized",
        signin_url: format!(
            "https://ollama.com/connect?name={host}&key={}",
            key.for_url()
        ),
    };
    Ok(reply::json(StatusCode::UNAUTHORIZED, &body))
}

/// Nobody is signed in who could sign out.
///
/// # Errors
/// Always.
pub async fn sign_out() -> Result<(), Error> {
    Err(Error::Unauthorized(
        "you are not currently signed in".into(),
    ))
}

fn escaped(text: &str) -> String {
    let escape = |byte: &u8| match byte {
        byte if byte.is_ascii_alphanumeric() || PLAIN.contains(byte) => {
            char::from(*byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.as_bytes().iter().map(escape).collect()
}

//! Which keys a route takes, where the server has keys at all.
//!
//! A caller shows one as `Authorization: Bearer KEY`, as clients of Ollama and OpenAI do, or as `x-api-key: KEY`, as clients of
//! Anthropic do. It is looked at before anything else of the request is, and on paths without a route too.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{App, Error, observe};
use crate::keys::{Key, Keys, Scope};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// How a key is to be shown.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"chaski\"");

/// For probes and balancers, and pages and a document that are the same on every server.
const OPEN: &[&str] = &[
    "/",
    "/healthz",
    "/health",
    "/readyz",
    "/openapi.json",
    "/ui",
    "/ui/",
    "/ui/{file}",
];

const READ: &[&str] = &[
    "/api/version",
    "/api/status",
    "/api/tags",
    "/api/ps",
    "/api/show",
    "/api/experimental/model-recommendations",
    "/v1/models",
    "/v1/models/{*name}",
    "/info",
    "/metrics",
];

const INFERENCE: &[&str] = &[
    "/api/generate",
    "/api/chat",
    "/api/embed",
    "/api/embeddings",
    "/api/tokenize",
    "/api/detokenize",
    "/api/rerank",
    "/api/experimental/web_search",
    "/api/experimental/web_fetch",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/audio/transcriptions",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
    "/classify",
    "/token_classify",
    "/embed",
    "/embed_all",
    "/embed_sparse",
    "/predict",
    "/similarity",
    "/tokenize",
    "/decode",
];

/// What a route takes; `None` if it is open. Whatever stands in no list takes everything.
fn needed(route: Option<&str>) -> Option<Scope> {
    let Some(route) = route else {
        // Whoever shows any key may hear that there is no such route.
        return Some(Scope::Read);
    };
    let is_in = |list: &[&str]| list.contains(&route);
    match route {
        _ if is_in(OPEN) => None,
        _ if is_in(READ) => Some(Scope::Read),
        _ if is_in(INFERENCE) => Some(Scope::Inference),
        _ => Some(Scope::Admin),
    }
}

tokio::task_local! {
    static CALLER: u64;
}

/// Whose request the current task handles: the same number for the same key, and 0 where no key was asked for.
#[must_use]
pub fn caller() -> u64 {
    CALLER.try_with(|caller| *caller).unwrap_or_default()
}

/// Lets those pass who show a key that the route takes.
pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(keys) = app.edge.keys() else {
        return next.run(request).await;
    };
    let route = request.extensions().get::<MatchedPath>();
    let Some(needed) = needed(route.map(MatchedPath::as_str)) else {
        return next.run(request).await;
    };
    match judge(&keys, request.headers(), needed) {
        Ok(key) => {
            observe::about_key(&key.name);
            CALLER.scope(key.number(), next.run(request)).await
        }
        Err(error @ Error::Unauthorized(_)) => {
            let mut response = error.into_response();
            response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
            response
        }
        Err(error) => error.into_response(),
    }
}

fn judge<'a>(keys: &'a Keys, headers: &HeaderMap, needed: Scope) -> Result<&'a Key, Error> {
    let mut shown = shown(headers).peekable();
    if shown.peek().is_none() {
        let how = "an API key is needed: Authorization: Bearer KEY, or x-api-key: KEY";
        return Err(Error::Unauthorized(how.into()));
    }
    let Some(key) = shown.find_map(|shown| keys.find(shown)) else {
        return Err(Error::Unauthorized("this API key is not known here".into()));
    };
    if key.scope < needed {
        let Key { scope, .. } = key;
        return Err(Error::Forbidden(format!(
            "this takes an API key of scope {needed}, and this one has {scope}"
        )));
    }
    Ok(key)
}

/// What the caller shows: clients that were given one key sometimes send a placeholder in the place of the other.
fn shown(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let bearer = bearer.and_then(|value| {
        let (scheme, key) = value.split_at_checked(b"Bearer ".len())?;
        scheme
            .eq_ignore_ascii_case(b"Bearer ")
            .then(|| key.trim_ascii())
    });
    let own = headers.get(X_API_KEY).map(HeaderValue::as_bytes);
    let own = own.map(<[u8]>::trim_ascii);
    bearer.into_iter().chain(own).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers<const N: usize>(pairs: [(&'static str, &str); N]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_key_is_read_as_clients_send_it() {
        let check = |headers: HeaderMap, expected: &[&str]| {
            let shown: Vec<&[u8]> = shown(&headers).collect();
            let expected: Vec<&[u8]> = expected.iter().map(|key| key.as_bytes()).collect();
            assert_eq!(shown, expected);
        };
        check(headers([]), &[]);
        check(headers([("authorization", "Bearer abc")]), &["abc"]);
        check(headers([("authorization", "bearer  abc ")]), &["abc"]);
        check(headers([("authorization", "Basic abc")]), &[]);
        check(headers([("authorization", "Bearer")]), &[]);
        check(headers([("authorization", "Bearer ")]), &[]);
        check(headers([("authorization", "abc")]), &[]);
        check(headers([("x-api-key", "abc")]), &["abc"]);
        let both = [("x-api-key", "abc"), ("authorization", "Bearer ollama")];
        check(headers(both), &["ollama", "abc"]);
    }

    #[test]
    fn a_route_takes_what_its_list_says_and_everything_if_it_stands_in_none() {
        assert_eq!(needed(Some("/readyz")), None);
        assert_eq!(needed(Some("/metrics")), Some(Scope::Read));
        assert_eq!(needed(Some("/v1/messages")), Some(Scope::Inference));
        assert_eq!(needed(Some("/api/delete")), Some(Scope::Admin));
        assert_eq!(needed(Some("/a/route/of/tomorrow")), Some(Scope::Admin));
        assert_eq!(needed(None), Some(Scope::Read));
    }
}

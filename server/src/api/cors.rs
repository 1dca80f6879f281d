//! Which web pages may use this server: Ollama's rules (gin-contrib/cors as `server/routes.go` sets it up).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, HOST, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const METHODS: HeaderValue = HeaderValue::from_static("GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS");

const HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,OpenAI-Beta,x-stainless-arch,x-stainless-async,\
     x-stainless-custom-poll-interval,x-stainless-helper-method,x-stainless-lang,x-stainless-os,\
     x-stainless-package-version,x-stainless-poll-helper,x-stainless-retry-count,x-stainless-runtime,\
     x-stainless-runtime-version,x-stainless-timeout",
);

/// Twelve hours.
const MAX_AGE_SECONDS: HeaderValue = HeaderValue::from_static("43200");

const ANY: HeaderValue = HeaderValue::from_static("*");

const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("Origin,Access-Control-Request-Method,Access-Control-Request-Headers");

/// Pages of this machine, and desktop applications that show pages.
const ALWAYS: &[&str] = &[
    "http://localhost",
    "https://localhost",
    "http://localhost:*",
    "https://localhost:*",
    "http://127.0.0.1",
    "https://127.0.0.1",
    "http://127.0.0.1:*",
    "https://127.0.0.1:*",
    "http://0.0.0.0",
    "https://0.0.0.0",
    "http://0.0.0.0:*",
    "https://0.0.0.0:*",
    "app://*",
    "file://*",
    "tauri://*",
    "vscode-webview://*",
    "vscode-file://*",
];

/// The origins that are let in.
#[derive(Clone, Debug)]
pub struct Origins {
    patterns: Arc<[Pattern]>,
    all: bool,
}

/// An origin in which one `*` stands for any text.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Pattern {
    before: String,
    /// None if there is no `*`.
    after: Option<String>,
}

impl Origins {
    /// Those of this machine, and `allowed`: origins as `OLLAMA_ORIGINS` lists them.
    #[must_use]
    pub fn new(allowed: &[String]) -> Self {
        let allowed = allowed.iter().map(String::as_str);
        Self {
            all: allowed.clone().any(|origin| origin.trim() == "*"),
            patterns: allowed
                .chain(ALWAYS.iter().copied())
                .map(Pattern::new)
                .collect(),
        }
    }

    fn allows(&self, origin: &str) -> bool {
        let origin = origin.to_lowercase();
        self.all || self.patterns.iter().any(|pattern| pattern.matches(&origin))
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let text = text.trim().to_lowercase();
        match text.split_once('*') {
            Some((before, after)) => Self {
                before: before.to_owned(),
                after: Some(after.to_owned()),
            },
            None => Self {
                before: text,
                after: None,
            },
        }
    }

    fn matches(&self, origin: &str) -> bool {
        match &self.after {
            None => origin == self.before,
            Some(after) => origin
                .strip_prefix(self.before.as_str())
                .is_some_and(|rest| rest.ends_with(after.as_str())),
        }
    }
}

/// Refuses pages that are not allowed, answers preflights, and tells browsers what the page may read.
pub async fn guard(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(ORIGIN).cloned() else {
        return next.run(request).await;
    };
    let text = origin.to_str().unwrap_or_default();
    if text.is_empty() || is_same_origin(text, request.headers()) {
        return next.run(request).await;
    }
    if !origins.allows(text) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let mut response = if request.method() == Method::OPTIONS {
        preflight()
    } else {
        let mut response = next.run(request).await;
        if !origins.all {
            response
                .headers_mut()
                .append(VARY, HeaderValue::from_static("Origin"));
        }
        response
    };
    let readers = if origins.all { ANY } else { origin };
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, readers);
    response
}

fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS);
    headers.insert(VARY, PREFLIGHT_VARY);
    response
}

fn is_same_origin(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    origin.is_some() && origin == host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_follow_the_list() {
        let configured = [
            "https://good.example".to_owned(),
            "chrome-extension://*".to_owned(),
            "http://*.lan".to_owned(),
        ];
        let origins = Origins::new(&configured);
        for allowed in [
            "http://localhost",
            "http://localhost:3000",
            "https://127.0.0.1:8443",
            "http://0.0.0.0:1",
            "app://obsidian.md",
            "vscode-webview://0abc",
            "vscode-file://vscode-app",
            "tauri://localhost",
            "file://",
            "https://good.example",
            "HTTPS://GOOD.example",
            "chrome-extension://abcdef",
            "http://a.lan",
        ] {
            assert!(origins.allows(allowed), "{allowed}");
        }
        for refused in [
            "http://evil.example",
            "http://good.example",
            "https://good.example:1",
            "http://localhost.evil.example",
            "https://good.example.evil",
            "null",
            "moz-extension://abcdef",
            "http://lan",
        ] {
            assert!(!origins.allows(refused), "{refused}");
        }
        assert!(Origins::new(&["*".to_owned()]).allows("http://evil.example"));
    }

    #[test]
    fn a_pattern_s_parts_do_not_overlap() {
        let pattern = Pattern::new("http://a*a");
        assert!(!pattern.matches("http://a"));
        assert!(pattern.matches("http://aa"));
    }
}

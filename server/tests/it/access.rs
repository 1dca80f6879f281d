//! API keys: what is refused without one, and what each scope allows.

use chaski::keys::{Key, Scope, Secret, add};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Reply, Server};

const ADMIN: &str = "the administrator's own key";

/// Answered without a key.
const OPEN: &[&str] = &["/", "/healthz", "/health", "/readyz", "/openapi.json"];

/// Allowed to whoever may only look.
const READ: &[&str] = &[
    "/api/version",
    "/api/status",
    "/api/tags",
    "/api/ps",
    "/api/show",
    "/api/experimental/model-recommendations",
    "/v1/models",
    "/v1/models/{name}",
    "/info",
    "/metrics",
];

/// Allowed to nobody who may only use models.
const CHANGES: &[&str] = &[
    "/api/create",
    "/api/copy",
    "/api/delete",
    "/api/pull",
    "/api/push",
    "/api/blobs/{digest}",
    "/api/me",
    "/api/signout",
    "/api/user/keys/{key}",
];

/// A server with a key of each scope, and the file that they stand in.
struct Guarded {
    server: Server,
    folder: TempDir,
    reader: Secret,
    user: Secret,
}

impl Guarded {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("keys");
        let key = |name, scope| {
            let (secret, key) = Key::make(name, scope).unwrap();
            add(&file, &key).unwrap();
            secret
        };
        let (reader, user) = (key("reader", Scope::Read), key("user", Scope::Inference));
        let variables = [
            ("CHASKI_KEYS", file.to_str().unwrap()),
            ("CHASKI_API_KEY", ADMIN),
        ];
        Self {
            server: Server::start_with(variables).await,
            folder,
            reader,
            user,
        }
    }

    fn ask(&self, method: Method, path: &str, key: Option<&str>) -> RequestBuilder {
        let request = self.server.request(method, path);
        match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }
}

/// The status with which a guard of keys has refused; whatever else became of the request is none of its business.
fn refused(reply: &Reply) -> Option<u16> {
    let status = reply.status.as_u16();
    // HEAD has no text to tell by, and no route answers it so.
    let is_ours = reply.text.contains("API key") || reply.text.is_empty();
    (matches!(status, 401 | 403) && is_ours).then_some(status)
}

#[tokio::test]
async fn every_route_takes_a_key_and_the_scope_it_needs() {
    let guarded = Guarded::start().await;
    let document = guarded.server.get("/openapi.json").await.json();
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let filled = path
                .replace("{digest}", "sha256:1")
                .replace("{name}", "none")
                .replace("{key}", "none");
            let asked = async |key| {
                let reply = Reply::of(guarded.ask(method.clone(), &filled, key)).await;
                refused(&reply)
            };
            let (is_open, is_read) = (OPEN.contains(&&**path), READ.contains(&&**path));
            let may_use = !CHANGES.contains(&&**path);
            let none = (!is_open).then_some(401);
            assert_eq!(asked(None).await, none, "{method} {path}");
            assert_eq!(asked(Some("chaski-wrong")).await, none, "{method} {path}");
            let reader = (!is_open && !is_read).then_some(403);
            assert_eq!(
                asked(Some(guarded.reader.reveal())).await,
                reader,
                "{method} {path}"
            );
            let user = (!may_use).then_some(403);
            assert_eq!(
                asked(Some(guarded.user.reveal())).await,
                user,
                "{method} {path}"
            );
            assert_eq!(asked(Some(ADMIN)).await, None, "{method} {path}");
            seen += 1;
        }
    }
    assert!(seen >= 45, "{seen}");
    // What is no route, or no method of one, is not told to strangers.
    for (method, path) in [
        (Method::GET, "/nothing"),
        (Method::GET, "//api/tags"),
        (Method::PUT, "/api/tags"),
        (Method::HEAD, "/api/tags"),
    ] {
        let reply = Reply::of(guarded.ask(method.clone(), path, None)).await;
        assert_eq!(refused(&reply), Some(401), "{method} {path}");
    }
}

#[tokio::test]
async fn a_prompt_goes_on_only_from_what_its_own_caller_asked() {
    let guarded = Guarded::start().await;
    let cached = async |key| {
        let body = json!({
            "model": "tiny", "max_tokens": 1,
            "messages": [{"role": "user", "content": "Which of the five oceans is the deepest, and how deep is it there?"}],
        });
        let request = guarded
            .ask(Method::POST, "/v1/chat/completions", Some(key))
            .json(&body);
        let reply: Value = serde_json::from_str(&Reply::of(request).await.text).unwrap();
        reply["usage"]["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(cached(guarded.user.reveal()).await, 0);
    assert_eq!(cached(ADMIN).await, 0);
    assert!(cached(guarded.user.reveal()).await > 10);
    assert!(cached(ADMIN).await > 10);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_dialect_of_the_route() {
    let guarded = Guarded::start().await;
    let reply = async |path: &str, key: Option<&str>| -> (u16, Value) {
        let reply = Reply::of(guarded.ask(Method::POST, path, key)).await;
        let body = serde_json::from_str(&reply.text).unwrap();
        (reply.status.as_u16(), body)
    };
    let needed = "an API key is needed: Authorization: Bearer KEY, or x-api-key: KEY";
    let unknown = "this API key is not known here";
    let reader = Some(guarded.reader.reveal());
    let scope = "this takes an API key of scope inference, and this one has read";

    let told = json!({"error": needed});
    assert_eq!(reply("/api/chat", None).await, (401, told));
    let told = json!({"error": unknown});
    assert_eq!(reply("/api/chat", Some("chaski-x")).await, (401, told));
    let told = json!({"error": scope});
    assert_eq!(reply("/api/chat", reader).await, (403, told));

    let (status, told) = reply("/v1/chat/completions", Some("sk-x")).await;
    let error = json!({"message": unknown, "type": "authentication_error", "param": null, "code": "invalid_api_key"});
    assert_eq!((status, &told["error"]), (401, &error));
    let (status, told) = reply("/v1/chat/completions", reader).await;
    let error = json!({"message": scope, "type": "permission_error", "param": null, "code": null});
    assert_eq!((status, &told["error"]), (403, &error));

    let (status, told) = reply("/v1/messages", None).await;
    let error = json!({"type": "authentication_error", "message": needed});
    assert_eq!((status, &told["error"]), (401, &error));
    assert_eq!(told["type"], "error");
    let (status, told) = reply("/v1/messages", reader).await;
    assert_eq!(
        (status, &told["error"]["type"]),
        (403, &"permission_error".into())
    );

    let response = guarded.ask(Method::GET, "/api/tags", None).send().await;
    let response = response.unwrap();
    assert_eq!(
        response.headers()["www-authenticate"],
        "Bearer realm=\"chaski\""
    );
}

#[tokio::test]
async fn a_key_works_however_clients_show_it() {
    let guarded = Guarded::start().await;
    let status = async |pairs: &[(&str, &str)]| {
        let mut request = guarded.server.request(Method::GET, "/api/tags");
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        Reply::of(request).await.status.as_u16()
    };
    let key = guarded.user.reveal();
    let bearer = format!("Bearer {key}");
    assert_eq!(status(&[("authorization", &bearer)]).await, 200);
    assert_eq!(status(&[("x-api-key", key)]).await, 200);
    // As clients do that were told both.
    let placeholder = ("authorization", "Bearer ollama");
    assert_eq!(status(&[placeholder, ("x-api-key", key)]).await, 200);
    assert_eq!(status(&[placeholder]).await, 401);
    assert_eq!(status(&[("authorization", key)]).await, 401);
    assert_eq!(status(&[("x-api-key", &key[..key.len() - 1])]).await, 401);

    // A page asks first whether it may ask, and shows no key then.
    let preflight = |origin: &str| {
        let request = guarded.server.request(Method::OPTIONS, "/api/chat");
        Reply::of(request.header("origin", origin))
    };
    assert_eq!(preflight("http://localhost:3000").await.status, 204);
    assert_eq!(preflight("http://evil.example").await.status, 403);

    let body =
        json!({"model": "tiny", "prompt": "Hello", "stream": false, "options": {"num_predict": 2}});
    let request = guarded.ask(Method::POST, "/api/generate", Some(key));
    let reply = Reply::of(request.body(body.to_string())).await.json();
    assert_eq!(reply["done"], true);
}

#[tokio::test]
async fn the_file_of_keys_can_be_changed_while_the_server_runs() {
    let guarded = Guarded::start().await;
    let file = guarded.folder.path().join("keys");
    let status = async |key: &Secret| {
        let request = guarded.ask(Method::GET, "/api/tags", Some(key.reveal()));
        Reply::of(request).await.status.as_u16()
    };
    let (newcomer, line) = Key::make("newcomer", Scope::Read).unwrap();
    std::fs::write(&file, format!("{line}\n")).unwrap();
    assert_eq!(
        (status(&newcomer).await, status(&guarded.user).await),
        (401, 200)
    );
    guarded.server.app.edge.reload().unwrap();
    assert_eq!(
        (status(&newcomer).await, status(&guarded.user).await),
        (200, 401)
    );
    // A mistake in the file neither locks everybody out nor lets everybody in.
    for mistake in ["", "nonsense\n"] {
        std::fs::write(&file, mistake).unwrap();
        assert!(guarded.server.app.edge.reload().is_err());
        assert_eq!(
            (status(&newcomer).await, status(&guarded.user).await),
            (200, 401)
        );
    }
}

#[tokio::test]
async fn without_keys_whatever_clients_show_is_passed_over() {
    let server = Server::start().await;
    let request = server
        .request(Method::GET, "/api/tags")
        .bearer_auth("ollama");
    assert_eq!(Reply::of(request).await.status, 200);
}

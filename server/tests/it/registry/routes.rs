//! `/api/pull`, `/api/push`, and everything about accounts and clouds, as Ollama's clients see them.

use axum::http::Method;
use serde_json::{Value, json};

use super::publish;
use super::scripted::{Scripted, stuck};
use crate::server::{Reply, Server};
use crate::support::eventually;

/// Status and error of a refusal.
fn refusal(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

#[tokio::test]
async fn a_pull_tells_how_it_goes() {
    let registry = Scripted::start().await;
    let model = publish(&registry, 5000);
    let server = Server::start().await;
    let name = registry.name("library/model");
    let reply = server
        .post("/api/pull", json!({"name": name, "insecure": true}))
        .await;
    let lines = reply.lines();
    assert_eq!(lines[0], json!({"status": "pulling manifest"}));
    let whole = json!({
        "status": format!("pulling {}", model.weights.short()),
        "digest": model.weights.to_string(),
        "total": 5000,
        "completed": 5000,
    });
    assert!(lines.contains(&whole), "{lines:?}");
    assert_eq!(lines.last().unwrap(), &json!({"status": "success"}));
    let reply = server
        .post("/api/pull", json!({"model": name, "stream": false}))
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.text.as_str()),
        (200, "{\"status\":\"success\"}")
    );
}

#[tokio::test]
async fn a_built_in_model_that_was_deleted_is_pulled_out_of_the_binary() {
    let server = Server::start().await;
    let shown = async |name: &str| {
        let reply = server.post("/api/show", json!({"model": name})).await;
        reply.status.as_u16()
    };
    let delete = async || {
        let request = server.request(Method::DELETE, "/api/delete");
        let body = json!({"model": "tiny-classify"}).to_string();
        assert_eq!(Reply::of(request.body(body)).await.status.as_u16(), 200);
        assert_eq!(shown("tiny-classify").await, 404);
    };
    delete().await;
    for name in ["tiny-classify", "library/tiny-classify:latest"] {
        let reply = server.post("/api/pull", json!({"model": name})).await;
        let lines = ["pulling manifest", "writing manifest", "success"];
        assert_eq!(reply.lines(), lines.map(|status| json!({"status": status})));
        assert_eq!(shown("tiny-classify").await, 200);
    }
    let body = json!({"model": "tiny-classify", "input": "I love it"});
    assert_eq!(server.post("/classify", body).await.status.as_u16(), 200);
    // Who builds upon it pulls it too.
    delete().await;
    let body = json!({"model": "mine", "from": "tiny-classify", "stream": false});
    let reply = server.post("/api/create", body).await;
    assert_eq!(reply.json()["status"], "success");
    assert_eq!(shown("mine").await, 200);
}

#[tokio::test]
async fn a_server_that_stops_does_not_wait_for_pulls() {
    let registry = Scripted::start().await;
    publish(&registry, 5000);
    let own = registry.clone();
    registry.rule(move |asked| asked.is_blob().then(|| stuck(own.blob(asked), 1000)));
    // Longer than any test takes.
    let mut server = Server::start_with([("CHASKI_DRAIN_TIMEOUT", "1h")]).await;
    let name = registry.name("library/model");
    let pull = |streams: bool| {
        let request = server.request(Method::POST, "/api/pull");
        request.body(json!({"model": name, "stream": streams}).to_string())
    };
    let (streamed, whole) = (pull(true), pull(false));
    let streamed = tokio::spawn(Reply::of(streamed));
    let whole = tokio::spawn(Reply::of(whole));
    eventually("the blobs are asked for", || {
        registry.count(|asked| asked.is_manifest()) == 2
            && registry.count(|asked| asked.is_blob()) > 0
    })
    .await;
    server.stop();
    let text = "the server is shutting down; what has come is kept for the next pull";
    let lines = streamed.await.unwrap().lines();
    assert_eq!(lines.last().unwrap(), &json!({"error": text}));
    assert_eq!(whole.await.unwrap().error(), refusal(503, text));
    server.stopped().await;
}

#[tokio::test]
async fn what_fails_is_told_in_ollamas_way() {
    let registry = Scripted::start().await;
    let server = Server::start().await;
    let absent = registry.name("library/absent");
    let reply = server.post("/api/pull", json!({"model": absent})).await;
    let missing = json!({"error": "pull model manifest: file does not exist"});
    assert_eq!(
        reply.lines(),
        [json!({"status": "pulling manifest"}), missing]
    );
    let reply = server
        .post("/api/pull", json!({"model": absent, "stream": false}))
        .await;
    assert_eq!(
        reply.error(),
        refusal(500, "pull model manifest: file does not exist")
    );

    let check = async |path: &str, body: &str, status: u16, error: &str| {
        let reply = server.post_text(path, body).await;
        assert_eq!(reply.error(), refusal(status, error), "{path} {body}");
    };
    check("/api/pull", "", 400, "missing request body").await;
    check("/api/pull", "{}", 400, "invalid model name").await;
    check(
        "/api/pull",
        r#"{"model":"a/../../b"}"#,
        400,
        "invalid model name",
    )
    .await;
    check(
        "/api/pull",
        r#"{"model":"ftp://host/a/b"}"#,
        400,
        "invalid model name",
    )
    .await;
    check(
        "/api/pull",
        r#"{"model":"http://192.0.2.1/a/b"}"#,
        500,
        "insecure protocol http",
    )
    .await;
    check("/api/push", "{}", 400, "model is required").await;
    check(
        "/api/push",
        r#"{"model":"nothing","stream":false}"#,
        500,
        "model 'nothing:latest' not found",
    )
    .await;
    let reply = server.post("/api/push", json!({"model": "nothing"})).await;
    let statuses: Vec<_> = reply
        .lines()
        .iter()
        .map(|line| line["status"].clone())
        .collect();
    assert_eq!(
        statuses,
        [
            json!("retrieving manifest"),
            json!("couldn't retrieve manifest"),
            Value::Null
        ]
    );
}

#[tokio::test]
async fn a_model_goes_to_a_registry_and_comes_back_as_it_was() {
    let registry = Scripted::start().await;
    let server = Server::start().await;
    let name = format!("{}/me/tiny-classify", registry.address);
    let copied = server
        .post(
            "/api/copy",
            json!({"source": "tiny-classify", "destination": name}),
        )
        .await;
    assert_eq!(copied.status.as_u16(), 200);
    let digest = async || {
        let tags = server.get("/api/tags").await.json();
        let models = tags["models"].as_array().unwrap().clone();
        let found = models
            .into_iter()
            .find(|model| model["name"] == json!(format!("{name}:latest")));
        found.map(|model| model["digest"].clone())
    };
    let before = digest().await;
    let pushed = server
        .post(
            "/api/push",
            json!({"model": name, "insecure": true, "stream": false}),
        )
        .await;
    assert_eq!(pushed.text, "{\"status\":\"success\"}");
    for model in [&name, "tiny-classify"] {
        let deleted = server
            .request(Method::DELETE, "/api/delete")
            .body(json!({"model": model}).to_string());
        assert_eq!(Reply::of(deleted).await.status.as_u16(), 200);
    }
    assert_eq!(digest().await, None);
    let pulled = server
        .post(
            "/api/pull",
            json!({"model": name, "insecure": true, "stream": false}),
        )
        .await;
    assert_eq!(pulled.text, "{\"status\":\"success\"}");
    assert_eq!(digest().await, before);
    let classified = server
        .post("/classify", json!({"model": name, "input": "wonderful"}))
        .await;
    assert_eq!(classified.status.as_u16(), 200);
}

#[tokio::test]
async fn a_model_is_not_made_of_what_cannot_be_pulled() {
    let registry = Scripted::start().await;
    let server = Server::start().await;
    let base = format!("{}/me/base", registry.address);
    let request = json!({"model": "derived", "from": base, "system": "Be brief."});
    let lines = server.post("/api/create", request.clone()).await.lines();
    assert_eq!(lines[0], json!({"status": "pulling manifest"}));
    let error = lines[1]["error"].as_str().unwrap();
    // Over TLS, which the scripted registry does not speak.
    assert!(
        error.starts_with("pull model manifest: Get \"https://"),
        "{error}"
    );
    let reply = server
        .post("/api/create", json!({"model": "x", "from": "big:cloud"}))
        .await;
    let inference = "ollama cloud is disabled: remote model is unavailable";
    assert_eq!(reply.error(), refusal(403, inference));
}

#[tokio::test]
async fn models_of_the_cloud_are_refused_wherever_they_are_named() {
    let server = Server::start().await;
    let inference = "ollama cloud is disabled: remote model is unavailable";
    let bodies = [
        ("/api/generate", json!({"prompt": "x"})),
        ("/api/chat", json!({"messages": []})),
        ("/api/embed", json!({"input": "x"})),
        ("/api/embeddings", json!({"prompt": "x"})),
    ];
    for (path, mut body) in bodies {
        for model in ["big:cloud", "big:120b-cloud", "big:120b:cloud", "BIG:Cloud"] {
            body["model"] = json!(model);
            let reply = server.post(path, body.clone()).await;
            assert_eq!(reply.error(), refusal(403, inference), "{path} {model}");
        }
        body["model"] = json!("tiny:cloud:local");
        let reply = server.post(path, body.clone()).await;
        let both = "use either :local or :cloud, not both: \"tiny:cloud:local\"";
        assert_eq!(reply.error(), refusal(400, both), "{path}");
    }
    let reply = server
        .post("/api/show", json!({"model": "big:cloud"}))
        .await;
    let details = "ollama cloud is disabled: remote model details are unavailable";
    assert_eq!(reply.error(), refusal(403, details));
    let reply = server
        .post("/api/show", json!({"model": "tiny:local"}))
        .await;
    assert_eq!(reply.status.as_u16(), 200);
    let reply = server
        .post("/api/chat", json!({"model": "tiny:latest:local"}))
        .await;
    assert_eq!(reply.status.as_u16(), 200);
    let gone = server
        .request(Method::DELETE, "/api/delete")
        .body(json!({"model": "big:120b:cloud"}).to_string());
    let reply = Reply::of(gone).await;
    assert_eq!(
        reply.error(),
        refusal(404, "model 'big:120b:cloud' not found")
    );
}

#[tokio::test]
async fn a_server_of_local_models_has_no_account_and_no_web() {
    let home = tempfile::TempDir::new().unwrap();
    let server = Server::start_with([("HOME", home.path().to_str().unwrap())]).await;
    let reply = server.post_text("/api/me", "").await;
    let body: Value = serde_json::from_str(&reply.text).unwrap();
    assert_eq!(
        (reply.status.as_u16(), &body["error"]),
        (401, &json!("unauthorized"))
    );
    let url = body["signin_url"].as_str().unwrap();
    assert!(
        url.starts_with("https://ollama.com/connect?name=")
            && url.contains("&key=c3NoLWVkMjU1MTkg"),
        "{url}"
    );
    let signed_out = refusal(401, "you are not currently signed in");
    let reply = server.post_text("/api/signout", "").await;
    assert_eq!(reply.error(), signed_out);
    let reply = Reply::of(server.request(Method::DELETE, "/api/user/keys/abc")).await;
    assert_eq!(reply.error(), signed_out);
    for (route, what) in [("web_search", "web search"), ("web_fetch", "web fetch")] {
        let path = format!("/api/experimental/{route}");
        let reply = server
            .post(&path, json!({"query": "x", "url": "http://127.0.0.1/"}))
            .await;
        let error = format!("ollama cloud is disabled: {what} is unavailable");
        assert_eq!(reply.error(), refusal(403, &error));
        assert_eq!(server.post_text(&path, "").await.status.as_u16(), 400);
    }
    let reply = server.get("/api/experimental/model-recommendations").await;
    assert_eq!(reply.json()["recommendations"][0]["model"], "tiny");
}

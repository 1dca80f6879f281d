//! Who is told which secret: tokens and signatures go to the registry that the model's name contains, and nowhere else.

use std::sync::{Arc, Mutex};

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chaski::registry::Credentials;
use ed25519_dalek::{Signature, VerifyingKey};

use super::scripted::{Asked, Scripted, redirect, status};
use super::{Puller, publish, request, told};

const TOKEN: &str = "Bearer sesame";

fn authorization(asked: &Asked) -> Option<&str> {
    asked.header(axum::http::header::AUTHORIZATION)
}

fn challenge(realm: &str) -> Response {
    let mut response = status(401);
    let value = format!(
        "Bearer realm=\"{realm}\",service=\"{realm}\",scope=\"repository:library/model:pull\""
    );
    response
        .headers_mut()
        .insert("www-authenticate", value.parse().unwrap());
    response
}

/// Wants a token for everything, which it issues itself.
fn guard(registry: &Scripted) {
    let realm = registry.url("/token");
    registry.rule(move |asked| match asked.path() {
        "/token" => Some("{\"token\":\"sesame\"}".into_response()),
        _ if authorization(asked) != Some(TOKEN) => Some(challenge(&realm)),
        _ => None,
    });
}

#[tokio::test]
async fn a_token_is_asked_for_with_a_signature_and_used_from_then_on() {
    let registry = Scripted::start().await;
    publish(&registry, 1000);
    guard(&registry);
    let puller = Puller::new();
    puller.pull(&registry.name("library/model")).await.unwrap();
    let asked = registry.asked();
    let tokens: Vec<&Asked> = asked
        .iter()
        .filter(|asked| asked.path() == "/token")
        .collect();
    assert_eq!(tokens.len(), 1);
    assert!(
        asked
            .iter()
            .skip(2)
            .all(|asked| authorization(asked) == Some(TOKEN))
    );

    // As Ollama's registry checks it: the key signs the method, the URL and the digest of nothing.
    let (key, signature) = authorization(tokens[0]).unwrap().split_once(':').unwrap();
    let public = puller.registry.public_key().await.unwrap();
    assert_eq!(public.to_string(), format!("ssh-ed25519 {key}"));
    let key = STANDARD.decode(key).unwrap();
    let key = VerifyingKey::from_bytes(&key[key.len() - 32..].try_into().unwrap()).unwrap();
    let signature = Signature::from_slice(&STANDARD.decode(signature).unwrap()).unwrap();
    let nothing =
        STANDARD.encode("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let message = format!("GET,{},{nothing}", registry.url(&tokens[0].target));
    key.verify_strict(message.as_bytes(), &signature).unwrap();
    assert!(
        tokens[0]
            .target
            .contains("scope=repository%3Alibrary%2Fmodel%3Apull")
    );
}

#[tokio::test]
async fn a_realm_of_another_host_hears_nothing() {
    let thief = Scripted::start().await;
    let registry = Scripted::start().await;
    publish(&registry, 1000);
    let realm = thief.url("/token");
    registry.rule(move |_| Some(challenge(&realm)));
    let puller = Puller::new();
    let error = puller
        .pull(&registry.name("library/model"))
        .await
        .unwrap_err();
    let expected = format!(
        "pull model manifest: realm host \"{}\" does not match original host \"{}\"",
        thief.address, registry.address
    );
    assert_eq!(error, expected);
    assert!(thief.asked().is_empty());
}

#[tokio::test]
async fn a_redirect_to_another_host_carries_no_token() {
    let storage = Scripted::start().await;
    let registry = Scripted::start().await;
    publish(&registry, 1000);
    publish(&storage, 1000);
    guard(&registry);
    let place = storage.clone();
    registry.rule(move |asked| asked.is_blob().then(|| redirect(&place.url(asked.path()))));
    let puller = Puller::new();
    puller.pull(&registry.name("library/model")).await.unwrap();
    assert!(!storage.asked().is_empty());
    assert!(
        storage
            .asked()
            .iter()
            .all(|asked| authorization(asked).is_none())
    );
}

#[tokio::test]
async fn a_token_service_that_redirects_gets_no_second_look() {
    let thief = Scripted::start().await;
    let registry = Scripted::start().await;
    let (realm, place) = (registry.url("/token"), thief.url("/token"));
    registry.rule(move |asked| match asked.path() {
        "/token" => Some(redirect(&place)),
        _ => Some(challenge(&realm)),
    });
    let puller = Puller::new();
    let error = puller
        .pull(&registry.name("library/model"))
        .await
        .unwrap_err();
    assert_eq!(error, "pull model manifest: unauthorized: access denied");
    assert!(thief.asked().is_empty());
}

#[tokio::test]
async fn who_is_refused_twice_is_refused() {
    let registry = Scripted::start().await;
    let realm = registry.url("/token");
    registry.rule(move |asked| match asked.path() {
        "/token" => Some("{\"token\":\"wrong\"}".into_response()),
        _ => Some(challenge(&realm)),
    });
    let error = Puller::new()
        .pull(&registry.name("library/model"))
        .await
        .unwrap_err();
    assert_eq!(error, "pull model manifest: unauthorized: access denied");
    assert_eq!(registry.asked().len(), 3);
}

#[tokio::test]
async fn tokens_are_bounded() {
    let registry = Scripted::start().await;
    let realm = registry.url("/token");
    registry.rule(move |asked| match asked.path() {
        "/token" => Some(format!("{{\"token\":\"{}\"}}", "x".repeat(70_000)).into_response()),
        _ => Some(challenge(&realm)),
    });
    let error = Puller::new()
        .pull(&registry.name("library/model"))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        "pull model manifest: the registry's reply is longer than 65536 bytes"
    );
}

#[tokio::test]
async fn a_name_and_password_are_for_registries_that_ask_for_them() {
    let registry = Scripted::start().await;
    publish(&registry, 1000);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_there = Arc::clone(&seen);
    registry.rule(move |asked| {
        let shown = authorization(asked).map(str::to_owned);
        seen_there.lock().unwrap().push(shown.clone());
        let mut response = status(401);
        response
            .headers_mut()
            .insert("www-authenticate", "Basic realm=\"x\"".parse().unwrap());
        (shown.as_deref() != Some("Basic bWU6c2VjcmV0")).then_some(response)
    });
    let puller = Puller::new();
    let mut request = request(&registry.name("library/model"));
    assert!(
        told(puller.registry.pull(request.clone()).unwrap())
            .await
            .is_err()
    );
    request.credentials = Some(Credentials {
        username: "me".into(),
        password: "secret".into(),
    });
    assert!(!format!("{request:?}").contains("secret"));
    seen.lock().unwrap().clear();
    told(puller.registry.pull(request).unwrap()).await.unwrap();
    // Not before it is asked for.
    assert_eq!(seen.lock().unwrap()[0], None);
}

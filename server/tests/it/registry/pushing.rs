//! Pushes, and pulls of what was pushed.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::Method;
use axum::response::IntoResponse;
use chaski::store::{Digest, Name};

use super::scripted::{Asked, Scripted, status};
use super::{Puller, publish};

const LENGTH: usize = 600_000;

/// A puller that has the model already, and the registry it will be pushed to.
async fn prepared() -> (Puller, Scripted, super::Model) {
    let (source, target) = (Scripted::start().await, Scripted::start().await);
    let model = publish(&source, LENGTH);
    let puller = Puller::new();
    puller.pull(&source.name("library/model")).await.unwrap();
    let from: Name = format!("{}/library/model", source.address).parse().unwrap();
    let to: Name = format!("{}/me/copy:v1", target.address).parse().unwrap();
    puller.store.copy(&from, &to).unwrap();
    (puller, target, model)
}

#[tokio::test]
async fn what_is_pushed_is_pulled_as_the_same_model() {
    let (puller, target, model) = prepared().await;
    let name = target.name("me/copy:v1");
    let lines = puller.push(&name).await.unwrap();
    let pushing = |digest: &Digest| format!("pushing {}", digest.short());
    let expected = [
        "retrieving manifest",
        &pushing(&model.weights),
        &pushing(&model.license),
        &pushing(&model.config),
        "pushing manifest",
        "success",
    ];
    assert_eq!(lines, expected);
    assert_eq!(target.manifest("me/copy/v1").unwrap(), model.manifest);
    // The weights take three parts, each where the former one ended.
    let parts: Vec<String> = target
        .asked()
        .iter()
        .filter(|asked| asked.method == Method::PATCH)
        .map(|asked| asked.headers["content-range"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(parts[..3], ["0-262143", "262144-524287", "524288-599999"]);

    let other = Puller::new();
    other.pull(&name).await.unwrap();
    other.check_whole();
    assert_eq!(
        other.store.list().unwrap()[0].id,
        puller.store.list().unwrap()[0].id
    );

    // What is there is not sent again.
    let uploads = |asked: &Asked| asked.method == Method::PATCH;
    let before = target.count(uploads);
    puller.push(&name).await.unwrap();
    assert_eq!(target.count(uploads), before);
}

#[tokio::test]
async fn an_upload_that_breaks_goes_on_where_the_registry_is() {
    let (puller, target, model) = prepared().await;
    let own = target.clone();
    let broken = AtomicUsize::new(0);
    let bytes = super::noise(7, LENGTH);
    target.rule(move |asked| {
        let is_second =
            asked.method == Method::PATCH && asked.headers["content-range"] == "262144-524287";
        if !is_second || broken.fetch_add(1, Ordering::SeqCst) > 0 {
            return None;
        }
        // Some of the part has come, and then the registry has trouble.
        own.keep_of_upload(asked.path(), &bytes[262_144..300_000]);
        Some(status(502))
    });
    puller.push(&target.name("me/copy:v1")).await.unwrap();
    assert!(target.has_blob(&model.weights));
    let resumed = |asked: &Asked| {
        asked.method == Method::PATCH && asked.headers["content-range"] == "300000-562143"
    };
    assert_eq!(target.count(resumed), 1);
}

#[tokio::test]
async fn parts_are_sent_on_to_a_storage_that_is_told_no_secret() {
    let (puller, target, _) = prepared().await;
    let storage = Scripted::start().await;
    storage.rule(|asked| (asked.method == Method::PUT).then(|| status(200)));
    let place = storage.clone();
    target.rule(move |asked| {
        (asked.method == Method::PATCH).then(|| {
            assert_eq!(asked.headers["x-redirect-uploads"], "1");
            let to = place.url(&format!("/part?signed={}", asked.nth));
            let headers = [
                ("location", to),
                ("docker-upload-location", asked.path().to_owned()),
            ];
            (axum::http::StatusCode::TEMPORARY_REDIRECT, headers).into_response()
        })
    });
    // The registry has to be told what the storage has: the parts' MD5s, hashed together, and their number.
    target.rule(|asked| {
        let is_commit = asked.method == Method::PUT && asked.path().contains("/uploads/");
        is_commit.then(|| {
            status(if asked.target.contains("etag=") {
                201
            } else {
                400
            })
        })
    });
    puller.push(&target.name("me/copy:v1")).await.unwrap();
    let lengths: Vec<_> = storage
        .asked()
        .iter()
        .take(3)
        .map(|asked| asked.headers["content-length"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(lengths, ["262144", "262144", "75712"]);
    let commits: Vec<_> = target
        .asked()
        .into_iter()
        .filter(|asked| asked.target.contains("etag="))
        .collect();
    assert!(commits[0].target.ends_with("-3") && commits[1].target.ends_with("-1"));
}

#[tokio::test]
async fn a_registry_that_takes_nothing_says_why() {
    let (puller, target, _) = prepared().await;
    let name = target.name("me/copy:v1");
    target.rule(|asked| {
        (asked.method == Method::POST)
            .then(|| (axum::http::StatusCode::FORBIDDEN, "read only").into_response())
    });
    assert_eq!(puller.push(&name).await.unwrap_err(), "403: read only");
    assert!(target.manifest("me/copy/v1").is_none());
    target.forget_rules();
    target.rule(|asked| (asked.method == Method::PATCH).then(|| status(503)));
    assert_eq!(
        puller.push(&name).await.unwrap_err(),
        "max retries exceeded: 503: "
    );
    let error = puller.push(&target.name("me/nothing")).await.unwrap_err();
    assert_eq!(
        error,
        format!("model '{}/me/nothing:latest' not found", target.address)
    );
}

#[tokio::test]
async fn a_layer_of_another_repository_there_is_not_sent() {
    let (puller, target, model) = prepared().await;
    let name = target.name("me/copy:v1");
    let from: Name = format!("{}/me/copy:v1", target.address).parse().unwrap();
    let derived: Name = format!("{}/me/derived", target.address).parse().unwrap();
    let mut entry = puller.store.entry(&from).unwrap();
    for layer in &mut entry.manifest.layers {
        layer.from = Some(from.full());
    }
    puller.store.commit(&derived, &entry.manifest).unwrap();
    puller.push(&name).await.unwrap();
    let weights = model.weights.to_string().replace(':', "%3A");
    target.rule(move |asked| {
        if asked.method == Method::HEAD {
            return Some(status(404));
        }
        let is_mount = asked
            .target
            .contains(&format!("mount={weights}&from=me%2Fcopy"));
        is_mount.then(|| status(201))
    });
    let before = target.count(|asked| asked.method == Method::PATCH);
    puller.push(&target.name("me/derived")).await.unwrap();
    // The licence and the configuration are sent, the weights are not.
    assert_eq!(
        target.count(|asked| asked.method == Method::PATCH),
        before + 2
    );
}

//! Registries that lie, stall, flood and lead astray: a clear refusal, and nothing of it in the store.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use chaski::registry::Place;
use futures::stream;

use super::scripted::{Asked, Scripted, cut, redirect, status, stuck};
use super::{Puller, noise, publish};
use crate::support::eventually;

const LENGTH: usize = 400_000;

/// Pulls from a registry that answers for its blobs as `rule` says, and returns the refusal.
async fn refused(rule: impl Fn(&Scripted, &Asked) -> Response + Send + Sync + 'static) -> String {
    let registry = Scripted::start().await;
    publish(&registry, LENGTH);
    let own = registry.clone();
    registry.rule(move |asked| asked.is_blob().then(|| rule(&own, asked)));
    let puller = Puller::new();
    let error = puller
        .pull(&registry.name("library/model"))
        .await
        .unwrap_err();
    assert!(puller.store.list().unwrap().is_empty(), "{error}");
    let whole: Vec<_> = puller
        .blobs()
        .into_iter()
        .filter(|name| !name.contains("partial"))
        .collect();
    assert!(whole.is_empty(), "{error}: {whole:?}");
    error
}

#[tokio::test]
async fn bytes_that_are_not_what_the_manifest_says_are_thrown_away() {
    let registry = Scripted::start().await;
    let model = publish(&registry, LENGTH);
    let own = registry.clone();
    registry.rule(move |asked| {
        asked.is_blob().then(|| {
            let (head, _) = own.blob(asked).into_parts();
            let (first, end) = asked.range().unwrap();
            Response::from_parts(head, Body::from(noise(8, end - first)))
        })
    });
    let puller = Puller::new();
    let name = registry.name("library/model");
    let error = puller.pull(&name).await.unwrap_err();
    let start = format!(
        "digest mismatch, file must be downloaded again: want {}, got sha256:",
        model.weights
    );
    assert!(error.starts_with(&start), "{error}");
    // Nothing is left to go on with: the next pull begins anew, and is right.
    let of_weights = format!("sha256-{}", model.weights.hex());
    assert!(
        !puller
            .blobs()
            .iter()
            .any(|name| name.starts_with(&of_weights))
    );
    assert!(puller.store.list().unwrap().is_empty());
    registry.forget_rules();
    puller.pull(&name).await.unwrap();
    puller.check_whole();
}

#[tokio::test]
async fn replies_that_are_another_range_are_refused() {
    let with_range = |range: &'static str| {
        move |own: &Scripted, asked: &Asked| {
            let mut response = own.blob(asked);
            response
                .headers_mut()
                .insert("content-range", range.parse().unwrap());
            response
        }
    };
    for range in [
        "bytes 1-262144/400000",
        "bytes 0-262142/400000",
        "bytes 0-262143/400001",
        "bytes 0-262143/*x",
        "items 0-262143/400000",
    ] {
        let error = refused(with_range(range)).await;
        assert!(
            error.contains("with another range than bytes"),
            "{range}: {error}"
        );
    }
    let longer = |own: &Scripted, asked: &Asked| {
        let (head, _) = own.blob(asked).into_parts();
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![0; 65536])));
        Response::from_parts(head, Body::from_stream(endless))
    };
    assert!(refused(longer).await.contains("more than was asked for"));
    let other_length = |_: &Scripted, _: &Asked| vec![0; LENGTH + 1].into_response();
    assert!(
        refused(other_length)
            .await
            .contains("a length that is not 400000")
    );
    let encoded = |own: &Scripted, asked: &Asked| {
        let mut response = own.blob(asked);
        response
            .headers_mut()
            .insert("content-encoding", "gzip".parse().unwrap());
        response
    };
    assert!(refused(encoded).await.contains("encoded"));
    assert_eq!(refused(|_, _| status(404)).await, "file does not exist");
    assert_eq!(refused(|_, _| status(416)).await, "416: ");
    assert_eq!(
        refused(|_, _| (axum::http::StatusCode::FORBIDDEN, "no\x1b[2J").into_response()).await,
        "403: no [2J"
    );
}

#[tokio::test]
async fn a_registry_that_never_recovers_is_given_up() {
    assert_eq!(
        refused(|_, _| status(503)).await,
        "max retries exceeded: 503: "
    );
    let short = |own: &Scripted, asked: &Asked| cut(own.blob(asked), 100);
    let error = refused(short).await;
    assert!(
        error.starts_with("max retries exceeded: Get blob"),
        "{error}"
    );
}

#[tokio::test]
async fn a_connection_that_brings_next_to_nothing_is_given_up() {
    let registry = Scripted::start().await;
    publish(&registry, LENGTH);
    let own = registry.clone();
    registry.rule(move |asked| match asked.nth % 2 {
        0 if asked.is_blob() => Some(stuck(own.blob(asked), 500)),
        _ if asked.is_blob() => {
            let (head, _) = own.blob(asked).into_parts();
            let drip = stream::unfold(0, |sent| async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), sent + 1))
            });
            Some(Response::from_parts(head, Body::from_stream(drip)))
        }
        _ => None,
    });
    let puller = Puller::with(|options| {
        options.limits.stall = Duration::from_millis(60);
        options.limits.stall_bytes = 4096;
    });
    let error = puller
        .pull(&registry.name("library/model"))
        .await
        .unwrap_err();
    assert_eq!(error, "max retries exceeded: part stalled");
}

/// Pulls from a registry whose manifest request is answered so, and returns the refusal.
async fn manifest_refused(answer: impl Fn() -> Response + Send + Sync + 'static) -> String {
    let registry = Scripted::start().await;
    registry.rule(move |asked| asked.is_manifest().then(&answer));
    let puller = Puller::with(|options| options.limits.reply = Duration::from_millis(300));
    let error = puller
        .pull(&registry.name("library/model"))
        .await
        .unwrap_err();
    assert!(puller.is_empty());
    assert_eq!(registry.count(Asked::is_blob), 0, "{error}");
    error
}

#[tokio::test]
async fn manifests_are_bounded_in_length_and_time() {
    let endless = || {
        let pieces =
            stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 65536])));
        Body::from_stream(pieces).into_response()
    };
    let error = manifest_refused(endless).await;
    assert_eq!(
        error,
        "pull model manifest: the registry's reply is longer than 4194304 bytes"
    );
    let slow = || {
        let pieces = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        Body::from_stream(pieces).into_response()
    };
    let error = manifest_refused(slow).await;
    assert!(error.ends_with("the reply did not end in time"), "{error}");
    let error = manifest_refused(|| stuck(status(200), 0)).await;
    assert!(error.ends_with("in time"), "{error}");
    assert_eq!(
        manifest_refused(|| status(404)).await,
        "pull model manifest: file does not exist"
    );
    assert_eq!(
        manifest_refused(|| status(500)).await,
        "pull model manifest: 500: "
    );
    let error = manifest_refused(|| "not json".into_response()).await;
    assert!(
        error.starts_with("pull model manifest: the registry's manifest:"),
        "{error}"
    );
}

#[tokio::test]
async fn a_model_larger_than_the_disk_is_not_begun() {
    let registry = Scripted::start().await;
    let model = publish(&registry, LENGTH);
    let larger = model
        .manifest
        .replace("\"size\":400000", "\"size\":4000000000000000000");
    registry.add_manifest("library/model/latest", larger);
    let puller = Puller::new();
    let error = puller
        .pull(&registry.name("library/model"))
        .await
        .unwrap_err();
    assert!(
        error.starts_with("not enough disk space: 40000000000000000"),
        "{error}"
    );
    assert!(puller.is_empty());
    assert_eq!(registry.count(Asked::is_blob), 0);
}

#[tokio::test]
async fn redirects_end_somewhere() {
    let loops = |own: &Scripted, asked: &Asked| redirect(&own.url(asked.path()));
    assert_eq!(refused(loops).await, "maximum redirects exceeded (10)");
    for place in [
        "file:///etc/passwd",
        "ftp://host/",
        "http://user@127.0.0.1/",
    ] {
        let error = refused(move |_, _| redirect(place)).await;
        assert!(error.starts_with("refused a redirect to"), "{error}");
    }
}

/// For these tests 127.0.0.1 is the internet and 127.0.0.2 somebody's router.
fn pretended(address: IpAddr) -> Place {
    match address.to_string().as_str() {
        "127.0.0.1" => Place::Public,
        "169.254.169.254" => Place::Never,
        _ => Place::Local,
    }
}

#[tokio::test]
async fn a_registry_on_the_internet_leads_nowhere_else() {
    let canary = Scripted::start_at("127.0.0.2:0").await;
    let registry = Scripted::start().await;
    publish(&registry, LENGTH);
    let port = canary.address.port();
    let places = [
        format!("http://127.0.0.2:{port}/"),
        format!("http://2130706434:{port}/"),
        format!("http://[::ffff:127.0.0.2]:{port}/"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ];
    for place in places {
        registry.forget_rules();
        let to = place.clone();
        registry.rule(move |asked| asked.is_blob().then(|| redirect(&to)));
        let puller = Puller::with(|options| options.place = pretended);
        let error = puller
            .pull(&registry.name("library/model"))
            .await
            .unwrap_err();
        assert!(error.contains("not on the internet"), "{place}: {error}");
    }
    assert!(canary.asked().is_empty());
}

#[tokio::test]
async fn a_registry_in_ones_own_network_may_use_it() {
    let storage = Scripted::start_at("127.0.0.2:0").await;
    let registry = Scripted::start().await;
    publish(&registry, LENGTH);
    publish(&storage, LENGTH);
    let place = storage.clone();
    registry.rule(move |asked| asked.is_blob().then(|| redirect(&place.url(asked.path()))));
    let puller = Puller::new();
    puller.pull(&registry.name("library/model")).await.unwrap();
    puller.check_whole();
    assert!(storage.count(Asked::is_blob) >= 3);
}

#[tokio::test]
async fn what_one_pull_cannot_get_the_other_may() {
    let (bad, good) = (Scripted::start().await, Scripted::start().await);
    publish(&bad, LENGTH);
    publish(&good, LENGTH);
    let own = bad.clone();
    bad.rule(move |asked| asked.is_blob().then(|| stuck(own.blob(asked), 100)));
    let puller = Arc::new(Puller::with(|options| {
        options.limits.stall = Duration::from_millis(50);
    }));
    let (name, pulling) = (bad.name("library/model"), Arc::clone(&puller));
    let pull_of_bad = tokio::spawn(async move { pulling.pull(&name).await });
    eventually("the bad one is asked", || bad.count(Asked::is_blob) > 0).await;
    // It joins the download that will fail, and then asks its own registry.
    puller.pull(&good.name("library/model")).await.unwrap();
    assert_eq!(
        pull_of_bad.await.unwrap().unwrap_err(),
        "max retries exceeded: part stalled"
    );
    puller.check_whole();
}

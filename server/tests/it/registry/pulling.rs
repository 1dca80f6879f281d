//! Pulls that end well, however often they are interrupted.

use std::fs;

use chaski::store::Digest;

use super::scripted::{Scripted, cut, gated, status, stuck};
use super::{Puller, noise, publish, request, told};
use crate::support::eventually;

const LENGTH: usize = 1_000_000;

#[tokio::test]
async fn a_model_is_pulled_in_ollamas_words() {
    let registry = Scripted::start().await;
    let model = publish(&registry, LENGTH);
    let puller = Puller::new();
    let name = registry.name("library/model");
    let lines = puller.pull(&name).await.unwrap();
    let pulling = |digest: &Digest| format!("pulling {}", digest.short());
    let expected = [
        "pulling manifest",
        &pulling(&model.weights),
        &pulling(&model.license),
        &pulling(&model.config),
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ];
    assert_eq!(lines, expected);
    puller.check_whole();
    // The manifest is kept byte by byte, so the model is called the same here and there.
    let entry = &puller.store.list().unwrap()[0];
    assert_eq!(entry.id, Digest::of(model.manifest.as_bytes()));
    assert_eq!(
        entry.name.full(),
        format!("{}/library/model:latest", registry.address)
    );

    // What is here is not fetched again.
    let blobs = registry.count(|asked| asked.is_blob());
    assert_eq!(puller.pull(&name).await.unwrap(), expected);
    assert_eq!(registry.count(|asked| asked.is_blob()), blobs);
    let agent = registry.asked()[0].headers["user-agent"].clone();
    assert!(agent.to_str().unwrap().starts_with("ollama/0.33.0 ("));
}

#[tokio::test]
async fn a_newer_model_takes_the_old_layers_place() {
    let registry = Scripted::start().await;
    let old = publish(&registry, 1000);
    let puller = Puller::new();
    let name = registry.name("library/model");
    puller.pull(&name).await.unwrap();
    let new = publish(&registry, 2000);
    let lines = puller.pull(&name).await.unwrap();
    assert_eq!(
        lines[lines.len() - 2..],
        ["removing unused layers", "success"]
    );
    assert!(!puller.store.has_blob(&old.weights).unwrap());
    assert!(puller.store.has_blob(&new.weights).unwrap());

    let puller = Puller::with(|options| options.no_prune = true);
    puller.pull(&name).await.unwrap();
    publish(&registry, 3000);
    assert!(
        !puller
            .pull(&name)
            .await
            .unwrap()
            .contains(&"removing unused layers".into())
    );
    assert!(puller.store.has_blob(&new.weights).unwrap());
}

/// Every connection breaks somewhere. What had come is not fetched again, but for what no chunk was full of.
#[tokio::test]
async fn connections_that_break_anywhere_cost_next_to_nothing() {
    for seed in 0..6 {
        let registry = Scripted::start().await;
        let model = publish(&registry, LENGTH);
        let own = registry.clone();
        let places = noise(seed, 4096);
        registry.rule(move |asked| {
            let at = usize::from(places[asked.nth]) * 1500;
            // Every third reply is whole, or a test could be so unlucky that nothing gets forward.
            (asked.is_blob() && asked.nth % 3 != 2).then(|| cut(own.blob(asked), at))
        });
        let puller = Puller::new();
        puller.pull(&registry.name("library/model")).await.unwrap();
        puller.check_whole();
        let weights = model.weights.to_string();
        let ranges: Vec<_> = registry
            .asked()
            .iter()
            .filter(|asked| asked.is_blob() && asked.target.ends_with(&weights))
            .filter_map(super::scripted::Asked::range)
            .collect();
        // Each range of a part begins where the former one of that part broke off: no byte is asked for that had come.
        let begins: std::collections::HashSet<_> = ranges.iter().collect();
        assert!(begins.len() > 4, "some connection broke: {ranges:?}");
        assert_eq!(puller.blobs().len(), 3, "no partial file is left");
    }
}

#[tokio::test]
async fn a_pull_that_is_given_up_goes_on_where_it_stopped() {
    let registry = Scripted::start().await;
    let model = publish(&registry, LENGTH);
    let own = registry.clone();
    let come = 200_000;
    registry.rule(move |asked| asked.is_blob().then(|| stuck(own.blob(asked), come)));
    let puller = Puller::new();
    let name = registry.name("library/model");
    let mut transfer = puller.registry.pull(request(&name)).unwrap();
    // Four parts, each of which gets so far and no further.
    let all = 3 * come + (LENGTH - 3 * (256 << 10)).min(come);
    loop {
        let progress = transfer.next().await.unwrap().unwrap();
        if progress
            .moved()
            .is_some_and(|moved| moved.completed == all as u64)
        {
            break;
        }
    }
    drop(transfer);
    let part = |n: usize| puller.blob_path(&format!("sha256-{}-partial-{n}", model.weights.hex()));
    let recorded = || -> u64 {
        let completed = |n| {
            let text = fs::read_to_string(part(n)).unwrap();
            let part: serde_json::Value = serde_json::from_str(&text).unwrap();
            part["Completed"].as_u64().unwrap()
        };
        (0..4).map(completed).sum()
    };
    // Nobody wants it any more: it stops, and nothing that had come is lost.
    eventually("the download has stopped", || recorded() == all as u64).await;
    assert!(puller.store.list().unwrap().is_empty());

    registry.forget_rules();
    let before = registry.asked().len();
    puller.pull(&name).await.unwrap();
    puller.check_whole();
    let weights = model.weights.to_string();
    let fetched: usize = registry.asked()[before..]
        .iter()
        .filter(|asked| asked.is_blob() && asked.target.ends_with(&weights))
        .filter_map(super::scripted::Asked::range)
        .map(|(first, end)| end - first)
        .sum();
    assert_eq!(fetched, LENGTH - all, "no byte is fetched twice");
}

#[tokio::test]
async fn who_is_told_to_stop_pulling_stops_and_begins_nothing_new() {
    let registry = Scripted::start().await;
    publish(&registry, LENGTH);
    let own = registry.clone();
    registry.rule(move |asked| asked.is_blob().then(|| stuck(own.blob(asked), 1000)));
    let puller = Puller::new();
    let name = registry.name("library/model");
    let mut transfer = puller.registry.pull(request(&name)).unwrap();
    while transfer.next().await.unwrap().unwrap().moved().is_none() {}
    puller.registry.stop_pulls();
    let text = "the server is shutting down; what has come is kept for the next pull";
    assert_eq!(told(transfer).await.unwrap_err(), text);
    let before = registry.asked().len();
    assert_eq!(puller.pull(&name).await.unwrap_err(), text);
    assert_eq!(registry.asked().len(), before);
}

#[tokio::test]
async fn two_who_want_the_same_share_its_bytes() {
    let registry = Scripted::start().await;
    let model = publish(&registry, LENGTH);
    let puller = Puller::new();
    let name = registry.name("library/model");
    let (one, other) = tokio::join!(puller.pull(&name), puller.pull(&name));
    assert_eq!(one.unwrap().last().unwrap(), "success");
    assert_eq!(other.unwrap().last().unwrap(), "success");
    let weights = model.weights.to_string();
    assert_eq!(
        registry.count(|asked| asked.is_blob() && asked.target.ends_with(&weights)),
        4
    );
}

#[tokio::test]
async fn one_who_leaves_does_not_take_the_bytes_from_the_other() {
    let registry = Scripted::start().await;
    publish(&registry, LENGTH);
    let (open, opened) = tokio::sync::watch::channel(false);
    let own = registry.clone();
    registry.rule(move |asked| {
        let opened = opened.clone();
        asked.is_blob().then(|| gated(own.blob(asked), opened))
    });
    let puller = Puller::new();
    let name = registry.name("library/model");
    let mut leaving = puller.registry.pull(request(&name)).unwrap();
    let staying = puller.registry.pull(request(&name)).unwrap();
    let staying = tokio::spawn(told(staying));
    while leaving.next().await.unwrap().unwrap().moved().is_none() {}
    eventually("the parts are asked for", || {
        registry.count(|asked| asked.is_blob()) == 4
    })
    .await;
    drop(leaving);
    open.send(true).unwrap();
    assert_eq!(staying.await.unwrap().unwrap().last().unwrap(), "success");
    puller.check_whole();
}

#[tokio::test]
async fn a_registry_that_is_in_trouble_for_a_while_is_asked_again() {
    let registry = Scripted::start().await;
    publish(&registry, LENGTH);
    registry.rule(|asked| match asked.nth {
        0 => Some(status(503)),
        1 => {
            let mut busy = status(429);
            busy.headers_mut()
                .insert("retry-after", "86400".parse().unwrap());
            Some(busy)
        }
        _ => None,
    });
    let puller = Puller::new();
    puller.pull(&registry.name("library/model")).await.unwrap();
    puller.check_whole();
}

#[tokio::test]
async fn a_registry_without_ranges_sends_everything() {
    let registry = Scripted::start().await;
    publish(&registry, LENGTH);
    let own = registry.clone();
    registry.rule(move |asked| {
        let mut whole = asked.clone();
        whole.headers.remove("range");
        asked.is_blob().then(|| own.blob(&whole))
    });
    let puller = Puller::new();
    puller.pull(&registry.name("library/model")).await.unwrap();
    puller.check_whole();
}

#[tokio::test]
async fn parts_that_ollama_left_are_gone_on_with() {
    let registry = Scripted::start().await;
    let model = publish(&registry, LENGTH);
    let puller = Puller::new();
    let file =
        |suffix: &str| puller.blob_path(&format!("sha256-{}-partial{suffix}", model.weights.hex()));
    let mut bytes = noise(7, LENGTH);
    bytes[300_000..400_000].fill(0);
    bytes[900_000..].fill(0);
    fs::write(file(""), bytes).unwrap();
    fs::write(
        file("-0"),
        "{\"N\":0,\"Offset\":0,\"Size\":400000,\"Completed\":300000}\n",
    )
    .unwrap();
    fs::write(
        file("-1"),
        "{\"N\":1,\"Offset\":400000,\"Size\":600000,\"Completed\":500000}\n",
    )
    .unwrap();
    puller.pull(&registry.name("library/model")).await.unwrap();
    puller.check_whole();
    let mut ranges: Vec<_> = registry
        .asked()
        .iter()
        .filter(|asked| asked.is_blob() && asked.target.ends_with(&model.weights.to_string()))
        .filter_map(super::scripted::Asked::range)
        .collect();
    ranges.sort_unstable();
    assert_eq!(ranges, [(300_000, 400_000), (900_000, 1_000_000)]);
}

/// A model of Ollama's cloud is a stub: a configuration that names its host, and nothing else.
#[tokio::test]
async fn a_stub_has_no_layers() {
    let registry = Scripted::start().await;
    let puller = Puller::new();
    let manifest = |config: &str| {
        let digest = registry.add_blob(config.to_owned());
        format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\
             \"config\":{{\"mediaType\":\"application/vnd.docker.container.image.v1+json\",\"digest\":\"{digest}\",\
             \"size\":{}}},\"layers\":null}}",
            config.len()
        )
    };
    let stub = manifest("{\"remote_host\":\"https://ollama.com:443\",\"remote_model\":\"big\"}");
    registry.add_manifest("library/big/cloud", stub);
    puller
        .pull(&registry.name("library/big:cloud"))
        .await
        .unwrap();
    registry.add_manifest("library/hollow/latest", manifest("{}"));
    let error = puller
        .pull(&registry.name("library/hollow"))
        .await
        .unwrap_err();
    assert_eq!(error, "the registry's manifest has no layers");
}

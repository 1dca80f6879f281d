//! Images with real calls of llama.cpp's mtmd, on models and projectors of random numbers.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chaski::engine::gguf::{self, CacheType, Spec};
use chaski::inference::generate::{Begin, Engine, Feed, Sampled, Sampling};
use chaski::inference::{Error, Token};
use image::ImageFormat;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::seeing::llava::POSITIONS;
use crate::seeing::pictures::{SIZE, blue, picture, red};
use crate::seeing::qwen::{Family, TOKEN_SIDE};
use crate::seeing::{Eyes, server};

fn with_sight<T>(eyes: Eyes, body: impl FnOnce(&mut dyn Engine) -> T) -> T {
    let folder = TempDir::new().unwrap();
    let [model, projector] = eyes.files(folder.path());
    let spec = Spec {
        model,
        adapter: None,
        projector: Some(projector),
        context: 256,
        slots: 2,
        cells: 512,
        batch: 64,
        threads: 1,
        use_mmap: None,
        kernels: gguf::Preference::default(),
        cache_type: CacheType::F16,
        flash_attention: None,
        gpu_layers: None,
        cache_idle: Duration::from_secs(180),
        guesses: true,
    };
    gguf::with_engine(&spec, |engine, _| body(engine)).unwrap()
}

/// Feeds tokens from a position on, in parts of at most `width`, and returns the logarithms of the best tokens' odds.
fn feed(
    engine: &mut dyn Engine,
    slot: u32,
    tokens: &[Token],
    from: usize,
    width: usize,
) -> Vec<(Vec<u8>, f32)> {
    let sampling = Sampling {
        temperature: 0.0,
        ..Sampling::default()
    };
    let begin = Begin {
        sampling: &sampling,
        logprobs: Some(5),
        recent: &[],
        logit_bias: &[],
        rules: None,
    };
    engine.begin(slot, begin).unwrap();
    let mut sampled: Vec<Sampled> = Vec::new();
    let mut position = from;
    for part in tokens[from..].chunks(width) {
        let feed = Feed {
            slot,
            position: u32::try_from(position).unwrap(),
            tokens: part,
            sample: position + part.len() == tokens.len(),
            guessed: 0,
        };
        engine.step(&[feed], &mut sampled).unwrap();
        position += part.len();
    }
    let [sampled] = sampled.as_slice() else {
        panic!("{sampled:?}");
    };
    let choice = sampled.choice.as_ref().unwrap();
    let top = &choice.logprob.as_ref().unwrap().top;
    top.iter()
        .map(|top| (top.bytes.clone(), top.logprob))
        .collect()
}

fn is_close(one: &[(Vec<u8>, f32)], other: &[(Vec<u8>, f32)]) -> bool {
    one.len() == other.len()
        && (one.iter().zip(other))
            .all(|(one, other)| one.0 == other.0 && (one.1 - other.1).abs() < 1e-2)
}

#[test]
fn an_image_counts_for_what_it_is_however_it_is_fed() {
    for eyes in Eyes::ALL {
        with_sight(eyes, |engine| check_feeding(eyes, engine));
    }
}

fn check_feeding(eyes: Eyes, engine: &mut dyn Engine) {
    let before = engine.tokenize("What is in ", true, true).unwrap();
    let after = engine.tokenize(" this picture?", false, true).unwrap();
    let red = engine.see(red()).wait().unwrap();
    let again = engine.see(self::red()).wait().unwrap();
    let blue = engine.see(blue()).wait().unwrap();
    let (expected, marks) = match eyes {
        Eyes::Llava => (POSITIONS, 0),
        Eyes::Qwen(_) => {
            let marks = engine.tokenize("<|vision_start|><|vision_end|>", false, true);
            (
                SIZE[0] / TOKEN_SIDE * (SIZE[1] / TOKEN_SIDE),
                marks.unwrap().len(),
            )
        }
    };
    assert_eq!(red.tokens.len(), expected as usize + marks, "{eyes:?}");
    assert!(red.tokens.iter().all(|token| *token < 0));
    assert_eq!(
        red.tokens, again.tokens,
        "the same image has the same placeholders"
    );
    assert_ne!(red.tokens, blue.tokens);

    let prompt = |image: &[Token]| [&before[..], image, &after].concat();
    let whole = feed(engine, 0, &prompt(&red.tokens), 0, 64);
    let other = feed(engine, 1, &prompt(&blue.tokens), 0, 64);
    assert!(
        !is_close(&whole, &other),
        "another image, other odds: {whole:?} {other:?}"
    );

    // In parts that end inside the image.
    assert_eq!(engine.cut(0, 0), 0);
    let parts = feed(engine, 0, &prompt(&red.tokens), 0, 5);
    assert!(is_close(&whole, &parts), "{whole:?} {parts:?}");

    // From the cache, image included.
    let end = before.len() + red.tokens.len();
    let left = engine.cut(0, u32::try_from(end).unwrap()) as usize;
    assert_eq!(left, end);
    let reused = feed(engine, 0, &prompt(&red.tokens), left, 64);
    assert!(is_close(&whole, &reused), "{whole:?} {reused:?}");

    // Half of an image is none.
    let left = engine.cut(0, u32::try_from(before.len() + 3).unwrap()) as usize;
    assert_eq!(left, before.len());
    let recomputed = feed(engine, 0, &prompt(&red.tokens), left, 64);
    assert!(is_close(&whole, &recomputed), "{whole:?} {recomputed:?}");

    // Beside a sequence without images, in one step.
    engine.cut(0, 0);
    engine.cut(1, 0);
    let plain = engine.tokenize("Hello", true, true).unwrap();
    let shown = prompt(&red.tokens);
    let feeds = [(0, &shown), (1, &plain)].map(|(slot, tokens)| Feed {
        slot,
        position: 0,
        tokens,
        sample: true,
        guessed: 0,
    });
    let mut sampled = Vec::new();
    engine.step(&feeds, &mut sampled).unwrap();
    assert_eq!([sampled[0].slot, sampled[1].slot], [0, 1]);
    let choice = sampled[0].choice.as_ref().unwrap();
    assert_eq!(choice.logprob.as_ref().unwrap().chosen.bytes, whole[0].0);

    // What holds an image is not shifted, in no family.
    assert!(!engine.shift(0, 0, 2));
}

#[test]
fn an_image_is_encoded_before_it_is_fed() {
    with_sight(Eyes::Qwen(Family::Qwen3), |engine| {
        let before = engine.tokenize("What is in ", true, true).unwrap();
        let image = engine.see(red()).wait().unwrap();
        let prompt = [&before[..], &image.tokens, &before].concat();
        let all = Feed {
            slot: 0,
            position: 0,
            tokens: &prompt,
            sample: true,
            guessed: 0,
        };
        assert_eq!(engine.ready(all), before.len(), "it was not asked before");
        let begun = Instant::now();
        while engine.ready(all) < prompt.len() {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "it is never done"
            );
            std::thread::yield_now();
        }
        let ready = feed(engine, 0, &prompt, 0, 64);
        // What is in the cache is not encoded again, and what is not is.
        let inside = u32::try_from(before.len() + 3).unwrap();
        let rest = Feed {
            position: inside,
            tokens: &prompt[inside as usize..],
            ..all
        };
        assert_eq!(engine.ready(rest), rest.tokens.len());
        assert_eq!(engine.cut(0, 0), 0);
        assert_eq!(engine.ready(all), before.len());
        // Whoever does not wait for it has it encoded in the step.
        let at_once = feed(engine, 0, &prompt, 0, 64);
        assert!(is_close(&ready, &at_once), "{ready:?} {at_once:?}");
    });
}

#[test]
fn an_image_that_nobody_holds_fails_alone() {
    with_sight(Eyes::Qwen(Family::Qwen2), |engine| {
        let text = engine.tokenize("a", true, true).unwrap();
        let placeholders = engine.see(red()).wait().unwrap().tokens;
        let lost = [&text[..], &placeholders, &text].concat();
        let sampling = Sampling::default();
        for slot in 0..2 {
            let begin = Begin {
                sampling: &sampling,
                logprobs: None,
                recent: &[],
                logit_bias: &[],
                rules: None,
            };
            engine.begin(slot, begin).unwrap();
        }
        let feeds = [(0, &lost, false), (1, &text, true)].map(|(slot, tokens, sample)| Feed {
            slot,
            position: 0,
            tokens,
            sample,
            guessed: 0,
        });
        let mut sampled = Vec::new();
        engine.step(&feeds, &mut sampled).unwrap();
        assert!(
            matches!(sampled[0].choice, Err(Error::Engine(_))),
            "{sampled:?}"
        );
        assert!(sampled[1].choice.is_ok(), "{sampled:?}");
    });
}

fn ask(image: &[u8]) -> Value {
    json!({
        "model": "sees", "stream": false, "think": false, "logprobs": true, "top_logprobs": 3,
        "messages": [{"role": "user", "content": "What is this?", "images": [STANDARD.encode(image)]}],
        "options": {"temperature": 0, "num_predict": 6},
    })
}

#[tokio::test]
async fn a_model_with_a_projector_sees() {
    for eyes in Eyes::ALL {
        check_sight(eyes).await;
    }
}

async fn check_sight(eyes: Eyes) {
    let server = server(eyes).await;
    let show = server
        .post("/api/show", json!({"model": "sees"}))
        .await
        .json();
    assert!(
        show["capabilities"]
            .as_array()
            .unwrap()
            .contains(&json!("vision")),
        "{show}"
    );

    let first = server.post("/api/chat", ask(&red())).await.json();
    let again = server.post("/api/chat", ask(&red())).await.json();
    let other = server.post("/api/chat", ask(&blue())).await.json();
    assert_eq!(first["message"]["content"], again["message"]["content"]);
    assert_ne!(first["logprobs"], other["logprobs"]);
    // The same pixels in another file are another file, but say the same.
    let bitmap = picture([250, 10, 10], [0, 0, 0], ImageFormat::Bmp);
    let same = server.post("/api/chat", ask(&bitmap)).await.json();
    assert_eq!(first["message"]["content"], same["message"]["content"]);

    let mut blind = ask(&red());
    blind["messages"][0]["images"] = json!([]);
    let blind = server.post("/api/chat", blind).await.json();
    let count = |reply: &Value| reply["prompt_eval_count"].as_u64().unwrap();
    assert!(
        count(&first) >= count(&blind) + u64::from(POSITIONS),
        "{eyes:?}"
    );
    assert_ne!(first["logprobs"], blind["logprobs"]);
}

#[tokio::test]
async fn images_stand_where_the_prompt_says() {
    let server = server(Eyes::Llava).await;
    let generate = async |body: Value| server.post("/api/generate", body).await.json();
    let images = json!([STANDARD.encode(red()), STANDARD.encode(blue())]);
    let mut body = json!({
        "model": "sees", "prompt": "a [img-1] b [img-0] c", "raw": true, "images": images, "stream": false,
        "options": {"temperature": 0, "num_predict": 3},
    });
    let reply = generate(body.clone()).await;
    let mut text = body.clone();
    text["images"] = json!([]);
    text["prompt"] = json!("a ");
    body["raw"] = json!(false);
    body["prompt"] = json!("Compare.");
    let shown = generate(body.clone()).await;
    assert!(reply["prompt_eval_count"].as_u64().unwrap() > 2 * u64::from(POSITIONS));
    // What a caller sends back is text.
    let context = shown["context"].as_array().unwrap();
    assert!(context.iter().all(|token| token.as_i64().unwrap() >= 0));
    body["_debug_render_only"] = json!(true);
    let rendered = generate(body).await;
    let rendered = rendered["_debug_info"]["rendered_template"]
        .as_str()
        .unwrap();
    assert!(rendered.contains("[img-0][img-1]Compare."), "{rendered}");
}

#[tokio::test]
async fn what_is_no_image_is_refused_before_the_answer_begins() {
    let server = server(Eyes::Llava).await;
    let check = async |body: Value, expected: &str| {
        let (status, text) = server.post("/api/chat", body).await.error();
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(expected), "{text}");
    };
    check(ask(b"no image"), "expected PNG, JPEG, WebP, GIF or BMP").await;
    let whole = red();
    check(ask(&whole[..whole.len() / 2]), "invalid image").await;
    let mut bomb = picture([0; 3], [1; 3], ImageFormat::Bmp);
    bomb[18..22].copy_from_slice(&60_000_u32.to_le_bytes());
    check(ask(&bomb), "60000x64 pixels").await;
    let mut broken = ask(&whole);
    broken["messages"][0]["images"] = json!(["no base64!"]);
    check(broken, "illegal base64 data at input byte 2").await;
    let mut many = ask(&whole);
    many["messages"][0]["images"] = json!(vec![STANDARD.encode(&whole); 65]);
    check(many, "at most 64").await;
    let mut long = ask(&whole);
    long["messages"][0]["images"] = json!(vec![STANDARD.encode(&whole); 10]);
    long["options"]["num_ctx"] = json!(64);
    check(long, "longer than the context length").await;
    let mut blind = ask(&whole);
    blind["model"] = json!("tiny");
    check(blind, "does not support vision").await;
    // The worker is there as before.
    server.post("/api/chat", ask(&whole)).await.json();
}

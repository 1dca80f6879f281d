//! Our kernels and llama.cpp's, on a whole model that the repository ships.

mod measure;

use serde_json::{Value, json};

use crate::server::Server;

/// A short prompt, one of some columns, and one that fills several tiles of columns.
const PROMPTS: [&str; 3] = [
    "Hi",
    "What is the capital of France?",
    "Tell me in a few sentences how plants turn light, water and air into food, and say which part of a plant does which part of \
     the work, what the green colour of the leaves has to do with it, and what becomes of all that in the night.",
];

/// How much log probabilities may differ: both sides round activations to bytes, and where two tokens are about as probable
/// that shows in one of them.
const TOLERANCE: Tolerance = Tolerance {
    mean: 0.01,
    any: 0.05,
};

/// What company may change: attention, which is llama.cpp's, adds up in another order when a step has more columns. A product's
/// outputs do not depend on that, as the unit tests show to the bit.
const COMPANY: Tolerance = Tolerance {
    mean: 0.01,
    any: 0.02,
};

/// Bounds of the differences of log probabilities of one answer's tokens.
#[derive(Clone, Copy)]
struct Tolerance {
    mean: f64,
    any: f64,
}

/// Tokens and their log probabilities.
async fn answer(server: &Server, prompt: &str) -> Vec<(String, f64)> {
    let reply = server
        .post(
            "/api/generate",
            json!({
                "model": "tiny", "prompt": prompt, "stream": false, "think": false, "logprobs": true,
                "options": {"temperature": 0, "num_predict": 40},
            }),
        )
        .await
        .json();
    let tokens = reply["logprobs"].as_array().unwrap().iter();
    let pair = |token: &Value| {
        let text = token["token"].as_str().unwrap().to_owned();
        (text, token["logprob"].as_f64().unwrap())
    };
    tokens.map(pair).collect()
}

/// The same tokens, as probable.
fn alike(got: &[(String, f64)], expected: &[(String, f64)], tolerance: Tolerance) {
    let text = |tokens: &[(String, f64)]| -> String {
        tokens.iter().map(|(token, _)| token.as_str()).collect()
    };
    assert!(!got.is_empty());
    assert_eq!(text(got), text(expected));
    let off = |(got, expected): (&(String, f64), &(String, f64))| (got.1 - expected.1).abs();
    let differences: Vec<f64> = got.iter().zip(expected).map(off).collect();
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    let largest = differences.iter().copied().fold(0.0, f64::max);
    assert!(
        mean < tolerance.mean && largest < tolerance.any,
        "{mean} on average, {largest} at most: {got:?} {expected:?}"
    );
}

#[tokio::test]
async fn a_model_answers_alike_with_our_kernels_and_with_llama_cpps() {
    let ours = Server::start_with([("CHASKI_KERNELS", "own")]).await;
    let theirs = Server::start_with([("CHASKI_KERNELS", "llama.cpp")]).await;
    for prompt in PROMPTS {
        let (ours, theirs) = tokio::join!(answer(&ours, prompt), answer(&theirs, prompt));
        alike(&ours, &theirs, TOLERANCE);
    }
}

#[tokio::test]
async fn company_changes_nothing_in_an_answer() {
    let server =
        Server::start_with([("CHASKI_KERNELS", "own"), ("OLLAMA_NUM_PARALLEL", "3")]).await;
    let mut alone = Vec::new();
    for prompt in PROMPTS {
        alone.push(answer(&server, prompt).await);
    }
    let together = tokio::join!(
        answer(&server, PROMPTS[0]),
        answer(&server, PROMPTS[1]),
        answer(&server, PROMPTS[2]),
    );
    for (alone, together) in alone.iter().zip([together.0, together.1, together.2]) {
        alike(alone, &together, COMPANY);
    }
}

//! What models say of images, beside what llama.cpp's own server says with the same files. It needs that program, so it
//! does not run by itself:
//!
//! ```text
//! CHASKI_TEST_LLAMA_SERVER=/path/to/llama-server cargo test --release --locked --workspace --test it llama_server:: -- --ignored --nocapture
//! ```

use std::collections::HashSet;
use std::io::Cursor;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, Rgb, RgbImage};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::seeing::Eyes;
use crate::server::Server;

/// What stands for an image in a prompt to llama.cpp's server.
const MARKER: &str = "<__media__>";

/// Tokens of an answer.
const ANSWER: u32 = 16;

/// How long the other server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

struct LlamaServer {
    process: Child,
    url: String,
    client: Client,
}

impl LlamaServer {
    async fn start(program: &str, [model, projector]: &[PathBuf; 2]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port().to_string();
        drop(free);
        let mut command = Command::new(program);
        command
            .arg("--model")
            .arg(model)
            .arg("--mmproj")
            .arg(projector);
        command.args([
            "--port",
            &port,
            "--ctx-size",
            "2048",
            "--parallel",
            "1",
            "--threads",
            "2",
        ]);
        command.env("LLAMA_MEDIA_MARKER", MARKER);
        let process = (command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()).unwrap();
        let server = Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
            client: Client::new(),
        };
        let begun = Instant::now();
        loop {
            let health = server
                .client
                .get(format!("{}/health", server.url))
                .send()
                .await;
            if health.is_ok_and(|reply| reply.status().is_success()) {
                return server;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "llama.cpp's server does not start"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn answer(&self, prompt: &str, images: &[String]) -> String {
        let body = json!({
            "prompt": {"prompt_string": prompt, "multimodal_data": images},
            "n_predict": ANSWER, "temperature": 0,
        });
        let request = self
            .client
            .post(format!("{}/completion", self.url))
            .body(body.to_string());
        let reply: Value =
            serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
        reply["content"]
            .as_str()
            .unwrap_or_else(|| panic!("{reply}"))
            .to_owned()
    }
}

impl Drop for LlamaServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Images of several shapes and patterns, in base64.
fn images() -> Vec<String> {
    let sizes = [(96, 64), (160, 48), (50, 70), (200, 200), (33, 300)];
    let draw = |(index, (width, height)): (u32, (u32, u32))| {
        let image = RgbImage::from_fn(width, height, |x, y| {
            let [x, y] = [x * 255 / width, y * 255 / height].map(|part| part as u8);
            match index % 3 {
                0 => Rgb([x, y, x ^ y]),
                1 => Rgb([y.wrapping_mul(7), x.wrapping_mul(3), 90]),
                _ => Rgb([200, x / 2, 255 - y]),
            }
        });
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, ImageFormat::Png).unwrap();
        STANDARD.encode(file.into_inner())
    };
    (0..).zip(sizes).map(draw).collect()
}

/// What is said to a model, turn by turn, with images by their numbers.
fn conversations() -> Vec<Vec<(String, Vec<usize>)>> {
    let mut conversations = Vec::new();
    for image in 0..5 {
        let other = (image + 2) % 5;
        conversations.push(vec![
            (format!("{MARKER}What is this?"), vec![image]),
            (" And what else? ".into(), vec![]),
            (format!("Compare it with {MARKER}, please."), vec![other]),
        ]);
        conversations.push(vec![
            (
                format!("Look: {MARKER} and {MARKER} both."),
                vec![image, other],
            ),
            (format!("Then {MARKER} again."), vec![image]),
        ]);
        conversations.push(vec![
            ("Once upon a time there was a fox. ".into(), vec![]),
            (format!("It saw {MARKER} and said"), vec![image]),
        ]);
    }
    conversations
}

#[tokio::test]
#[ignore = "needs llama.cpp's server: see the head of this file"]
async fn models_say_what_they_say_in_llama_cpp() {
    let program = std::env::var("CHASKI_TEST_LLAMA_SERVER").unwrap();
    let files = images();
    let mut different = Vec::new();
    for eyes in Eyes::ALL {
        let folder = TempDir::new().unwrap();
        let paths = eyes.files(folder.path());
        // First, as it says what TLS is made with, which every client asks.
        let ours = Server::start().await;
        let theirs = LlamaServer::start(&program, &paths).await;
        let [model, projector] = paths.map(|path| std::fs::read(path).unwrap());
        ours.create("sees", &[("model.gguf", model), ("mmproj.gguf", projector)])
            .await;

        let (mut turns, mut equal) = (0, 0);
        let mut said = HashSet::new();
        for (number, conversation) in conversations().into_iter().enumerate() {
            let mut prompt = String::new();
            let mut shown = Vec::new();
            for (turn, (text, numbers)) in conversation.into_iter().enumerate() {
                prompt += &text;
                shown.extend(numbers.into_iter().map(|number| files[number].clone()));
                let their = theirs.answer(&prompt, &shown).await;
                let our = answer(&ours, &prompt, &shown).await;
                turns += 1;
                if our == their {
                    equal += 1;
                } else {
                    different.push(format!(
                        "{eyes:?} {number}.{turn}: {our:?}, theirs {their:?}"
                    ));
                }
                said.insert(our.clone());
                prompt += &our;
            }
        }
        println!(
            "{eyes:?}: {equal} of {turns} answers equal, {} different ones",
            said.len()
        );
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

async fn answer(server: &Server, prompt: &str, images: &[String]) -> String {
    let prompt = (0..images.len()).fold(prompt.to_owned(), |prompt, index| {
        prompt.replacen(MARKER, &format!("[img-{index}]"), 1)
    });
    let body = json!({
        "model": "sees", "prompt": prompt, "raw": true, "images": images, "stream": false,
        "options": {"temperature": 0, "num_predict": ANSWER, "num_ctx": 2048},
    });
    let reply = server.post("/api/generate", body).await.json();
    reply["response"].as_str().unwrap().to_owned()
}

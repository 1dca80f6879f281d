//! What Ollama answered to a thousand requests, asked of this server again: `tests/differential` tells how that was recorded.

use std::path::Path;
use std::process::{Command, Output};

use crate::server::Server;

/// Runs the suite, which is a Python program without dependencies.
async fn suite(arguments: Vec<String>) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential");
    let run = move || Command::new("python3").arg(folder).args(arguments).output();
    tokio::task::spawn_blocking(run).await.unwrap().unwrap()
}

fn assert_passed(output: &Output) {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (told, complained) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{told}{complained}");
}

#[tokio::test]
async fn replies_are_those_of_ollama() {
    // With the kernels and the attention that Ollama's answers were computed with: others round otherwise, and greedy text may
    // take another turn.
    let settings = [
        ("CHASKI_KERNELS", "llama.cpp"),
        ("OLLAMA_FLASH_ATTENTION", "1"),
    ];
    let server = Server::start_with(settings).await;
    let url = format!("http://{}", server.address());
    assert_passed(&suite(vec!["replay".into(), url]).await);
}

#[tokio::test]
async fn the_differences_are_documented() {
    assert_passed(&suite(vec!["documented".into()]).await);
}

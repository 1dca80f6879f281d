use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::cli::testing::{Ran, Reply, ScriptedServer, ran};
use crate::store::Digest;

const DONE: &str = "{\"status\":\"writing manifest\"}\n{\"status\":\"success\"}\n";

/// A folder with these files, made with the folders they are in.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

/// A field of a protocol buffer that has a length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 128, "longer lengths take two bytes");
    [&[number << 3 | 2, length], content].concat()
}

/// A graph with one input, one output, and three numbers in `model.onnx_data`.
fn graph() -> Vec<u8> {
    let entry = |key: &[u8], value: &[u8]| field(13, &[field(1, key), field(2, value)].concat());
    let tensor = [
        // Three numbers, in 32-bit floating point, in another file.
        vec![1 << 3, 3, 2 << 3, 1, 14 << 3, 1],
        field(8, b"w"),
        entry(b"location", b"model.onnx_data"),
        entry(b"length", b"12"),
    ]
    .concat();
    let graph = [
        field(5, &tensor),
        field(11, &field(1, b"input_ids")),
        field(12, &field(1, b"vectors")),
    ]
    .concat();
    // IR version 8, operator set 17.
    [vec![1 << 3, 8], field(7, &graph), field(8, &[2 << 3, 17])].concat()
}

async fn run_in(folder: &TempDir, server: &ScriptedServer) -> Ran {
    let args = Args {
        model: "new".into(),
        file: Some(folder.path().join("Modelfile")),
        quantize: None,
    };
    ran(None, async |console| {
        run(&args, &server.client, console).await
    })
    .await
}

/// Runs a Modelfile in the folder and returns what the server was asked to make.
async fn asked(folder: &TempDir, modelfile: &str) -> Value {
    fs::write(folder.path().join("Modelfile"), modelfile).unwrap();
    let server = ScriptedServer::start([("POST /api/create", Reply::ok(DONE))]).await;
    let ran = run_in(folder, &server).await;
    assert!(ran.err.ends_with("writing manifest\nsuccess\n"), "{ran:?}");
    server.bodies("POST /api/create").remove(0)
}

async fn check_refused(folder: &TempDir, modelfile: &str, expected: &str) {
    fs::write(folder.path().join("Modelfile"), modelfile).unwrap();
    let server = ScriptedServer::start([]).await;
    let ran = run_in(folder, &server).await;
    assert!(
        ran.err.contains(expected),
        "{:?} lacks {expected:?}",
        ran.err
    );
    assert_eq!(server.routes(), [""; 0]);
}

#[tokio::test]
async fn a_file_is_uploaded_once_and_named_by_its_digest() {
    let bytes = vec![7; 1 << 20];
    let folder = folder(&[("tiny.gguf", &bytes), ("Modelfile", b"FROM ./tiny.gguf")]);
    let digest = Digest::of(&bytes).to_string();
    let [head, post] = ["HEAD", "POST"].map(|method| format!("{method} /api/blobs/{digest}"));
    let (head, post) = (head.as_str(), post.as_str());
    let server = ScriptedServer::start([
        (head, Reply::refused(404, "")),
        (head, Reply::ok("")),
        (post, Reply::refused(201, "")),
        ("POST /api/create", Reply::ok(DONE)),
    ])
    .await;
    let first = run_in(&folder, &server).await;
    let expected = format!(
        "gathering model components\ncopying file {digest} (1.0 MB)\nwriting manifest\nsuccess\n"
    );
    assert_eq!(first.err, expected);
    assert_eq!(server.raw_body(post), bytes);
    let second = run_in(&folder, &server).await;
    assert_eq!(
        second.err,
        "gathering model components\nwriting manifest\nsuccess\n"
    );
    assert_eq!(
        server.routes(),
        [head, post, "POST /api/create", head, "POST /api/create"]
    );
    let asked = json!({"model": "new", "stream": true, "files": {"tiny.gguf": digest}});
    assert_eq!(server.bodies("POST /api/create"), [asked.clone(), asked]);
}

#[tokio::test]
async fn every_command_reaches_the_server() {
    let folder = folder(&[("a.bin", b"adapter")]);
    let modelfile = r#"
# a comment
FROM base:1b
ADAPTER a.bin
TEMPLATE """{{ .Prompt }}
end"""
SYSTEM Be brief.
PARAMETER stop <|end|>
PARAMETER stop x
PARAMETER temperature 0.5
MESSAGE user Hi
MESSAGE assistant Hello
LICENSE MIT
LICENSE Apache
RENDERER r
PARSER p
REQUIRES 0.14.0
"#;
    let expected = json!({
        "model": "new", "stream": true, "from": "base:1b",
        "adapters": {"a.bin": Digest::of(b"adapter").to_string()},
        "template": "{{ .Prompt }}\nend", "system": "Be brief.", "license": ["MIT", "Apache"],
        "parameters": {"stop": ["<|end|>", "x"], "temperature": 0.5},
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        "renderer": "r", "parser": "p", "requires": "0.14.0",
    });
    fs::write(folder.path().join("Modelfile"), modelfile).unwrap();
    let blob = format!("HEAD /api/blobs/{}", Digest::of(b"adapter"));
    let server = ScriptedServer::start([
        (&*blob, Reply::ok("")),
        ("POST /api/create", Reply::ok(DONE)),
    ])
    .await;
    run_in(&folder, &server).await;
    assert_eq!(server.bodies("POST /api/create"), [expected]);
}

/// Names of the files that `FROM path` finds in the folder.
fn found(folder: &TempDir, path: &str) -> Result<Vec<String>, String> {
    let files = files::model_files(&folder.path().join(path)).map_err(|error| error.to_string())?;
    Ok(files.iter().map(|file| file.name.to_string()).collect())
}

fn onnx_files(graph: &[u8]) -> [(&str, &[u8]); 9] {
    [
        ("m/onnx/model.onnx", graph),
        ("m/onnx/model.onnx_data", &[0; 12]),
        ("m/tokenizer.json", b"{}"),
        ("m/config.json", b"{}"),
        ("m/vocab.txt", b""),
        ("m/1_Pooling/config.json", b"{}"),
        ("m/README.md", b""),
        ("m/.git/config.json", b""),
        ("m/model.safetensors", b""),
    ]
}

const ONNX_NAMES: [&str; 6] = [
    "1_Pooling/config.json",
    "config.json",
    "onnx/model.onnx",
    "onnx/model.onnx_data",
    "tokenizer.json",
    "vocab.txt",
];

#[test]
fn an_onnx_folder_gives_its_graph_and_what_belongs_to_it() {
    let graph = graph();
    let folder = folder(&onnx_files(&graph));
    assert_eq!(found(&folder, "m").unwrap(), ONNX_NAMES);
    // Variants beside the usual graph change nothing, and each can be chosen.
    fs::write(folder.path().join("m/onnx/model_int8.onnx"), &graph).unwrap();
    assert_eq!(found(&folder, "m").unwrap(), ONNX_NAMES);
    let chosen = ONNX_NAMES.map(|name| match name {
        "onnx/model.onnx" => "onnx/model_int8.onnx",
        name => name,
    });
    let mut chosen = chosen.to_vec();
    chosen.sort_unstable();
    assert_eq!(found(&folder, "m/onnx/model_int8.onnx").unwrap(), chosen);
    fs::rename(
        folder.path().join("m/onnx/model.onnx"),
        folder.path().join("m/onnx/other.onnx"),
    )
    .unwrap();
    // Without the usual graph a variant that is known goes before one that is not.
    assert_eq!(found(&folder, "m").unwrap(), chosen);
    fs::rename(
        folder.path().join("m/onnx/model_int8.onnx"),
        folder.path().join("m/onnx/another.onnx"),
    )
    .unwrap();
    let several = "several ONNX graphs, give the one to run: onnx/another.onnx, onnx/other.onnx";
    assert_eq!(found(&folder, "m").unwrap_err(), several);
}

#[test]
fn what_is_no_model_is_told() {
    let folder = folder(&[
        ("empty/notes.md", b"x"),
        ("torch/pytorch_model.bin", b"x"),
        ("tensors/model.safetensors", b"x"),
        ("tensors/more/model.safetensors", b"x"),
        ("tensors/config.json", b"{}"),
        ("tensors/README.md", b"x"),
        ("broken/model.onnx", b"not a graph"),
        ("gguf/model.gguf", b"x"),
        ("gguf/config.json", b"{}"),
        ("lone/data/Weights (1).GGUF", b"x"),
    ]);
    for name in ["empty", "torch"] {
        let error = found(&folder, name).unwrap_err();
        assert!(
            error.starts_with("no ONNX, safetensors or GGUF files found in "),
            "{error}"
        );
    }
    assert!(
        found(&folder, "broken")
            .unwrap_err()
            .starts_with("invalid ONNX file")
    );
    for path in ["tensors", "tensors/model.safetensors"] {
        let names = ["config.json", "model.safetensors"];
        assert_eq!(found(&folder, path).unwrap(), names, "{path}");
    }
    assert_eq!(found(&folder, "gguf").unwrap(), ["model.gguf"]);
    assert_eq!(
        found(&folder, "lone/data/Weights (1).GGUF").unwrap(),
        ["model.gguf"]
    );
    let graph = graph();
    let without_data = self::folder(&[("model.onnx", &graph)]);
    assert!(
        found(&without_data, "")
            .unwrap_err()
            .contains("model.onnx_data")
    );
}

#[test]
fn links_out_of_the_folder_are_not_followed() {
    let graph = graph();
    let folder = folder(&onnx_files(&graph));
    fs::write(folder.path().join("secret.json"), b"{}").unwrap();
    let link = folder.path().join("m/secret.json");
    std::os::unix::fs::symlink(folder.path().join("secret.json"), &link).unwrap();
    assert!(
        found(&folder, "m")
            .unwrap_err()
            .starts_with("insecure path: secret.json")
    );
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("m/round")).unwrap();
    assert_eq!(found(&folder, "m").unwrap(), ONNX_NAMES);
}

#[tokio::test]
async fn mistakes_are_told_before_the_server_is_asked() {
    let folder = folder(&[("x.gguf", b"x")]);
    check_refused(&folder, "SYSTEM x", "Error: no FROM line\n").await;
    check_refused(
        &folder,
        "FROM x\nCOLOUR red",
        "Error: (line 2): command must be one of",
    )
    .await;
    check_refused(
        &folder,
        "FROM x\nPARAMETER colour red",
        "Error: unknown parameter 'colour'\n",
    )
    .await;
    check_refused(
        &folder,
        "FROM ./y.gguf",
        "Error: FROM ./y.gguf: there is no such file",
    )
    .await;
    check_refused(
        &folder,
        "FROM x\nDRAFT x.gguf",
        "Error: draft models are not supported yet\n",
    )
    .await;
    let missing = Args {
        model: "new".into(),
        file: Some(folder.path().join("Nofile")),
        quantize: None,
    };
    let server = ScriptedServer::start([]).await;
    let told = ran(None, async |console| {
        run(&missing, &server.client, console).await
    })
    .await;
    assert_eq!(told.err, "Error: specified Modelfile wasn't found\n");
    let unnamed = Args {
        model: "a b".into(),
        ..missing
    };
    let told = ran(None, async |console| {
        run(&unnamed, &server.client, console).await
    })
    .await;
    assert_eq!(told.err, "Error: invalid model name: a b\n");
}

#[tokio::test]
async fn a_name_beside_no_file_is_another_model() {
    let folder = folder(&[]);
    let expected = json!({"model": "new", "stream": true, "from": "tiny"});
    assert_eq!(asked(&folder, "FROM tiny").await, expected);
}

#[tokio::test]
async fn what_the_server_finds_wrong_is_told() {
    let folder = folder(&[("Modelfile", b"FROM tiny")]);
    let refused = Reply::refused(400, "{\"error\":\"model 'tiny:latest' not found\"}");
    let server = ScriptedServer::start([("POST /api/create", refused)]).await;
    let expected = "gathering model components\nError: model 'tiny:latest' not found\n";
    assert_eq!(run_in(&folder, &server).await.err, expected);
}

//! Safetensors become GGUF: a model that answers as the one it was saved from, and adapters that change it as the sum of
//! their products with its weights does.

use std::collections::BTreeMap;
use std::path::Path;

use chaski::store::gguf::TensorType;
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use crate::create::{answer, make_floats, show, upload};
use crate::floats::{Parts, numbers};
use crate::folder::{Saved, safetensors, save, scattered};
use crate::server::{Reply, Server};

/// Uploads all files of a folder and returns their digests by name.
async fn upload_all(server: &Server, folder: &Path) -> Map<String, Value> {
    let mut files = Map::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        files.insert(name, upload(server, &path).await.into());
    }
    files
}

fn tensors(shown: &Value) -> BTreeMap<String, Value> {
    let tensors = shown["tensors"].as_array().unwrap();
    let by_name = tensors
        .iter()
        .map(|tensor| (tensor["name"].to_string(), tensor.clone()));
    by_name.collect()
}

#[tokio::test]
async fn a_folder_of_safetensors_answers_as_the_model_it_was_saved_from() {
    let server = Server::start().await;
    make_floats(&server).await;
    let folder = tempfile::tempdir().unwrap();
    save(folder.path());
    let files = upload_all(&server, folder.path()).await;
    let lines = server
        .post("/api/create", json!({"model": "saved", "files": files}))
        .await
        .lines();
    assert_eq!(lines[0]["status"], "converting model");
    assert_eq!(lines.last().unwrap()["status"], "success", "{lines:?}");

    let (saved, floats) = (show(&server, "saved").await, show(&server, "floats").await);
    assert_eq!(saved["details"], floats["details"]);
    assert_eq!(tensors(&saved), tensors(&floats));
    for key in [
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.merges",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.pre",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.add_bos_token",
        "llama.rope.dimension_count",
    ] {
        assert_eq!(saved["model_info"][key], floats["model_info"][key], "{key}");
    }
    assert_eq!(saved["template"], floats["template"]);
    let answered = answer(&server, "saved").await;
    assert_eq!(answered, answer(&server, "floats").await);
    assert!(answered.contains("Paris"), "{answered}");

    let mut lacking = files.clone();
    lacking.remove("model-00002-of-00002.safetensors");
    let body = json!({"model": "bad", "files": lacking, "stream": false});
    let (status, text) = server.post("/api/create", body).await.error();
    let expected = "model.safetensors.index.json names tensors that are not there, \
                    of model-00002-of-00002.safetensors";
    assert_eq!((status, text.as_str()), (400, expected));
    lacking.remove("config.json");
    let body = json!({"model": "bad", "files": lacking, "stream": false});
    let (_, text) = server.post("/api/create", body).await.error();
    assert_eq!(text, "a model of safetensors needs config.json");
}

#[tokio::test]
async fn the_command_line_converts_and_quantises_a_folder() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    save(folder.path());
    let modelfile = folder.path().join("Modelfile");
    std::fs::write(&modelfile, "FROM .\nPARAMETER temperature 0\n").unwrap();
    let address = format!("http://{}", server.address());
    let run = tokio::task::spawn_blocking(move || {
        std::process::Command::new(env!("CARGO_BIN_EXE_chaski"))
            .args(["create", "small", "--quantize", "q4_K_M", "--file"])
            .arg(&modelfile)
            .env("OLLAMA_HOST", address)
            .output()
            .unwrap()
    });
    let output = run.await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("converting model"), "{told}");
    assert!(told.contains("quantizing F16 model to Q4_K_M"), "{told}");
    let small = show(&server, "small").await;
    assert_eq!(small["details"]["quantization_level"], "Q4_K_M");
    assert!(answer(&server, "small").await.contains("Paris"));
    // Neither the folder's files, which may be needed again, nor the model in floats is part of the model.
    let blobs = std::fs::read_dir(server.app.store.root().join("blobs")).unwrap();
    let largest = blobs
        .map(|blob| blob.unwrap().metadata().unwrap().len())
        .max();
    assert!(largest.unwrap() < 5 << 20, "{largest:?}");
}

/// An adapter of rank 4 for queries, values and the way down of every layer, and the weights with it added.
fn adapter(merged: &mut Parts) -> Vec<Saved> {
    const RANK: usize = 4;
    let mut saved = Vec::new();
    for layer in 0..4_u32 {
        for (index, (theirs, ours)) in [
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.v_proj", "attn_v"),
            ("mlp.down_proj", "ffn_down"),
        ]
        .into_iter()
        .enumerate()
        {
            let (tensor, data) = merged.tensor(&format!("blk.{layer}.{ours}.weight"));
            let [width, height] = [0, 1].map(|side| usize::try_from(tensor.shape[side]).unwrap());
            let seed = layer * 10 + u32::try_from(index).unwrap();
            let a = scattered(seed, RANK * width);
            let b: Vec<f32> = scattered(seed + 100, height * RANK)
                .into_iter()
                .map(|number| number * 0.1)
                .collect();
            let mut weights = numbers(data, TensorType::F32);
            for row in 0..height {
                // Where Hugging Face has the row that llama.cpp's rotary embedding wants here.
                let source = match ours {
                    "attn_q" => {
                        let (head, place) = (row / 64, row % 64);
                        head * 64 + place % 2 * 32 + place / 2
                    }
                    _ => row,
                };
                for column in 0..width {
                    let product: f32 = (0..RANK)
                        .map(|rank| b[source * RANK + rank] * a[rank * width + column])
                        .sum();
                    // Alpha is twice the rank.
                    weights[row * width + column] += 2.0 * product;
                }
            }
            *data = weights.into_iter().flat_map(f32::to_le_bytes).collect();
            let bytes = |numbers: &[f32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
            let name =
                |half| format!("base_model.model.model.layers.{layer}.{theirs}.lora_{half}.weight");
            saved.push((name("A"), vec![RANK, width], Dtype::F32, bytes(&a)));
            saved.push((name("B"), vec![height, RANK], Dtype::F32, bytes(&b)));
        }
    }
    saved
}

#[tokio::test]
async fn an_adapter_changes_a_model_as_its_sum_with_the_weights_does() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let mut parts = Parts::of_tiny_in_long_floats();
    let kind =
        |entries: &mut chaski::convert::gguf::Entries| entries.put("general.file_type", 0_u32);
    parts.write(&file("base.gguf"), kind);
    let saved = adapter(&mut parts);
    parts.write(&file("merged.gguf"), kind);
    for model in ["base", "merged"] {
        let digest = upload(&server, &file(&format!("{model}.gguf"))).await;
        let body = json!({"model": model, "files": {"model.gguf": digest}, "stream": false});
        server.post("/api/create", body).await.json();
    }
    std::fs::write(file("adapter_model.safetensors"), safetensors(&saved)).unwrap();
    let settings = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8});
    std::fs::write(file("adapter_config.json"), settings.to_string()).unwrap();
    let mut adapters = Map::new();
    for name in ["adapter_model.safetensors", "adapter_config.json"] {
        adapters.insert(name.to_owned(), upload(&server, &file(name)).await.into());
    }
    let body = json!({"model": "adapted", "from": "base", "adapters": adapters});
    let lines = server.post("/api/create", body).await.lines();
    assert_eq!(lines[0]["status"], "converting adapter");
    assert_eq!(lines.last().unwrap()["status"], "success", "{lines:?}");

    let (base, adapted) = (
        answer(&server, "base").await,
        answer(&server, "adapted").await,
    );
    assert_ne!(adapted, base);
    assert_eq!(adapted, answer(&server, "merged").await);

    // The adapter that was made is a GGUF file like any other.
    let shown = show(&server, "adapted").await;
    let modelfile = shown["modelfile"].as_str().unwrap();
    let line = modelfile
        .lines()
        .find_map(|line| line.strip_prefix("ADAPTER "));
    let digest = upload(&server, Path::new(line.unwrap())).await;
    let body = json!({"model": "again", "from": "base", "adapters": {"lora.gguf": digest}, "stream": false});
    server.post("/api/create", body).await.json();
    assert_eq!(answer(&server, "again").await, adapted);

    let check = async |body: Value, expected: &str| {
        let reply: Reply = server.post("/api/create", body).await;
        assert_eq!(reply.error(), (400, expected.to_owned()));
    };
    let two = json!({"a.gguf": digest, "b.gguf": digest});
    let one = "only one adapter is currently supported";
    check(json!({"model": "x", "from": "base", "adapters": two}), one).await;
    let onnx = "'tiny-embed:latest' has no GGUF model to work on";
    check(
        json!({"model": "x", "from": "tiny-embed", "adapters": adapters}),
        onnx,
    )
    .await;
}

#[tokio::test]
async fn a_process_that_converts_dies_when_its_caller_leaves() {
    use chaski::convert::Task;
    use chaski::sandbox::Mode;
    use chaski::worker::make::{Order, Work, make};

    crate::support::use_built_executable();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("config.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    let order = Order {
        work: Work::Convert(Task::Model {
            files: [("config.json".to_owned(), pipe.clone())].into(),
            to: None,
        }),
        output: folder.path().join("out"),
    };
    let making = tokio::spawn(async move { make(order, Mode::default(), &mut |_| {}).await });
    // Opening returns once the process has opened the other end, from which it then waits for bytes.
    let opening = tokio::task::spawn_blocking(move || std::fs::File::create(pipe).unwrap());
    let mut writer = opening.await.unwrap();
    making.abort();
    assert!(making.await.unwrap_err().is_cancelled());
    let broken = std::cell::Cell::new(false);
    crate::support::eventually("the process is gone", || {
        // A pipe that nobody reads any more breaks.
        broken.set(broken.get() || std::io::Write::write_all(&mut &writer, b" ").is_err());
        broken.get()
    })
    .await;
    assert!(std::io::Write::write_all(&mut writer, b" ").is_err());
}

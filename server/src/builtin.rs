//! The models inside the binary, so that a first start can serve something real without a network.

use crate::store::SeedModel;

macro_rules! files {
    ($folder:literal: $($file:literal),+ $(,)?) => {
        &[$(($file, include_bytes!(concat!("../../models/", $folder, "/", $file)))),+]
    };
}

/// What a first start puts into the store. Their cards are in `models/`.
pub const MODELS: &[SeedModel<'static>] = &[
    SeedModel {
        name: "tiny",
        files: files!("tiny": "tiny.gguf"),
        system: None,
        parameters: &[],
        license: Some(LICENSE),
    },
    SeedModel {
        name: "tiny-embed",
        files: files!(
            "tiny-embed": "model.onnx", "tokenizer.json", "tokenizer_config.json", "config.json", "modules.json",
            "sentence_bert_config.json", "1_Pooling/config.json"
        ),
        system: None,
        parameters: &[],
        license: Some(LICENSE),
    },
    SeedModel {
        name: "tiny-classify",
        files: files!("tiny-classify": "model.onnx", "tokenizer.json", "tokenizer_config.json", "config.json"),
        system: None,
        parameters: &[],
        license: Some(LICENSE),
    },
];

const LICENSE: &str =
    "MIT OR Apache-2.0, at your choice. Trained by the Chaski project on text of its own.";

//! The integration tests: one binary, since linking is the dear part. Real worker processes, real inference where a test
//! claims it, on the models the repository ships; no network beyond loopback.

#![expect(
    clippy::unwrap_used,
    reason = "in a test, what is not there is the failure"
)]

mod access;
mod agreement;
mod answers;
mod anthropic;
mod bert_gguf;
mod catalog;
mod convert;
mod corpora;
mod costs;
mod create;
mod differential;
mod encoder;
mod encoder_families;
mod encoder_layouts;
mod families;
mod floats;
mod folder;
mod gguf;
mod http;
mod images;
mod kernels;
mod layers;
mod llama_server;
mod logs;
mod manners;
mod notify;
mod offered;
mod openai;
mod openapi;
mod program;
mod ranking;
mod recital;
mod recovery;
mod registry;
mod reliability;
mod room;
mod same_text;
mod scrape;
mod seeing;
mod server;
mod sight;
mod stored;
mod structured;
mod support;
mod tagging;
mod tei;
mod templates;
mod tidy;
mod tls;
mod tokens;
#[cfg(feature = "otlp")]
mod traces;
mod vectors;
mod weights;
mod worker;

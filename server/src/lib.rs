//! Chaski serves GGUF and ONNX models over HTTP as a drop-in replacement for Ollama.
//!
//! The map (see `docs/ARCHITECTURE.md`): `cli` starts things, `api` speaks HTTP and JSON, `prompt` turns messages into
//! text and text into tool calls, `store` keeps models on disk, `registry` moves them from and to other machines, `models` knows what is loaded, `making` makes new models, `convert`
//! turns files into GGUF, `worker` runs one child process per loaded model, `inference` is the core that both sides of that process boundary share, and `engine` is the
//! only place where an inference library is named.

pub mod api;
pub mod builtin;
pub mod cli;
pub mod config;
pub mod convert;
pub mod duration;
pub mod engine;
pub mod inference;
pub mod keys;
pub mod making;
pub mod metrics;
pub mod models;
pub mod notify;
pub mod prompt;
pub mod registry;
pub mod sandbox;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod traces;
pub mod worker;

//! Traces of inference requests for OpenTelemetry, in builds with the feature `otlp`; elsewhere these types do nothing and take no
//! room.
//!
//! A request is one span with the names of the [conventions for generative AI]; below it are spans for loading, the queue, prefill
//! and decode, whose times the worker told. No span holds a prompt, an answer or a key. A leaf.
//!
//! [conventions for generative AI]: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/

#[cfg(feature = "otlp")]
mod export;
#[cfg(not(feature = "otlp"))]
mod none;
#[cfg(feature = "otlp")]
mod spans;

#[cfg(not(feature = "otlp"))]
pub use self::none::{Caller, Trace, start, stop};
#[cfg(feature = "otlp")]
pub use self::spans::{Caller, Trace, start, stop};

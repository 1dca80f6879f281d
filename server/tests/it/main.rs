//! The integration tests: one binary, since linking is the dear part. Real worker processes, real inference where a test
//! claims it, on the models the repository ships; no network beyond loopback.

#![expect(
    clippy::unwrap_used,
    reason = "in a test, what is not there is the failure"
)]

mod answers;
mod catalog;
mod create;
mod floats;
mod gguf;
mod http;
mod recovery;
mod room;
mod scrape;
mod server;
mod structured;
mod support;
mod tidy;
mod vectors;
mod worker;

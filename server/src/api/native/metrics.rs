//! GET `/metrics`: for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, header};

use crate::api::App;
use crate::metrics;

/// Prometheus's text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric as it is now.
pub async fn metrics(State(app): State<Arc<App>>) -> ([(HeaderName, &'static str); 1], String) {
    let models = app.models.clone();
    // Reading /proc takes milliseconds. If it panics, its own log line says so, and the other metrics are as good.
    let _ = tokio::task::spawn_blocking(move || models.record_memory()).await;
    (
        [(header::CONTENT_TYPE, TEXT_FORMAT)],
        metrics::page(&app.metrics),
    )
}

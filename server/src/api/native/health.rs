//! GET `/healthz` and `/readyz`: for supervisors and load balancers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::App;

/// The process answers.
pub async fn healthz() -> &'static str {
    "ok"
}

/// New requests are welcome: no longer once the server is to stop.
pub async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    if app.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        (StatusCode::OK, "ready")
    }
}

//! POST `/v1/audio/transcriptions`: speech to text, which no model here understands.

use axum::RequestExt;
use axum::extract::Request;

use crate::api::{Error, json};

/// Longest upload that is taken in before it is refused.
pub const MAX_UPLOAD_BYTES: usize = 25 << 20;

/// Refuses. The upload is read first: a client that is still sending would see a broken connection instead of the reason.
pub async fn transcriptions(request: Request) -> Error {
    let mut pieces = request.into_limited_body().into_data_stream();
    loop {
        match json::next_piece(&mut pieces).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                return Error::NotImplemented("speech is not understood here yet".into());
            }
            Err(error) => return error,
        }
    }
}

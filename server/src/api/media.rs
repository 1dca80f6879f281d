//! Images and recordings that come inside of requests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::json::Mismatch;

/// Kinds of images that clients may announce.
const IMAGE_TYPES: &[&str] = &["jpeg", "jpg", "png", "webp"];

/// The bytes of an image in a data URI.
///
/// # Errors
/// For the address of an image elsewhere, which is not fetched, and for what is no image.
pub fn image(url: &str) -> Result<Vec<u8>, Mismatch> {
    if url.starts_with("http://") || url.starts_with("https://") {
        return Err(Mismatch::Value(
            "image URLs are not currently supported, please use base64 encoded data instead".into(),
        ));
    }
    let data = url.strip_prefix("data:").and_then(|rest| {
        let (kind, data) = rest.split_once(";base64,")?;
        let image = kind.strip_prefix("image/");
        let is_known = kind.is_empty() || image.is_some_and(|it| IMAGE_TYPES.contains(&it));
        is_known.then_some(data)
    });
    data.and_then(|data| STANDARD.decode(data).ok())
        .ok_or_else(|| Mismatch::Value("invalid image input".into()))
}

/// Bytes that were written as base64.
///
/// # Errors
/// When they were not.
pub fn base64(data: &str) -> Result<Vec<u8>, base64::DecodeError> {
    STANDARD.decode(data)
}

//! Request bodies of the `/v1` routes: JSON, or JSON compressed with zstd as some agents send it.

use std::io::Read;

use axum::RequestExt;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use ruzstd::decoding::StreamingDecoder;

use super::Error;
use super::json::{self, FromJson};

/// Longest body after decompression.
const MAX_DECODED_BYTES: usize = 20 << 20;

/// Most memory that a compressed body may ask for to look back at what it said, as in Ollama.
const MAX_WINDOW_BYTES: u64 = 8 << 20;

/// A request body as `T`. The bound on its length is the router's `DefaultBodyLimit`.
pub struct Body<T>(pub T);

impl<T: FromJson + Send + 'static, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let is_compressed = is_compressed(request.headers())?;
        let mut body = json::read(request.into_limited_body()).await?;
        if is_compressed {
            body = tokio::task::spawn_blocking(move || decompress(&body, MAX_DECODED_BYTES))
                .await
                .expect("decompressing does not panic")?;
        }
        json::with_body(body, parse).await.map(Self)
    }
}

fn parse<T: FromJson>(body: &[u8]) -> Result<T, Error> {
    if body.trim_ascii().is_empty() {
        // What Go's decoder says of nothing; the native routes look before they decode.
        return Err(Error::BadRequest("EOF".into()));
    }
    json::parse(body)
}

fn is_compressed(headers: &HeaderMap) -> Result<bool, Error> {
    match headers
        .get(header::CONTENT_ENCODING)
        .map(|it| it.as_bytes())
    {
        None | Some(b"" | b"identity") => Ok(false),
        Some(b"zstd") => Ok(true),
        Some(other) => Err(Error::BadRequest(format!(
            "content encoding {:?} is not supported; send plain JSON or zstd",
            String::from_utf8_lossy(other)
        ))),
    }
}

fn decompress(body: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let broken = || Error::BadRequest("failed to decompress zstd body".into());
    let mut decoder =
        StreamingDecoder::new_with_max_window_size(body, MAX_WINDOW_BYTES).map_err(|_| broken())?;
    let mut decoded = Vec::new();
    let one_too_many = u64::try_from(limit).expect("a length fits 64 bits") + 1;
    decoder
        .by_ref()
        .take(one_too_many)
        .read_to_end(&mut decoded)
        .map_err(|_| broken())?;
    if decoded.len() > limit {
        return Err(Error::BodyTooLarge);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    #[test]
    fn what_was_compressed_comes_back() {
        let text = b"{\"model\": \"tiny\"}".repeat(100);
        let compressed = compress_to_vec(text.as_slice(), CompressionLevel::Fastest);
        assert_eq!(decompress(&compressed, text.len()).unwrap(), text);
    }

    #[test]
    fn what_grows_too_large_is_refused_and_what_is_broken_too() {
        let zeros = vec![0; 100_000];
        let compressed = compress_to_vec(zeros.as_slice(), CompressionLevel::Fastest);
        assert!(compressed.len() < 1_000);
        let refused = decompress(&compressed, zeros.len() - 1).unwrap_err();
        assert!(matches!(refused, Error::BodyTooLarge));
        for broken in [b"{}".as_slice(), &compressed[..compressed.len() / 2]] {
            let refused = decompress(broken, 1_000_000).unwrap_err();
            assert_eq!(refused.to_string(), "failed to decompress zstd body");
        }
    }
}

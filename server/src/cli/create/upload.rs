//! Sends files to the server that it does not have yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::request::HashedFile;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::progress::Progress;

/// Read and sent at a time.
const PIECE_BYTES: usize = 256 << 10;

/// How often progress is shown.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);

/// Uploads the file unless the server has it.
///
/// # Errors
/// When it cannot be read any more, has changed, or the server cannot be asked or refuses.
pub async fn upload(
    file: &HashedFile,
    client: &Client,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    if client.has_blob(&file.digest).await? {
        return Ok(());
    }
    let input = File::open(&file.path)
        .await
        .map_err(Error::file(&file.path))?;
    let total = input
        .metadata()
        .await
        .map_err(Error::file(&file.path))?
        .len();
    let label = format!("copying file {}", file.digest);
    let sent = Arc::new(AtomicU64::new(0));
    let uploading = client.upload(&file.digest, total, pieces(input, Arc::clone(&sent)));
    let mut uploading = std::pin::pin!(uploading);
    let mut ticks = tokio::time::interval(SHOW_INTERVAL);
    loop {
        tokio::select! {
            uploaded = &mut uploading => {
                uploaded?;
                progress.transfer(&label, total, total)?;
                return Ok(());
            }
            _ = ticks.tick() => progress.transfer(&label, sent.load(Ordering::Relaxed), total)?,
        }
    }
}

/// The file piece by piece, each counted when it is handed over.
fn pieces(input: File, sent: Arc<AtomicU64>) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    stream::try_unfold((input, sent), async |(mut input, sent)| {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        let count = input.read_buf(&mut piece).await?;
        sent.fetch_add(count as u64, Ordering::Relaxed);
        Ok((count > 0).then(|| (piece.freeze(), (input, sent))))
    })
}

//! HEAD and POST `/api/blobs/{digest}`: files on their way into a model.

use std::io::Write;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use tokio::sync::mpsc;

use crate::api::json::next_piece;
use crate::api::{App, Error};
use crate::store::{Digest, Store, StoreError};

/// Pieces of an upload that may wait for the disk; then the sender waits too.
const MAX_WAITING_PIECES: usize = 16;

/// Whether the blob is here.
pub async fn exists(
    State(app): State<Arc<App>>,
    Path(digest): Path<String>,
) -> Result<StatusCode, Error> {
    let digest: Digest = digest.parse()?;
    let is_here = app.with_store(move |store| store.has_blob(&digest)).await?;
    Ok(if is_here {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    })
}

/// Stores the body if its digest is the one in the path.
pub async fn upload(
    State(app): State<Arc<App>>,
    Path(digest): Path<String>,
    body: Body,
) -> Result<StatusCode, Error> {
    let digest: Digest = digest.parse()?;
    if app.with_store(move |store| store.has_blob(&digest)).await? {
        return Ok(StatusCode::OK);
    }
    let (sender, receiver) = mpsc::channel(MAX_WAITING_PIECES);
    let writing = app.with_store(move |store| write(store, digest, receiver));
    let (sent, written) = tokio::join!(send(body, sender), writing);
    // A full disk is why sending failed, and not the other way round.
    written?;
    sent?;
    Ok(StatusCode::CREATED)
}

/// What the writer is told last if the body has come to its end.
enum Piece {
    Bytes(Bytes),
    End,
}

async fn send(body: Body, writer: mpsc::Sender<Piece>) -> Result<(), Error> {
    let mut pieces = body.into_data_stream();
    while let Some(bytes) = next_piece(&mut pieces).await? {
        if writer.send(Piece::Bytes(bytes)).await.is_err() {
            // The writer has failed and tells why.
            return Ok(());
        }
    }
    // As above.
    let _ = writer.send(Piece::End).await;
    Ok(())
}

/// Writes until the end. Without one, what was written is thrown away.
fn write(
    store: &Store,
    digest: Digest,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<(), StoreError> {
    let mut writer = store.write_blob()?;
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Bytes(bytes) => writer
                .write_all(&bytes)
                .map_err(StoreError::io("writing a blob"))?,
            Piece::End => return writer.finish(Some(digest)).map(drop),
        }
    }
    Ok(())
}

//! The messages between the server and a worker, and their frames on the socket.
//!
//! A frame is the length of its body as a 32-bit little-endian number, then the body in postcard's encoding. A length
//! above [`MAX_FRAME_BYTES`] or a body that does not decode to the last byte is garbage, and garbage ends the connection.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::make::Order;
use crate::convert::{self, Done};
use crate::engine::{Facts, Spec};
use crate::inference::{Error, Event, Job, JobId, Step};
use crate::sandbox::{Enforced, Mode};

/// Largest body. 64 MiB hold the vectors of 40,000 texts of 384 dimensions, or a prompt of many books.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

const LENGTH_BYTES: usize = 4;

/// What the server tells a worker.
#[derive(Debug, Deserialize, Serialize)]
pub enum ToWorker {
    /// Lock yourself in, then load this model; the first message and only once.
    Load(Box<Spec>, Confinement),
    /// Lock yourself in and make this file instead; the only message.
    Make(Box<Order>, Confinement),
    /// Lock yourself in and say what holds; the only message.
    Try(Confinement),
    /// Do this job.
    Submit(JobId, Job),
    /// Forget this job.
    Cancel(JobId),
    /// Are you there?
    Ping(u64),
}

/// How a worker is held, as the server decided.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Confinement {
    /// How much of the sandbox there must be.
    pub mode: Mode,
    /// Bytes of writable memory that it may take; `None` for what the system gives.
    pub memory: Option<u64>,
}

/// What a worker tells the server.
#[derive(Debug, Deserialize, Serialize)]
pub enum FromWorker {
    /// What of the sandbox holds; the first message, before any file of the model is opened.
    Confined(Enforced),
    /// The model is loaded.
    Ready(Facts),
    /// The model could not be loaded; the worker ends.
    LoadFailed(Error),
    /// The engine loop did a step and has these events.
    Step(Step, Vec<(JobId, Event)>),
    /// Answer to a ping.
    Pong {
        /// The ping's number.
        ping: u64,
        /// A count that grows whenever the engine loop gets anything done.
        progress: u64,
    },
    /// This much of the file is made.
    Making(Done),
    /// How making the file ended, and what there is to tell of it; the worker ends too.
    Made(Result<Option<String>, convert::Error>),
}

/// Why a message could not be sent or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side closed the connection between two frames.
    #[error("the connection was closed")]
    Closed,
    /// The message is larger than a frame may be.
    #[error("a message of {0} bytes exceeds the frame limit of {MAX_FRAME_BYTES}")]
    TooLarge(usize),
    /// The bytes are no message.
    #[error("garbage on the connection")]
    Garbage,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A message as the bytes of its frame.
///
/// # Errors
/// [`FrameError::TooLarge`] above the limit.
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, FrameError> {
    let mut frame =
        postcard::to_extend(message, vec![0; LENGTH_BYTES]).map_err(|_| FrameError::Garbage)?;
    let length = frame.len() - LENGTH_BYTES;
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge(length));
    }
    let prefix = u32::try_from(length)
        .expect("the frame limit fits 32 bits")
        .to_le_bytes();
    frame[..LENGTH_BYTES].copy_from_slice(&prefix);
    Ok(frame)
}

/// A message from the bytes of a frame's body.
///
/// # Errors
/// [`FrameError::Garbage`] if they are not exactly one message.
pub fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, FrameError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(FrameError::Garbage),
    }
}

/// Reads frames from a blocking socket: the worker's side.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    body: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads from `source`, which ought to be buffered.
    pub fn new(source: R) -> Self {
        Self {
            source,
            body: Vec::new(),
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn read<M: DeserializeOwned>(&mut self) -> Result<M, FrameError> {
        let mut prefix = [0; LENGTH_BYTES];
        self.source.read_exact(&mut prefix).map_err(closed_at_end)?;
        self.body.resize(checked_length(prefix)?, 0);
        self.source
            .read_exact(&mut self.body)
            .map_err(|_| FrameError::Garbage)?;
        let message = decode(&self.body);
        self.body.shrink_to(KEPT_BYTES);
        message
    }
}

/// Reads frames from an async socket: the server's side.
#[derive(Debug)]
pub struct AsyncReader<R> {
    source: R,
    body: Vec<u8>,
}

impl<R: AsyncRead + Unpin> AsyncReader<R> {
    /// Reads from `source`, which ought to be buffered.
    pub fn new(source: R) -> Self {
        Self {
            source,
            body: Vec::new(),
        }
    }

    /// The next message. Not safe to drop and call again: a frame may be half read.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub async fn read<M: DeserializeOwned>(&mut self) -> Result<M, FrameError> {
        let mut prefix = [0; LENGTH_BYTES];
        self.source
            .read_exact(&mut prefix)
            .await
            .map_err(closed_at_end)?;
        let length = checked_length(prefix)?;
        // The length is the sender's claim: memory is taken as the bytes come, not before.
        self.body.clear();
        let read = (&mut self.source)
            .take(length as u64)
            .read_to_end(&mut self.body)
            .await?;
        if read < length {
            return Err(FrameError::Garbage);
        }
        let message = decode(&self.body);
        self.body.clear();
        self.body.shrink_to(KEPT_BYTES);
        message
    }
}

/// Buffer that a reader keeps between frames; a rare large one gives its memory back.
const KEPT_BYTES: usize = 256 << 10;

fn checked_length(prefix: [u8; LENGTH_BYTES]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes(prefix) as usize;
    if length > MAX_FRAME_BYTES {
        Err(FrameError::Garbage)
    } else {
        Ok(length)
    }
}

fn closed_at_end(error: io::Error) -> FrameError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        FrameError::Closed
    } else {
        FrameError::Io(error)
    }
}

/// Writes a message to a blocking socket.
///
/// # Errors
/// See [`FrameError`].
pub fn write<M: Serialize>(sink: &mut impl Write, message: &M) -> Result<(), FrameError> {
    sink.write_all(&encode(message)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_survives_its_frame() {
        let frame = encode(&ToWorker::Ping(7)).unwrap();
        let message = Reader::new(frame.as_slice()).read::<ToWorker>().unwrap();
        assert!(matches!(message, ToWorker::Ping(7)));
    }

    #[test]
    fn the_end_between_frames_is_a_close_and_inside_one_is_garbage() {
        let frame = encode(&ToWorker::Cancel(1)).unwrap();
        assert!(matches!(
            Reader::new(&frame[..0]).read::<ToWorker>(),
            Err(FrameError::Closed)
        ));
        assert!(matches!(
            Reader::new(&frame[..frame.len() - 1]).read::<ToWorker>(),
            Err(FrameError::Garbage)
        ));
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_memory_is_taken() {
        let frame = u32::MAX.to_le_bytes();
        assert!(matches!(
            Reader::new(frame.as_slice()).read::<ToWorker>(),
            Err(FrameError::Garbage)
        ));
    }

    #[test]
    fn a_message_above_the_limit_is_not_sent() {
        let job = Job::Tokenize {
            text: "x".repeat(MAX_FRAME_BYTES),
            add_special: false,
            parse_special: false,
        };
        assert!(matches!(
            encode(&ToWorker::Submit(1, job)),
            Err(FrameError::TooLarge(_))
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let mut reader = Reader::new(bytes.as_slice());
            while reader.read::<FromWorker>().is_ok() {}
        }

        #[test]
        fn both_readers_agree(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let blocking = Reader::new(bytes.as_slice()).read::<ToWorker>();
            let asynchronous = futures::executor::block_on(AsyncReader::new(bytes.as_slice()).read::<ToWorker>());
            prop_assert_eq!(format!("{blocking:?}"), format!("{asynchronous:?}"));
        }
    }
}

//! How much is believed, and for how long is waited.

use std::time::Duration;

/// Longest manifest. Models of thousands of layers stay below it.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// Most layers of a model.
pub const MAX_LAYERS: usize = 8192;

/// Longest reply of whoever issues tokens.
pub const MAX_TOKEN_BYTES: usize = 64 << 10;

/// Most of an error's body that is read; of that the caller is told a line.
pub const MAX_ERROR_BYTES: usize = 8 << 10;

/// Longest list of a repository's files.
pub const MAX_LISTING_BYTES: usize = 8 << 20;

/// Redirects that are followed for one request, as Ollama has it.
pub const MAX_REDIRECTS: usize = 10;

/// Attempts at one part without any of them getting forward.
pub const MAX_TRIES: u32 = 6;

/// Attempts at a small request, which a person is waiting for.
pub const MAX_SMALL_TRIES: u32 = 3;

/// Received bytes are handed to the disk in pieces of this length.
pub const WRITE_BYTES: usize = 1 << 20;

/// Sent bytes are read from the disk in pieces of this length.
pub const READ_BYTES: usize = 1 << 20;

/// How long is waited for whom, and how much is moved at a time. Tests have less patience than people and smaller models.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a connection.
    pub connect: Duration,
    /// From a request to the head of its reply.
    pub reply: Duration,
    /// A connection that brings less than [`Limits::stall_bytes`] in this time is given up.
    pub stall: Duration,
    /// See [`Limits::stall`].
    pub stall_bytes: u64,
    /// Before the second attempt; each further wait is twice as long.
    pub backoff: Duration,
    /// The longest wait between attempts, even if the registry asks for more.
    pub max_backoff: Duration,
    /// For a registry that has all bytes of a blob and checks them.
    pub settle: Duration,
    /// Parts are a sixteenth of a blob and at least so long, as Ollama plans them.
    pub min_part_bytes: u64,
    /// And at most so long.
    pub max_part_bytes: u64,
    /// A part's progress is remembered when so many bytes have come: what may be fetched twice after a crash.
    pub chunk_bytes: u64,
    /// Between two lines about a blob's progress.
    pub tick: Duration,
}

impl Limits {
    /// How long the parts of a blob of `size` bytes are.
    #[must_use]
    pub fn part_bytes(&self, size: u64) -> u64 {
        (size / 16).clamp(self.min_part_bytes, self.max_part_bytes)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            reply: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            stall_bytes: 16 << 10,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
            settle: Duration::from_secs(10 * 60),
            min_part_bytes: 100_000_000,
            max_part_bytes: 1_000_000_000,
            chunk_bytes: 4 << 20,
            tick: Duration::from_millis(60),
        }
    }
}

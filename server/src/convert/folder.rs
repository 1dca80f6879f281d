//! A Hugging Face folder: its files by name, read no further than they may be long.

use std::fs::File;
use std::io::Read;

use serde::de::DeserializeOwned;

use super::{Error, Files};

/// The longest configuration, template or index.
pub const MAX_SETTINGS_BYTES: u64 = 32 << 20;
/// The longest tokenizer; a vocabulary of 250,000 words takes about 35 MB.
pub const MAX_TOKENIZER_BYTES: u64 = 128 << 20;

/// The files that a model is converted from.
#[derive(Clone, Copy, Debug)]
pub struct Folder<'a>(pub &'a Files);

impl<'a> Folder<'a> {
    /// The names of its files, in order.
    pub fn names(self) -> impl Iterator<Item = &'a str> {
        self.0.keys().map(String::as_str)
    }

    /// Opens a file, if it is there.
    ///
    /// # Errors
    /// When it is there and cannot be opened.
    pub fn open(self, name: &str) -> Result<Option<File>, Error> {
        let path = self.0.get(name);
        path.map(|path| File::open(path).map_err(Error::io("opening a file")))
            .transpose()
    }

    /// All of a file, if it is there.
    ///
    /// # Errors
    /// When it is longer than `limit` or cannot be read.
    pub fn bytes(self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.open(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(Error::io("reading a file"))?;
        if bytes.len() as u64 > limit {
            return Err(Error::refused(format!(
                "{name} is longer than {limit} bytes"
            )));
        }
        Ok(Some(bytes))
    }

    /// A text file, if it is there.
    ///
    /// # Errors
    /// When it is too long or not UTF-8.
    pub fn text(self, name: &str) -> Result<Option<String>, Error> {
        self.bytes(name, MAX_SETTINGS_BYTES)?
            .map(|bytes| {
                String::from_utf8(bytes).map_err(|_| Error::refused(format!("{name} is not UTF-8")))
            })
            .transpose()
    }

    /// A JSON file, if it is there.
    ///
    /// # Errors
    /// When it is too long or not what is expected.
    pub fn json<T: DeserializeOwned>(self, name: &str, limit: u64) -> Result<Option<T>, Error> {
        self.bytes(name, limit)?
            .map(|bytes| {
                serde_json::from_slice(&bytes)
                    .map_err(|error| Error::refused(format!("{name}: {error}")))
            })
            .transpose()
    }
}

//! A cursor over a file that knows how much is left and how much memory may still be used.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::{Arrays, StoreError, Value, broken};

const BUFFER_BYTES: usize = 64 << 10;

/// What a value of the metadata costs besides its text.
const VALUE_BYTES: u64 = size_of::<Value>() as u64;

/// The vocabulary.
const TOKENS_KEY: &str = "tokenizer.ggml.tokens";

/// What remembering a token costs besides reading it.
const SEEN_TOKEN_BYTES: u64 = 16;

pub(super) struct Reader<R> {
    input: BufReader<R>,
    position: u64,
    length: u64,
    /// How much more may be held in memory.
    allowance: u64,
}

/// What a metadata value can be.
enum Kind {
    Scalar(Scalar),
    Array,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scalar {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    U64,
    I64,
    F64,
}

impl<R: Read + Seek> Reader<R> {
    pub(super) fn new(mut input: R, allowance: u64) -> Result<Self, StoreError> {
        let length = input
            .seek(SeekFrom::End(0))
            .map_err(StoreError::io("measuring a GGUF file"))?;
        input
            .rewind()
            .map_err(StoreError::io("reading a GGUF file"))?;
        Ok(Self {
            input: BufReader::with_capacity(BUFFER_BYTES, input),
            position: 0,
            length,
            allowance,
        })
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], StoreError> {
        let mut bytes = [0; N];
        self.advance(N as u64, what)?;
        self.input
            .read_exact(&mut bytes)
            .map_err(StoreError::io("reading a GGUF file"))?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, StoreError> {
        self.bytes(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, StoreError> {
        self.bytes(what).map(u64::from_le_bytes)
    }

    /// A number of things of at least one byte each.
    pub(super) fn count(&mut self, what: &str, limit: u64) -> Result<u64, StoreError> {
        let count = self.u64(what)?;
        if count > limit.min(self.remaining()) {
            return Err(broken(format!(
                "{what} {count} is more than the file can hold or the limit of {limit}"
            )));
        }
        Ok(count)
    }

    /// A key or name: UTF-8, not empty.
    pub(super) fn name(&mut self, what: &str, limit: u64) -> Result<String, StoreError> {
        let bytes = self.text(what, limit)?;
        match String::from_utf8(bytes) {
            Ok(name) if !name.is_empty() => Ok(name),
            _ => Err(broken(format!(
                "{what} before byte {} is empty or not UTF-8",
                self.position
            ))),
        }
    }

    /// The type and value of one metadata entry.
    pub(super) fn value(
        &mut self,
        key: &str,
        text_limit: u64,
        arrays: Arrays,
    ) -> Result<Value, StoreError> {
        match self.kind(key)? {
            Kind::Array => self.array(key, text_limit, arrays),
            Kind::Scalar(kind) => self.scalar(kind, key, text_limit),
        }
    }

    fn array(&mut self, key: &str, text_limit: u64, arrays: Arrays) -> Result<Value, StoreError> {
        let Kind::Scalar(kind) = self.kind(key)? else {
            return Err(broken(format!("key '{key}' is an array of arrays")));
        };
        let length = self.u64(key)?;
        // Refused before the first element is read, so a lying count costs nothing.
        if length
            .checked_mul(kind.least_bytes())
            .is_none_or(|bytes| bytes > self.remaining())
        {
            return Err(broken(format!(
                "key '{key}' claims {length} values, more than the file can hold"
            )));
        }
        if kind == Scalar::Text && key == TOKENS_KEY {
            return self.tokens(length, text_limit, arrays);
        }
        if arrays == Arrays::Keep {
            let mut values = Vec::new();
            for _ in 0..length {
                values.push(self.scalar(kind, key, text_limit)?);
            }
            return Ok(Value::Array {
                length,
                values: Some(values),
            });
        }
        if kind == Scalar::Text {
            for _ in 0..length {
                let bytes = self.text_length(key, text_limit)?;
                self.skip(bytes, key)?;
            }
        } else {
            self.skip(length * kind.least_bytes(), key)?;
        }
        Ok(Value::Array {
            length,
            values: None,
        })
    }

    /// The texts of a vocabulary, of which llama.cpp asserts that no two are the same. It reads them up to their first zero
    /// byte, and gives empty ones a name of their own.
    fn tokens(
        &mut self,
        length: u64,
        text_limit: u64,
        arrays: Arrays,
    ) -> Result<Value, StoreError> {
        let hashes = RandomState::new();
        let mut seen = HashSet::new();
        let mut values = Vec::new();
        for index in 0..length {
            self.hold(SEEN_TOKEN_BYTES)?;
            let bytes = self.text(TOKENS_KEY, text_limit)?;
            let read = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            // Hashes in place of texts: two that differ are taken for the same once in millions of vocabularies.
            if !read.is_empty() && !seen.insert(hashes.hash_one(read)) {
                return Err(broken(format!(
                    "token {index} of '{TOKENS_KEY}' is the same as an earlier one"
                )));
            }
            if arrays == Arrays::Keep {
                self.hold(VALUE_BYTES)?;
                values.push(Value::Text(String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        Ok(Value::Array {
            length,
            values: (arrays == Arrays::Keep).then_some(values),
        })
    }

    fn scalar(&mut self, kind: Scalar, key: &str, text_limit: u64) -> Result<Value, StoreError> {
        self.hold(VALUE_BYTES)?;
        Ok(match kind {
            Scalar::U8 => Value::Unsigned(u8::from_le_bytes(self.bytes(key)?).into()),
            Scalar::I8 => Value::Signed(i8::from_le_bytes(self.bytes(key)?).into()),
            Scalar::U16 => Value::Unsigned(u16::from_le_bytes(self.bytes(key)?).into()),
            Scalar::I16 => Value::Signed(i16::from_le_bytes(self.bytes(key)?).into()),
            Scalar::U32 => Value::Unsigned(u32::from_le_bytes(self.bytes(key)?).into()),
            Scalar::I32 => Value::Signed(i32::from_le_bytes(self.bytes(key)?).into()),
            Scalar::U64 => Value::Unsigned(u64::from_le_bytes(self.bytes(key)?)),
            Scalar::I64 => Value::Signed(i64::from_le_bytes(self.bytes(key)?)),
            Scalar::F32 => Value::Float32(f32::from_le_bytes(self.bytes(key)?)),
            Scalar::F64 => Value::Float64(f64::from_le_bytes(self.bytes(key)?)),
            Scalar::Bool => match self.bytes(key)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [other] => return Err(broken(format!("key '{key}' is the truth value {other}"))),
            },
            Scalar::Text => {
                Value::Text(String::from_utf8_lossy(&self.text(key, text_limit)?).into_owned())
            }
        })
    }

    fn kind(&mut self, key: &str) -> Result<Kind, StoreError> {
        let id = self.u32(key)?;
        Kind::from_id(id).ok_or_else(|| broken(format!("key '{key}' has unknown type {id}")))
    }

    fn text(&mut self, what: &str, limit: u64) -> Result<Vec<u8>, StoreError> {
        let length = self.text_length(what, limit)?;
        self.hold(length)?;
        self.advance(length, what)?;
        let mut bytes =
            vec![0; usize::try_from(length).expect("texts are far shorter than the address space")];
        self.input
            .read_exact(&mut bytes)
            .map_err(StoreError::io("reading a GGUF file"))?;
        Ok(bytes)
    }

    fn text_length(&mut self, what: &str, limit: u64) -> Result<u64, StoreError> {
        let length = self.u64(what)?;
        if length > limit.min(self.remaining()) {
            let text =
                format!("{what} of {length} bytes is longer than the file or the limit of {limit}");
            return Err(broken(text));
        }
        Ok(length)
    }

    fn skip(&mut self, length: u64, what: &str) -> Result<(), StoreError> {
        self.advance(length, what)?;
        let length = i64::try_from(length).expect("no file is longer than 2^63 bytes");
        self.input
            .seek_relative(length)
            .map_err(StoreError::io("reading a GGUF file"))
    }

    fn advance(&mut self, length: u64, what: &str) -> Result<(), StoreError> {
        if length > self.remaining() {
            return Err(broken(format!(
                "it ends at byte {} inside {what}",
                self.length
            )));
        }
        self.position += length;
        Ok(())
    }

    fn hold(&mut self, bytes: u64) -> Result<(), StoreError> {
        self.allowance = self
            .allowance
            .checked_sub(bytes)
            .ok_or_else(|| broken("its metadata is too large to hold in memory"))?;
        Ok(())
    }

    fn remaining(&self) -> u64 {
        self.length - self.position
    }
}

impl Kind {
    fn from_id(id: u32) -> Option<Self> {
        Some(Self::Scalar(match id {
            0 => Scalar::U8,
            1 => Scalar::I8,
            2 => Scalar::U16,
            3 => Scalar::I16,
            4 => Scalar::U32,
            5 => Scalar::I32,
            6 => Scalar::F32,
            7 => Scalar::Bool,
            8 => Scalar::Text,
            9 => return Some(Self::Array),
            10 => Scalar::U64,
            11 => Scalar::I64,
            12 => Scalar::F64,
            _ => return None,
        }))
    }
}

impl Scalar {
    /// The length of a value in the file; of a text, the length of its length.
    fn least_bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::Text => 8,
        }
    }
}

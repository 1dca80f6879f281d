//! The protobuf wire format as a walk over fields, each confined to its message.
//! Format: <https://protobuf.dev/programming-guides/encoding/>.

use std::io::{BufReader, Read, Seek, SeekFrom};

use super::{StoreError, broken};

const BUFFER_BYTES: usize = 64 << 10;
/// Graphs of real models have some ten thousand fields; this many take about a second.
const MAX_FIELDS: u64 = 16 << 20;
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;

pub(super) struct Wire<R> {
    input: BufReader<R>,
    position: u64,
    length: u64,
    fields: u64,
}

/// A field whose content, if it has a length, is next in the file.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) number: u64,
    content: Content,
}

#[derive(Clone, Copy)]
enum Content {
    Number(u64),
    /// Four or eight bytes that no field of ONNX needs here.
    Fixed,
    /// Text, bytes, a message or packed numbers: from here to `end`.
    Bytes {
        start: u64,
        end: u64,
    },
}

impl<R: Read + Seek> Wire<R> {
    pub(super) fn new(mut input: R) -> Result<Self, StoreError> {
        let length = input
            .seek(SeekFrom::End(0))
            .map_err(StoreError::io("measuring an ONNX file"))?;
        input
            .rewind()
            .map_err(StoreError::io("reading an ONNX file"))?;
        Ok(Self {
            input: BufReader::with_capacity(BUFFER_BYTES, input),
            position: 0,
            length,
            fields: 0,
        })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Shows `visit` every field up to `end`, then skips what it left unread of the field.
    pub(super) fn message(
        &mut self,
        end: u64,
        mut visit: impl FnMut(&mut Self, Field) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        while self.position < end {
            let field = self.field(end)?;
            visit(self, field)?;
            if let Content::Bytes { end, .. } = field.content {
                self.skip_to(end)?;
            }
        }
        Ok(())
    }

    /// The text of a field.
    pub(super) fn text(
        &mut self,
        field: Field,
        limit: u64,
        what: &str,
    ) -> Result<String, StoreError> {
        let length = field.length(what)?;
        if length > limit {
            return Err(broken(format!(
                "a {what} is {length} bytes long; the limit is {limit}"
            )));
        }
        let mut bytes = vec![0; usize::try_from(length).expect("the limit fits the address space")];
        self.input
            .read_exact(&mut bytes)
            .map_err(StoreError::io("reading an ONNX file"))?;
        self.position += length;
        String::from_utf8(bytes).map_err(|_| broken(format!("a {what} is not UTF-8")))
    }

    /// Every number of a repeated field, packed or not.
    pub(super) fn numbers(
        &mut self,
        field: Field,
        mut visit: impl FnMut(u64) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match field.content {
            Content::Number(number) => visit(number),
            Content::Fixed => Err(broken("a number has the wrong type")),
            Content::Bytes { end, .. } => {
                while self.position < end {
                    let number = self.varint(end)?;
                    visit(number)?;
                }
                Ok(())
            }
        }
    }

    fn field(&mut self, end: u64) -> Result<Field, StoreError> {
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(broken(format!("it has more than {MAX_FIELDS} fields")));
        }
        let tag = self.varint(end)?;
        let number = tag >> 3;
        if !(1..=MAX_FIELD_NUMBER).contains(&number) {
            return Err(broken(format!(
                "byte {} is not the start of a field",
                self.position
            )));
        }
        let content = match tag & 7 {
            0 => Content::Number(self.varint(end)?),
            wire_type @ (1 | 5) => {
                let after = self.position + if wire_type == 1 { 8 } else { 4 };
                self.check_inside(Some(after), end)?;
                self.skip_to(after)?;
                Content::Fixed
            }
            2 => {
                let length = self.varint(end)?;
                let end = self.check_inside(self.position.checked_add(length), end)?;
                Content::Bytes {
                    start: self.position,
                    end,
                }
            }
            other => {
                return Err(broken(format!(
                    "wire type {other} before byte {} is not in use",
                    self.position
                )));
            }
        };
        Ok(Field { number, content })
    }

    fn varint(&mut self, end: u64) -> Result<u64, StoreError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            self.check_inside(Some(self.position + 1), end)?;
            let mut byte = [0];
            self.input
                .read_exact(&mut byte)
                .map_err(StoreError::io("reading an ONNX file"))?;
            self.position += 1;
            // The tenth byte holds only the highest bit.
            if shift == 63 && byte[0] > 1 {
                break;
            }
            number |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(number);
            }
        }
        Err(broken(format!(
            "the number before byte {} is too long",
            self.position
        )))
    }

    fn check_inside(&self, position: Option<u64>, end: u64) -> Result<u64, StoreError> {
        position.filter(|&position| position <= end).ok_or_else(|| {
            broken(format!(
                "a field at byte {} goes beyond its end at byte {end}; is the file truncated?",
                self.position
            ))
        })
    }

    fn skip_to(&mut self, position: u64) -> Result<(), StoreError> {
        let distance =
            i64::try_from(position - self.position).expect("no file is longer than 2^63 bytes");
        self.position = position;
        self.input
            .seek_relative(distance)
            .map_err(StoreError::io("reading an ONNX file"))
    }
}

impl Field {
    /// The number this field is.
    pub(super) fn number_value(self, what: &str) -> Result<u64, StoreError> {
        match self.content {
            Content::Number(number) => Ok(number),
            _ => Err(broken(format!("the {what} is not a number"))),
        }
    }

    /// The position after the message this field is.
    pub(super) fn end_of_message(self, what: &str) -> Result<u64, StoreError> {
        match self.content {
            Content::Bytes { end, .. } => Ok(end),
            _ => Err(broken(format!("a {what} is not a message"))),
        }
    }

    /// The length in bytes of this field's content.
    pub(super) fn length(self, what: &str) -> Result<u64, StoreError> {
        match self.content {
            Content::Bytes { start, end } => Ok(end - start),
            _ => Err(broken(format!("a {what} has no length"))),
        }
    }

    /// At most how many values of a repeated field this one holds: one, or as many as it has bytes.
    pub(super) fn values_at_most(self) -> u64 {
        match self.content {
            Content::Bytes { start, end } => end - start,
            Content::Number(_) | Content::Fixed => 1,
        }
    }
}

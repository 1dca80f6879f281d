//! Images in requests: read from base64, and marked in the text of a prompt until it is put together.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Error;
use super::json::Mismatch;
use crate::inference::generate;

/// Most images of one request. Their bytes are bounded by the body's.
const MAX_IMAGES: usize = 64;

/// The images of a request, in the order in which they are shown to the model.
#[derive(Clone, Debug, Default)]
pub struct Images {
    files: Vec<Arc<[u8]>>,
    /// What no text of the request can have in it, so that nobody can point at an image by writing its mark.
    secret: u64,
}

impl Images {
    /// Without any.
    #[must_use]
    pub fn new(files: Vec<Arc<[u8]>>) -> Self {
        Self {
            files,
            secret: rand::random(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Refuses more images than a request may have.
    ///
    /// # Errors
    /// [`Error::BadRequest`].
    pub fn check(count: usize) -> Result<(), Error> {
        if count > MAX_IMAGES {
            return Err(Error::BadRequest(format!(
                "the request has {count} images; at most {MAX_IMAGES} are supported"
            )));
        }
        Ok(())
    }

    /// What stands for an image in a prompt's text.
    #[must_use]
    pub fn mark(&self, index: usize) -> String {
        format!("<image-{:016x}-{index}>", self.secret)
    }

    /// The marks of several images, as they stand before the text of a message.
    #[must_use]
    pub fn marks(&self, images: std::ops::Range<usize>) -> String {
        images.map(|index| self.mark(index)).collect()
    }

    /// How many marks a text has.
    #[must_use]
    pub fn marked(&self, text: &str) -> usize {
        if self.is_empty() {
            return 0;
        }
        let secret = format!("<image-{:016x}-", self.secret);
        text.matches(&secret).count()
    }

    /// The prompt: its text with the images in the places of their marks.
    #[must_use]
    pub fn pieces(&self, text: &str) -> Vec<generate::Piece> {
        let mut marks: Vec<(usize, usize, String)> = (0..self.len())
            .filter_map(|index| {
                let mark = self.mark(index);
                text.find(&mark).map(|start| (start, index, mark))
            })
            .collect();
        marks.sort_unstable();
        let mut end = 0;
        let mut pieces = Vec::new();
        for (start, index, mark) in marks {
            if start > end {
                pieces.push(generate::Piece::Text(text[end..start].to_owned()));
            }
            pieces.push(generate::Piece::Image(self.files[index].to_vec()));
            end = start + mark.len();
        }
        if end < text.len() {
            pieces.push(generate::Piece::Text(text[end..].to_owned()));
        }
        pieces
    }

    /// A text that says itself where its images are, as `[img-0]`; those that it does not name come first.
    #[must_use]
    pub fn marked_as_in_ollama(&self, text: &str) -> String {
        let mut first = String::new();
        let mut text = text.to_owned();
        for index in 0..self.len() {
            let name = format!("[img-{index}]");
            let mark = self.mark(index);
            match text.contains(&name) {
                true => text = text.replacen(&name, &mark, 1),
                false => first.push_str(&mark),
            }
        }
        first + &text
    }

    /// The text with its marks as people read them.
    #[must_use]
    pub fn shown(&self, text: &str) -> String {
        (0..self.len()).fold(text.to_owned(), |text, index| {
            text.replace(&self.mark(index), &format!("[img-{index}]"))
        })
    }
}

/// Reads an image as Go reads bytes from JSON.
///
/// # Errors
/// In Go's words, when it is no base64.
pub fn from_base64(text: &str) -> Result<Vec<u8>, Mismatch> {
    // Go passes over the ends of lines.
    let text: String = text
        .chars()
        .filter(|character| !matches!(character, '\r' | '\n'))
        .collect();
    STANDARD.decode(&text).map_err(|error| {
        let place = match error {
            base64::DecodeError::InvalidByte(place, _)
            | base64::DecodeError::InvalidLastSymbol { offset: place, .. } => place,
            base64::DecodeError::InvalidLength(length) => length,
            base64::DecodeError::InvalidPadding => text.len(),
        };
        Mismatch::Value(format!("illegal base64 data at input byte {place}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::generate::Piece;

    #[test]
    fn images_take_the_places_of_their_marks() {
        let images = Images::new([1, 2, 3].map(|byte| Arc::from([byte])).into());
        let text = format!("a{}{}b{}", images.mark(0), images.mark(2), "<image-0>");
        let expected = [
            Piece::Text("a".into()),
            Piece::Image(vec![1]),
            Piece::Image(vec![3]),
            Piece::Text("b<image-0>".into()),
        ];
        assert_eq!(images.pieces(&text), expected);
        assert_eq!(images.marked(&text), 2);
        assert_eq!(images.shown(&text), "a[img-0][img-2]b<image-0>");
    }

    #[test]
    fn without_images_a_text_is_one_piece() {
        let images = Images::default();
        assert_eq!(images.pieces("text"), [Piece::Text("text".into())]);
        assert_eq!(images.marked("text"), 0);
    }

    #[test]
    fn base64_is_read_as_go_reads_it() {
        assert_eq!(from_base64("AQ\nI=").ok(), Some(vec![1, 2]));
        let error = from_base64("AQ*=").unwrap_err().to_string();
        assert_eq!(error, "illegal base64 data at input byte 2");
    }
}

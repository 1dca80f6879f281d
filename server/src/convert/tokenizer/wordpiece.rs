//! WordPiece, as BERT has it.

use super::bytepair::numbered_words;
use super::file::TokenizerFile;
use super::{Error, Kind, Vocabulary};
use crate::convert::config::Config;

/// The vocabulary of such a tokenizer: words that begin a word get a mark, and those that go on lose theirs.
///
/// # Errors
/// When there is no such tokenizer.
pub(super) fn read(file: Option<&TokenizerFile>, config: &Config) -> Result<Vocabulary, Error> {
    let file = file.ok_or_else(|| Error::refused("a BERT needs tokenizer.json"))?;
    let kind = file.model.kind.as_deref().unwrap_or("WordPiece");
    if kind != "WordPiece" {
        let text = format!("a tokenizer of the kind {kind} is not supported for this family");
        return Err(Error::refused(text));
    }
    let mut words = numbered_words(file, config)?;
    for word in &mut words {
        if word.kind == Kind::Control {
            continue;
        }
        word.text = match word.text.strip_prefix(b"##") {
            Some(rest) => rest.to_vec(),
            None => ["\u{2581}".as_bytes(), &word.text].concat(),
        };
    }
    Ok(Vocabulary {
        model: "bert",
        // Nothing is merged, so nothing is cut before.
        pre: "default".to_owned(),
        words,
        has_scores: false,
        merges: Vec::new(),
        more: Vec::new(),
    })
}

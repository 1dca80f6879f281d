//! Text to tokens and back.

use std::collections::HashSet;
use std::thread;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;
use llama_cpp_2::vocab::LlamaVocab;

use super::ffi::{self, VocabularyKind};
use super::stretch;
use crate::inference::{Error, Token};

/// Works on a stack of so many bytes, of which only those that are used take memory.
fn on_stack(bytes: usize, work: impl FnOnce() + Send) -> Result<(), Error> {
    let thread = thread::Builder::new().stack_size(bytes);
    thread::scope(|scope| {
        let thread = thread.spawn_scoped(scope, work).map_err(|_| {
            Error::InvalidJob(
                "the text has too many characters without a space between them".into(),
            )
        })?;
        thread
            .join()
            .map_err(|_| Error::Engine("splitting a text panicked".into()))
    })
}

/// A model's vocabulary. Takes any token id and any text: llama.cpp would abort the process on some.
pub(super) struct Vocabulary<'model> {
    vocab: LlamaVocab<'model>,
    kind: VocabularyKind,
    size: Token,
    beginning: Option<Token>,
    /// Present if there are texts that have no tokens.
    gaps: Option<Gaps>,
}

impl<'model> Vocabulary<'model> {
    /// # Errors
    /// [`Error::LoadFailed`] if the model brings no vocabulary.
    pub(super) fn new(model: &'model LlamaModel) -> Result<Self, Error> {
        let kind = ffi::vocabulary_kind(model);
        let vocab = model.vocab();
        let size = vocab.n_tokens();
        if kind == VocabularyKind::None || size < 1 {
            return Err(Error::LoadFailed(
                "the model has no vocabulary, so it can neither read nor write text".into(),
            ));
        }
        let bos = vocab.bos().0;
        Ok(Self {
            beginning: (vocab.should_add_bos() && (0..size).contains(&bos)).then_some(bos),
            gaps: (kind == VocabularyKind::SentencePiece)
                .then(|| Gaps::find(&vocab))
                .flatten(),
            kind,
            size,
            vocab,
        })
    }

    /// Number of tokens.
    pub(super) fn size(&self) -> u32 {
        self.size.unsigned_abs()
    }

    /// The token that every prompt starts with, if any.
    pub(super) fn beginning(&self) -> Option<Token> {
        self.beginning
    }

    /// How it turns text into tokens.
    pub(super) fn kind(&self) -> VocabularyKind {
        self.kind
    }

    /// The beginning-of-sequence token, whether or not prompts start with it.
    pub(super) fn bos(&self) -> Option<Token> {
        self.known(self.vocab.bos())
    }

    /// The token that ends a sequence, and whether texts are to end with it.
    pub(super) fn eos(&self) -> (Option<Token>, bool) {
        (self.known(self.vocab.eos()), self.vocab.should_add_eos())
    }

    /// The token between the texts of a pair, and whether it is to be put there.
    pub(super) fn separator(&self) -> (Option<Token>, bool) {
        (self.known(self.vocab.sep()), self.vocab.should_add_sep())
    }

    fn known(&self, token: LlamaToken) -> Option<Token> {
        Some(token.0).filter(|&token| self.contains(token))
    }

    /// Whether this is the id of a token.
    pub(super) fn contains(&self, token: Token) -> bool {
        (0..self.size).contains(&token)
    }

    /// Whether the model ends its answer with this token.
    pub(super) fn is_end(&self, token: Token) -> bool {
        self.contains(token) && self.vocab.is_eog(LlamaToken(token))
    }

    /// Text to tokens, with the beginning-of-sequence token if asked for and the model wants it; never with one that
    /// ends the sequence.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for text that has no tokens or is longer than llama.cpp can count.
    pub(super) fn tokenize(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, Error> {
        // llama.cpp may count one token per byte, the one at the beginning, and spaces that it widens to three bytes.
        if text.len() > (i32::MAX / 4) as usize {
            return Err(Error::InvalidJob("the text is too long".into()));
        }
        if let Some(character) = self.gaps.as_ref().and_then(|gaps| gaps.first_in(text)) {
            return Err(Error::InvalidJob(format!(
                "the model's vocabulary has no token for {character:?}"
            )));
        }
        let mut tokens = Vec::new();
        if add_special {
            tokens.extend(self.beginning.map(LlamaToken));
        }
        // Every byte of text makes at most one token, and a space may be put before the first.
        tokens.reserve(text.len() + 1);
        let split = |tokens: &mut Vec<LlamaToken>| {
            self.vocab
                .tokenize_into(text.as_bytes(), tokens, false, parse_special);
        };
        match stretch::stack_bytes(text) {
            None => split(&mut tokens),
            Some(bytes) => on_stack(bytes, || split(&mut tokens))?,
        }
        Ok(tokens.into_iter().map(|token| token.0).collect())
    }

    /// The text of tokens, names of control tokens included.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for ids outside the vocabulary.
    pub(super) fn detokenize(&self, tokens: &[Token]) -> Result<String, Error> {
        self.check(tokens)?;
        let tokens: Vec<LlamaToken> = tokens.iter().map(|&token| LlamaToken(token)).collect();
        let bytes = self.vocab.detokenize(&tokens, false, true);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // Every word of WordPiece brings the space before it.
        Ok(match text.strip_prefix(' ') {
            Some(text) if self.kind == VocabularyKind::WordPiece => text.to_owned(),
            _ => text,
        })
    }

    /// The bytes of each of these tokens; control tokens have their names.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for ids outside the vocabulary.
    pub(super) fn names(&self, tokens: &[Token]) -> Result<Vec<Vec<u8>>, Error> {
        self.check(tokens)?;
        let name = |&token: &Token| {
            let mut bytes = Vec::new();
            self.write_name(token, &mut bytes);
            bytes
        };
        Ok(tokens.iter().map(name).collect())
    }

    fn check(&self, tokens: &[Token]) -> Result<(), Error> {
        match tokens.iter().find(|&&token| !self.contains(token)) {
            Some(token) => Err(Error::InvalidJob(format!(
                "token {token} is not in the vocabulary"
            ))),
            None => Ok(()),
        }
    }

    /// Appends the bytes of a token, or its name if it is a control token.
    pub(super) fn write_name(&self, token: Token, bytes: &mut Vec<u8>) {
        if self.contains(token) {
            self.vocab
                .token_to_piece_into(LlamaToken(token), bytes, true, None);
        }
    }

    /// Appends the bytes of a token. Control tokens and unknown ids have none.
    pub(super) fn write_piece(&self, token: Token, bytes: &mut Vec<u8>) {
        if self.contains(token) {
            self.vocab
                .token_to_piece_into(LlamaToken(token), bytes, false, None);
        }
    }
}

/// What a SentencePiece vocabulary without all byte tokens cannot express. llama.cpp throws where it meets such text,
/// through C code, which ends the process.
struct Gaps {
    /// Whether a byte has a token of its own.
    bytes: [bool; 256],
    /// Characters that have a token.
    characters: HashSet<char>,
    /// Names of control and user-defined tokens; they are found before the text around them is taken apart.
    names: Vec<String>,
}

impl Gaps {
    /// `None` if every byte has a token.
    fn find(vocab: &LlamaVocab<'_>) -> Option<Self> {
        let mut gaps = Self {
            bytes: [false; 256],
            characters: HashSet::new(),
            names: Vec::new(),
        };
        for token in vocab.tokens() {
            let Some(text) = vocab.text(token).and_then(|text| text.to_str().ok()) else {
                continue;
            };
            let mut characters = text.chars();
            if let (Some(character), None) = (characters.next(), characters.next()) {
                gaps.characters.insert(character);
                if let Ok(byte) = u8::try_from(character)
                    && byte.is_ascii()
                {
                    gaps.bytes[usize::from(byte)] = true;
                }
            } else if let Some(byte) = byte_name(text) {
                gaps.bytes[usize::from(byte)] = true;
            } else if vocab
                .attr(token)
                .intersects(LlamaTokenAttr::Control | LlamaTokenAttr::UserDefined)
            {
                gaps.names.push(text.to_owned());
            }
        }
        (!gaps.bytes.iter().all(|&has| has)).then_some(gaps)
    }

    /// The first character of the text that has no token.
    fn first_in(&self, text: &str) -> Option<char> {
        let mut text = text.to_owned();
        for name in &self.names {
            text = text.replace(name, "");
        }
        // SentencePiece writes spaces as U+2581 and puts one before the text.
        let spaced = std::iter::once(' ').chain(text.chars());
        spaced
            .map(|character| {
                if character == ' ' {
                    '\u{2581}'
                } else {
                    character
                }
            })
            .find(|character| !self.expresses(*character))
    }

    fn expresses(&self, character: char) -> bool {
        let mut buffer = [0; 4];
        self.characters.contains(&character)
            || (character.encode_utf8(&mut buffer).bytes())
                .all(|byte| self.bytes[usize::from(byte)])
    }
}

/// The byte that a name like `<0x0A>` stands for.
fn byte_name(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2)
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps() -> Gaps {
        let mut bytes = [false; 256];
        bytes[usize::from(b'\n')] = true;
        Gaps {
            bytes,
            characters: HashSet::from(['a', 'é', '\u{2581}']),
            names: vec!["<s>".into()],
        }
    }

    #[test]
    fn characters_bytes_and_names_are_expressed() {
        assert_eq!(gaps().first_in("a é\n<s>a"), None);
        assert_eq!(gaps().first_in("a b"), Some('b'));
        assert_eq!(gaps().first_in("<a>"), Some('<'));
        // Half of a character's bytes are not enough.
        assert_eq!(gaps().first_in("aü"), Some('ü'));
    }

    #[test]
    fn byte_names() {
        assert_eq!(byte_name("<0x0A>"), Some(10));
        assert_eq!(byte_name("<0xFF>"), Some(255));
        assert_eq!(byte_name("<0xF>"), None);
        assert_eq!(byte_name("<0xÄ>"), None);
        assert_eq!(byte_name("A"), None);
    }
}

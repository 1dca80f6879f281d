//! What a prompt comes to in tokens, and whether it fits.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{Engine, Generate, Overflow, Piece, Sampling, Sight};
use crate::inference::{Error, Token};

/// A prompt that can be computed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Prompt {
    /// At least one and fewer than the context holds: the answer needs room too.
    pub tokens: Vec<Token>,
    /// How many of them, from the start, a shift leaves alone.
    pub keep: u32,
    /// Tokens that were cut from the middle to make it fit.
    pub truncated_tokens: u32,
    /// The images among the tokens.
    pub images: Images,
}

/// Images that stay in the engine's memory as long as this is there.
#[derive(Clone, Default)]
pub struct Images(Vec<Arc<dyn Any + Send + Sync>>);

impl fmt::Debug for Images {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} images", self.0.len())
    }
}

/// As far as can be told.
impl PartialEq for Images {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
    }
}

impl Eq for Images {}

/// Turns the prompt of a job into tokens that fit the engine's context.
///
/// The pieces are joined, with the model's beginning-of-sequence token once at the start, if it has one. `sights` are what
/// the images among them came to, in their order.
///
/// # Errors
/// [`Error::EmptyPrompt`], [`Error::PromptTooLong`] if it may not be cut, and [`Error::InvalidJob`] for values that make
/// no sense.
pub fn admit(engine: &dyn Engine, job: &Generate, sights: Vec<Sight>) -> Result<Prompt, Error> {
    check(&job.sampling)?;
    let (tokens, images) = join(engine, &job.prompt, sights)?;
    let mut overflow = job.overflow;
    match tokens.last() {
        None => return Err(Error::EmptyPrompt),
        // What follows an image is computed from text, and so is the first token of an answer.
        Some(last) if *last < 0 => {
            return Err(Error::InvalidJob(
                "a prompt cannot end with an image; say what to do with it".into(),
            ));
        }
        // A cut could go through an image.
        Some(_) => overflow.truncate &= images.0.is_empty(),
    }
    let prompt = fit(tokens, overflow, engine)?;
    Ok(Prompt { images, ..prompt })
}

/// Refuses numbers that are none: they would poison every comparison of a sampler.
fn check(sampling: &Sampling) -> Result<(), Error> {
    let values = [
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("min_p", sampling.min_p),
        ("typical_p", sampling.typical_p),
        ("repeat_penalty", sampling.repeat_penalty),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
    ];
    match values.iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((name, value)) => Err(Error::InvalidJob(format!("{name} cannot be {value}"))),
    }
}

fn join(
    engine: &dyn Engine,
    pieces: &[Piece],
    sights: Vec<Sight>,
) -> Result<(Vec<Token>, Images), Error> {
    let mut sights = sights.into_iter();
    let mut tokens = Vec::new();
    let mut images = Images::default();
    for piece in pieces {
        match piece {
            Piece::Text(text) => tokens.extend(engine.tokenize(text, false, true)?),
            Piece::Tokens(given) => {
                check_tokens(engine, given)?;
                tokens.extend(given);
            }
            Piece::Image(_) => {
                let sight = sights
                    .next()
                    .expect("whoever admits a job has its images seen first");
                tokens.extend(sight.tokens);
                images.0.push(sight.hold);
            }
        }
    }
    // Many chat templates write it themselves, and twice would change the answer.
    if let Some(beginning) = engine
        .beginning()
        .filter(|token| tokens.first() != Some(token))
    {
        tokens.insert(0, beginning);
    }
    Ok((tokens, images))
}

/// Refuses tokens that are not in the engine's vocabulary.
///
/// # Errors
/// [`Error::InvalidJob`].
pub fn check_tokens(engine: &dyn Engine, tokens: &[Token]) -> Result<(), Error> {
    let vocabulary = engine.limits().vocabulary;
    let known = |token: Token| u32::try_from(token).is_ok_and(|token| token < vocabulary);
    match tokens.iter().find(|&&token| !known(token)) {
        None => Ok(()),
        Some(token) => Err(Error::InvalidJob(format!(
            "{token} is not one of the {vocabulary} tokens of this model"
        ))),
    }
}

/// Cuts a prompt that is too long as Ollama does: the start that is to be kept and the newest tokens stay, so that half
/// of what is not kept is free for the answer (`contextShiftPromptLimit` in its `llm/llama_server.go`).
fn fit(mut tokens: Vec<Token>, overflow: Overflow, engine: &dyn Engine) -> Result<Prompt, Error> {
    let length = u32::try_from(tokens.len())
        .map_err(|_| Error::InvalidJob("the prompt has more tokens than can be counted".into()))?;
    let context = engine.limits().context;
    let limit = context.saturating_sub(1);
    let beginning = u32::from(engine.beginning().is_some());
    let keep = match u32::try_from(overflow.keep) {
        Ok(keep) => keep.saturating_add(beginning).min(length),
        Err(_) => length,
    };
    if length <= limit {
        return Ok(Prompt {
            tokens,
            keep,
            truncated_tokens: 0,
            images: Images::default(),
        });
    }
    if !(overflow.truncate && overflow.shift) || limit == 0 {
        return Err(Error::PromptTooLong {
            tokens: length,
            limit,
        });
    }
    let keep = keep.min(limit);
    let fitting = context - ((context - keep) / 2).max(1);
    let truncated_tokens = length - fitting;
    tokens.drain(keep as usize..(keep + truncated_tokens) as usize);
    Ok(Prompt {
        tokens,
        keep,
        truncated_tokens,
        images: Images::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake;
    use proptest::prelude::*;

    fn engine(context: u32) -> fake::Engine {
        fake::Engine::new(&fake::Spec {
            context,
            ..fake::Spec::default()
        })
    }

    /// Without images.
    fn admit(engine: &dyn Engine, job: &Generate) -> Result<Prompt, Error> {
        super::admit(engine, job, Vec::new())
    }

    fn job(prompt: Vec<Piece>, overflow: Overflow) -> Generate {
        Generate {
            prompt,
            sampling: Sampling::default(),
            stop: Vec::new(),
            max_tokens: None,
            overflow,
            logprobs: None,
            visible: Vec::new(),
            constraint: None,
            logit_bias: Vec::new(),
            caller: 0,
        }
    }

    const CUT: Overflow = Overflow {
        truncate: true,
        shift: true,
        keep: 4,
    };

    #[test]
    fn pieces_are_joined_with_one_beginning() {
        let engine = engine(64);
        let begin = engine.beginning().unwrap();
        let tokens = |text: &str| engine.tokenize(text, false, true).unwrap();
        let expected = [vec![begin], tokens("ab"), tokens("cd"), tokens("ef")].concat();
        for first in ["ab", "<|begin|>ab"] {
            let pieces = vec![
                Piece::Text(first.into()),
                Piece::Tokens(tokens("cd")),
                Piece::Text("ef".into()),
            ];
            let prompt = admit(&engine, &job(pieces, CUT)).unwrap();
            assert_eq!(
                prompt,
                Prompt {
                    tokens: expected.clone(),
                    keep: 5,
                    truncated_tokens: 0,
                    images: Images::default(),
                }
            );
        }
    }

    #[test]
    fn images_stand_where_they_are_shown() {
        let engine = engine(64);
        let begin = engine.beginning().unwrap();
        let shown = |after: &str| {
            let pieces = vec![
                Piece::Text("a".into()),
                Piece::Image(vec![7; 3]),
                Piece::Text(after.into()),
            ];
            let sight = engine.see(vec![7; 3]).wait().unwrap();
            super::admit(&engine, &job(pieces, CUT), vec![sight])
        };
        let text = engine.tokenize("ab", false, true).unwrap();
        let prompt = shown("b").unwrap();
        assert_eq!(prompt.tokens, [begin, text[0], -8, -8, -8, text[1]]);
        assert_eq!(prompt.images.0.len(), 1);
        assert!(matches!(shown(""), Err(Error::InvalidJob(_))));
        // Not even half of it may be cut.
        let long = shown(&"b".repeat(80));
        assert!(matches!(long, Err(Error::PromptTooLong { .. })), "{long:?}");
    }

    #[test]
    fn tokens_outside_the_vocabulary_are_refused() {
        let engine = engine(64);
        let vocabulary = Token::try_from(engine.limits().vocabulary).unwrap();
        for token in [-1, vocabulary, Token::MAX] {
            let refused = admit(&engine, &job(vec![Piece::Tokens(vec![3, token])], CUT));
            assert!(matches!(refused, Err(Error::InvalidJob(_))), "{token}");
        }
        assert!(
            admit(
                &engine,
                &job(vec![Piece::Tokens(vec![vocabulary - 1])], CUT)
            )
            .is_ok()
        );
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        let mut job = job(vec![Piece::Text("a".into())], CUT);
        job.sampling.min_p = f32::NAN;
        let refused = admit(&engine(64), &job);
        assert_eq!(
            refused,
            Err(Error::InvalidJob("min_p cannot be NaN".into()))
        );
    }

    #[test]
    fn an_empty_prompt_is_refused_only_without_a_beginning() {
        assert_eq!(
            admit(&engine(64), &job(Vec::new(), CUT))
                .unwrap()
                .tokens
                .len(),
            1
        );
        let mut plain = engine(64);
        plain.begins_prompts = false;
        assert_eq!(
            admit(&plain, &job(vec![Piece::Text(String::new())], CUT)),
            Err(Error::EmptyPrompt)
        );
    }

    #[test]
    fn a_prompt_must_leave_room_for_one_token() {
        // With its beginning, the prompt has 16 tokens.
        let piece = || vec![Piece::Text("123456789abcdef".into())];
        let refuse = Overflow {
            truncate: false,
            ..CUT
        };
        assert_eq!(
            admit(&engine(17), &job(piece(), refuse))
                .unwrap()
                .truncated_tokens,
            0
        );
        let refused = Err(Error::PromptTooLong {
            tokens: 16,
            limit: 15,
        });
        assert_eq!(admit(&engine(16), &job(piece(), refuse)), refused);
        assert_eq!(
            admit(
                &engine(16),
                &job(
                    piece(),
                    Overflow {
                        shift: false,
                        ..CUT
                    }
                )
            ),
            refused
        );
    }

    #[test]
    fn a_long_prompt_keeps_its_start_and_its_newest_tokens() {
        let text: String = ('a'..='z').collect();
        let engine = engine(16);
        let begin = engine.beginning().unwrap();
        // 4 + 1 kept, and 16 - (16 - 5) / 2 = 11 in all.
        let expected = [
            vec![begin],
            engine.tokenize("abcduvwxyz", false, true).unwrap(),
        ]
        .concat();
        let prompt = admit(&engine, &job(vec![Piece::Text(text)], CUT)).unwrap();
        assert_eq!(
            prompt,
            Prompt {
                tokens: expected,
                keep: 5,
                truncated_tokens: 16,
                images: Images::default(),
            }
        );
    }

    proptest! {
        #[test]
        fn a_cut_prompt_fits(length in 0_usize..200, context in 2_u32..100, keep in -2_i32..120) {
            let text: String = ('a'..='z').cycle().take(length).collect();
            let engine = engine(context);
            let whole = [
                vec![engine.beginning().unwrap()],
                engine.tokenize(&text, false, true).unwrap(),
            ].concat();
            let overflow = Overflow { truncate: true, shift: true, keep };
            let prompt = admit(&engine, &job(vec![Piece::Text(text)], overflow)).unwrap();
            prop_assert!(prompt.tokens.len() < context as usize);
            prop_assert_eq!(prompt.tokens.len() + prompt.truncated_tokens as usize, whole.len());
            let keep = prompt.keep as usize;
            prop_assert!(keep <= prompt.tokens.len());
            prop_assert_eq!(&prompt.tokens[..keep], &whole[..keep]);
            prop_assert!(whole.ends_with(&prompt.tokens[keep..]));
        }
    }
}

//! What a job wants of the model's outputs, and the answers that are made of them one after another.

use super::score::{self, Entailment, Selection};
use super::tag::{self, Rules};
use super::{
    Activation, Classify, Embed, Encoded, Encoder, Event, Head, LabelScore, Output, Piece, Rerank,
    Scale, Span, Tag, Tokenized, Usage, ZeroShot,
};
use crate::inference::{Error, Token};

/// Most bytes of an answer, about: what the largest message to the server holds.
pub const MOST_ANSWER_BYTES: usize = 60 << 20;

/// What is told of an answer that would have more.
pub fn too_large() -> Error {
    Error::InvalidJob("the answer would be too large; send the texts in several requests".into())
}

/// What is wanted, with the results so far by input.
#[derive(Debug)]
pub enum Want {
    Vectors {
        dimensions: Option<u32>,
        normalize: bool,
        results: Vec<Mean>,
    },
    TokenVectors {
        results: Vec<Vec<Vec<f32>>>,
    },
    Sparse {
        results: Vec<Vec<(u32, f32)>>,
    },
    Labels {
        names: Vec<String>,
        activation: Activation,
        selection: Selection,
        results: Vec<Vec<LabelScore>>,
    },
    /// One text after another has as many items as there are labels.
    Entailed {
        labels: Vec<String>,
        entailment: Entailment,
        multi_label: bool,
        logits: Vec<[f32; 2]>,
    },
    Spans {
        rules: Rules,
        texts: Vec<Tagging>,
        results: Vec<Vec<Span>>,
    },
    Relevance {
        activation: Activation,
        results: Vec<f32>,
    },
    Pieces {
        /// Whether those that the model wants around a text are among them.
        with_special: bool,
        results: Vec<Vec<Piece>>,
    },
    Texts {
        skip_special: bool,
        results: Vec<String>,
    },
}

/// The mean of vectors, in the making.
#[derive(Clone, Debug, Default)]
pub struct Mean {
    /// The only vector as it is, or the sum of several, each times its weight.
    sum: Vec<f32>,
    weight: f32,
    vectors: u32,
}

/// The tokens of a text and the logits of those whose part has been computed.
#[derive(Clone, Debug, Default)]
pub struct Tagging {
    pieces: Vec<Piece>,
    logits: Vec<f32>,
    missing: usize,
}

/// A part of an item: which tokens of its text it has, special tokens not counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    /// The item.
    pub item: usize,
    /// Its first token among those of the text.
    pub start: usize,
    /// Its tokens.
    pub tokens: usize,
    /// Special tokens before them.
    pub before: usize,
}

impl Want {
    /// What an [`Embed`] wants.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model gives no vectors.
    pub fn vectors(job: &Embed, encoder: &dyn Encoder) -> Result<Self, Error> {
        match encoder.head() {
            Head::Embedding { dimensions } => {
                let kept = job
                    .dimensions
                    .map_or(*dimensions, |kept| kept.min(*dimensions));
                let bytes = job.inputs.len().saturating_mul(kept as usize * 4);
                if bytes > MOST_ANSWER_BYTES {
                    return Err(too_large());
                }
                Ok(Self::Vectors {
                    dimensions: job.dimensions,
                    normalize: job.normalize,
                    results: vec![Mean::default(); job.inputs.len()],
                })
            }
            other => Err(unsupported(other, "embeddings")),
        }
    }

    /// What an `EmbedTokens` of so many texts wants.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model does not give the vectors of tokens.
    pub fn token_vectors(inputs: usize, encoder: &dyn Encoder) -> Result<Self, Error> {
        if !encoder.gives_tokens() {
            return Err(Error::Unsupported(
                "this model does not give the vectors of tokens".into(),
            ));
        }
        let results = vec![Vec::new(); inputs];
        Ok(Self::TokenVectors { results })
    }

    /// What an `EmbedSparse` of so many texts wants.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model weighs no words.
    pub fn sparse(inputs: usize, encoder: &dyn Encoder) -> Result<Self, Error> {
        match encoder.head() {
            Head::Sparse { .. } => Ok(Self::Sparse {
                results: vec![Vec::new(); inputs],
            }),
            other => Err(unsupported(other, "sparse embeddings")),
        }
    }

    /// What a [`Classify`] wants, and of which head.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model has no such classifier, [`Error::InvalidJob`] if there is a choice.
    pub fn labels(job: &Classify, encoder: &dyn Encoder) -> Result<(Self, Output), Error> {
        let (head, output) = chosen(encoder, job.head.as_deref(), "classification", |head| {
            matches!(head, Head::Labels { .. })
        })?;
        let Head::Labels { names, activation } = head else {
            unreachable!("only such heads are chosen");
        };
        let want = Self::Labels {
            names: names.clone(),
            activation: match job.scale {
                Scale::Model => *activation,
                Scale::Raw => Activation::Identity,
                Scale::Softmax => Activation::Softmax,
                Scale::Sigmoid => Activation::Sigmoid,
            },
            selection: Selection {
                top_k: job.top_k,
                threshold: job.threshold,
            },
            results: vec![Vec::new(); job.inputs.len()],
        };
        Ok((want, output))
    }

    /// What a [`ZeroShot`] wants.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model does not tell whether one text follows from another.
    pub fn entailed(job: &ZeroShot, encoder: &dyn Encoder) -> Result<Self, Error> {
        let entailment = match encoder.head() {
            Head::Labels { names, .. } => Entailment::of(names),
            _ => None,
        };
        let entailment = entailment.ok_or_else(|| {
            Error::Unsupported(
                "this model does not tell whether one text follows from another, which labels of the caller's own need"
                    .into(),
            )
        })?;
        Ok(Self::Entailed {
            labels: job.labels.clone(),
            entailment,
            multi_label: job.multi_label,
            logits: vec![[0.0; 2]; job.inputs.len() * job.labels.len()],
        })
    }

    /// What a [`Tag`] wants, and of which head.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model has no such classifier, [`Error::InvalidJob`] if there is a choice.
    pub fn spans(job: &Tag, encoder: &dyn Encoder) -> Result<(Self, Output), Error> {
        let what = "token classification";
        let (head, output) = chosen(encoder, job.head.as_deref(), what, |head| {
            matches!(head, Head::TokenLabels { .. })
        })?;
        let Head::TokenLabels { names } = head else {
            unreachable!("only such heads are chosen");
        };
        let want = Self::Spans {
            rules: Rules {
                names: names.clone(),
                aggregation: job.aggregation,
                ignored: job.ignored.clone(),
                threshold: job.threshold,
                before: encoder.frame().single[0].len() as u32,
            },
            texts: vec![Tagging::default(); job.inputs.len()],
            results: vec![Vec::new(); job.inputs.len()],
        };
        Ok((want, output))
    }

    /// What a [`Rerank`] wants.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model does not give one score.
    pub fn relevance(job: &Rerank, encoder: &dyn Encoder) -> Result<Self, Error> {
        let activation = match encoder.head() {
            Head::Labels { names, activation } if names.len() == 1 => *activation,
            _ => {
                return Err(Error::Unsupported(
                    "this model does not score pairs of texts and does not support rerank".into(),
                ));
            }
        };
        Ok(Self::Relevance {
            activation: match activation {
                _ if job.raw_scores => Activation::Identity,
                Activation::Done => Activation::Done,
                // Whatever the model was trained to give: callers compare with thresholds between 0 and 1.
                Activation::Sigmoid | Activation::Softmax | Activation::Identity => {
                    Activation::Sigmoid
                }
            },
            results: vec![0.0; job.documents.len()],
        })
    }

    /// What a `Spell` of so many texts wants.
    pub fn pieces(inputs: usize, with_special: bool) -> Self {
        Self::Pieces {
            with_special,
            results: vec![Vec::new(); inputs],
        }
    }

    /// What a `Write` of so many texts wants.
    pub fn texts(inputs: usize, skip_special: bool) -> Self {
        Self::Texts {
            skip_special,
            results: vec![String::new(); inputs],
        }
    }

    /// Writes an item's tokens, if that is what it wants.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for ids outside the vocabulary.
    pub fn write(
        &mut self,
        item: usize,
        ids: &[Token],
        encoder: &dyn Encoder,
    ) -> Result<bool, Error> {
        let Self::Texts {
            skip_special,
            results,
        } = self
        else {
            return Ok(false);
        };
        let is_left_out = |id: &Token| *skip_special && encoder.is_special(id.cast_unsigned());
        let kept: Vec<Token> = ids.iter().copied().filter(|id| !is_left_out(id)).collect();
        results[item] = encoder.detokenize(&kept)?;
        Ok(true)
    }

    /// Whether it wants to know where tokens stand.
    pub fn wants_places(&self) -> bool {
        matches!(self, Self::Spans { .. } | Self::Pieces { .. })
    }

    /// Whether tokens are all it wants, and then whether the special ones around a text are among them.
    pub fn wants_only_tokens(&self) -> Option<bool> {
        match self {
            Self::Pieces { with_special, .. } => Some(*with_special),
            _ => None,
        }
    }

    /// Whether what is too long can be computed in parts.
    pub fn bears_parts(&self) -> bool {
        matches!(self, Self::Vectors { .. } | Self::Spans { .. })
    }

    /// Notes the tokens of an item, of which so many will be computed.
    pub fn spelled(&mut self, item: usize, pieces: Vec<Piece>) {
        match self {
            Self::Spans { texts, rules, .. } => {
                texts[item] = Tagging {
                    logits: vec![0.0; pieces.len() * rules.names.len()],
                    missing: pieces.len(),
                    pieces,
                };
            }
            Self::Pieces { results, .. } => results[item] = pieces,
            _ => {}
        }
    }

    /// Takes in what the model computed for a part, and tells how many bytes that added to the answer, about.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is not made of finite numbers, [`Error::Engine`] if there are not as many as there should
    /// be.
    pub fn take(
        &mut self,
        part: Part,
        text: &Tokenized,
        output: Vec<f32>,
        encoder: &dyn Encoder,
    ) -> Result<usize, Error> {
        if !output.iter().all(|x| x.is_finite()) {
            return Err(Error::Unsupported(format!(
                "{} contains NaN or Inf values",
                self.what()
            )));
        }
        let count = output.len();
        let unexpected = || Error::Engine(format!("the model gave {count} numbers"));
        Ok(match self {
            Self::Vectors { results, .. } => {
                // How large all of them are together was seen before.
                results[part.item].add(output, text.ids.len());
                0
            }
            Self::TokenVectors { results } => {
                let width = output.len() / text.ids.len();
                if width == 0 || width * text.ids.len() != output.len() {
                    return Err(unexpected());
                }
                results[part.item] = output.chunks_exact(width).map(<[f32]>::to_vec).collect();
                count * size_of::<f32>()
            }
            Self::Sparse { results } => {
                results[part.item] = score::sparse(&output);
                results[part.item].len() * size_of::<(u32, f32)>()
            }
            Self::Labels {
                names,
                activation,
                selection,
                results,
            } => {
                results[part.item] = score::labels(&output, names, *activation, *selection);
                results[part.item].len() * size_of::<LabelScore>()
            }
            Self::Entailed {
                entailment: Entailment { yes, no },
                logits,
                ..
            } => {
                let (Some(yes), Some(no)) = (output.get(*yes), output.get(*no)) else {
                    return Err(unexpected());
                };
                logits[part.item] = [*yes, *no];
                size_of::<LabelScore>()
            }
            Self::Spans {
                rules,
                texts,
                results,
            } => {
                let labels = rules.names.len();
                let text = &mut texts[part.item];
                let computed = part.before * labels..(part.before + part.tokens) * labels;
                let (Some(computed), Some(place)) = (
                    output.get(computed),
                    text.logits
                        .get_mut(part.start * labels..(part.start + part.tokens) * labels),
                ) else {
                    return Err(unexpected());
                };
                place.copy_from_slice(computed);
                text.missing -= part.tokens;
                if text.missing == 0 {
                    let text = std::mem::take(text);
                    results[part.item] = tag::spans(rules, text.pieces, &text.logits, encoder)?;
                }
                results[part.item].len() * size_of::<Span>()
            }
            Self::Relevance {
                activation,
                results,
            } => {
                results[part.item] = score::relevance(&output, *activation);
                size_of::<f32>()
            }
            Self::Pieces { .. } | Self::Texts { .. } => unreachable!("nothing is computed for it"),
        })
    }

    /// The answer, once everything was taken in.
    #[must_use]
    pub fn answer(self, usage: Usage) -> Event {
        match self {
            Self::Vectors {
                dimensions,
                normalize,
                results,
            } => {
                let vector = |mean: Mean| score::vector(mean.value(), dimensions, normalize);
                let results = results.into_iter().map(vector).collect();
                Event::Embedded(Encoded { results, usage })
            }
            Self::TokenVectors { results } => Event::EmbeddedTokens(Encoded { results, usage }),
            Self::Sparse { results } => Event::EmbeddedSparse(Encoded { results, usage }),
            Self::Labels { results, .. } => Event::Labelled(Encoded { results, usage }),
            Self::Entailed {
                labels,
                multi_label,
                logits,
                ..
            } => {
                let ordered = |logits: &[[f32; 2]]| {
                    let scores = Entailment::scores(logits, !multi_label);
                    score::ordered(labels.iter().cloned().zip(scores), Selection::default())
                };
                let results = logits.chunks(labels.len()).map(ordered).collect();
                Event::Labelled(Encoded { results, usage })
            }
            Self::Spans { results, .. } => Event::Tagged(Encoded { results, usage }),
            Self::Relevance { results, .. } => Event::Ranked(Encoded { results, usage }),
            Self::Pieces { results, .. } => Event::Spelled(Encoded { results, usage }),
            Self::Texts { results, .. } => Event::Written(Encoded { results, usage }),
        }
    }

    /// What it is called in errors.
    fn what(&self) -> &'static str {
        match self {
            Self::Vectors { .. } | Self::TokenVectors { .. } | Self::Sparse { .. } => "embedding",
            Self::Labels { .. } | Self::Entailed { .. } | Self::Spans { .. } => "classification",
            Self::Relevance { .. } => "score",
            Self::Pieces { .. } | Self::Texts { .. } => "tokens",
        }
    }
}

impl Mean {
    fn add(&mut self, vector: Vec<f32>, tokens: usize) {
        let weight = tokens as f32;
        self.vectors += 1;
        match self.vectors {
            1 => self.sum = vector,
            _ => {
                // A single vector is never multiplied and divided again: that would change its last digits.
                let scale = if self.vectors == 2 { self.weight } else { 1.0 };
                for (sum, x) in self.sum.iter_mut().zip(vector) {
                    *sum = *sum * scale + weight * x;
                }
            }
        }
        self.weight += weight;
    }

    fn value(mut self) -> Vec<f32> {
        if self.vectors > 1 {
            self.sum.iter_mut().for_each(|x| *x /= self.weight);
        }
        self.sum
    }
}

/// The head that a job means: the named one; else the main one if it is fit for it, or the only one that is.
fn chosen<'a>(
    encoder: &'a dyn Encoder,
    name: Option<&str>,
    what: &str,
    is_fit: impl Fn(&Head) -> bool,
) -> Result<(&'a Head, Output), Error> {
    let all = || (0..).map(Output::Named).zip(encoder.named_heads());
    let mut fit = all().filter(|(_, named)| is_fit(&named.head));
    let names = || -> Vec<&str> { all().map(|(_, named)| named.name.as_str()).collect() };
    if let Some(name) = name {
        let named = fit.find(|(_, named)| named.name == name);
        return named
            .map(|(output, named)| (&named.head, output))
            .ok_or_else(|| {
                Error::InvalidJob(format!(
                    "this model has no head \"{name}\" for {what}; its heads are: {}",
                    names().join(", ")
                ))
            });
    }
    if is_fit(encoder.head()) {
        return Ok((encoder.head(), Output::Head));
    }
    match (fit.next(), fit.next()) {
        (Some((output, named)), None) => Ok((&named.head, output)),
        (Some(_), Some(_)) => Err(Error::InvalidJob(format!(
            "head is required: this model has several: {}",
            names().join(", ")
        ))),
        (None, _) => Err(unsupported(encoder.head(), what)),
    }
}

fn unsupported(head: &Head, what: &str) -> Error {
    Error::Unsupported(format!(
        "this model {} and does not support {what}",
        head.ability()
    ))
}

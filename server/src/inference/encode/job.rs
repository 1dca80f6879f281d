//! What can be asked of a model that encodes, and what it answers.

use serde::{Deserialize, Serialize};

use crate::inference::Error;

/// A job for a model that encodes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Job {
    /// A vector per text.
    Embed(Embed),
    /// A vector per token.
    EmbedTokens(EmbedTokens),
    /// The weights of the vocabulary's words.
    EmbedSparse(EmbedSparse),
    /// The scores of the model's labels.
    Classify(Classify),
    /// The scores of labels that the caller thought of.
    ZeroShot(ZeroShot),
    /// Labels of parts of texts.
    Tag(Tag),
    /// How well texts answer a query.
    Rerank(Rerank),
    /// The tokens of texts and where they stand.
    Spell(Spell),
    /// The texts of tokens.
    Write(Write),
}

impl Job {
    /// What it asks for, in the words of errors.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Embed(_) | Self::EmbedTokens(_) | Self::EmbedSparse(_) => "embeddings",
            Self::Classify(_) | Self::ZeroShot(_) | Self::Tag(_) => "classify",
            Self::Rerank(_) => "rerank",
            Self::Spell(_) => "places of tokens",
            Self::Write(_) => "lists of tokens",
        }
    }
}

/// What is computed on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Input {
    /// One text.
    Text(String),
    /// Two texts that the model sees together, such as a premise and a hypothesis.
    Pair(String, String),
    /// Tokens of the model's own vocabulary. What the model wants around a text is put around them, unless they have it.
    Tokens(Vec<u32>),
}

/// What stands before every text.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Prompt {
    /// The model's default prompt, if it has one.
    #[default]
    Default,
    /// The model's prompt of this name.
    Named(String),
    /// This text.
    Text(String),
}

/// What happens to a text that is longer than the limit.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Overflow {
    /// What is done with it.
    pub too_long: TooLong,
    /// A limit in tokens, special tokens included, below the model's own.
    pub max_tokens: Option<u32>,
}

/// What is done with a text that is too long.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum TooLong {
    /// The job is refused.
    Refuse,
    /// It is cut at this side; `None`: where the model's tokenizer cuts.
    Cut(Option<Side>),
    /// It is computed in parts: a vector is the mean of the parts' vectors, each counting as much as it has tokens, and
    /// labels of tokens are those of their parts. Jobs of other kinds cut it.
    Split,
}

impl TooLong {
    /// Cut where that is allowed, else refused.
    #[must_use]
    pub fn cut_if(truncate: bool) -> Self {
        if truncate {
            Self::Cut(None)
        } else {
            Self::Refuse
        }
    }
}

/// An end of a text.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Side {
    /// Where it begins.
    Start,
    /// Where it ends.
    #[default]
    End,
}

/// Turn texts into vectors.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Embed {
    /// The texts; an empty list gives an empty answer.
    pub inputs: Vec<Input>,
    /// What stands before each of them.
    pub prompt: Prompt,
    /// What to do with a text that is too long.
    pub overflow: Overflow,
    /// Keep this many leading dimensions and normalise again (Matryoshka). `None` or more than there are: all.
    pub dimensions: Option<u32>,
    /// Scale each vector to length 1.
    pub normalize: bool,
}

/// Turn the tokens of texts into vectors, special tokens included.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EmbedTokens {
    /// The texts.
    pub inputs: Vec<Input>,
    /// What stands before each of them.
    pub prompt: Prompt,
    /// What to do with a text that is too long; [`TooLong::Split`] cuts it.
    pub overflow: Overflow,
}

/// Turn texts into weights of the vocabulary's words.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EmbedSparse {
    /// The texts.
    pub inputs: Vec<Input>,
    /// What stands before each of them.
    pub prompt: Prompt,
    /// What to do with a text that is too long; [`TooLong::Split`] cuts it.
    pub overflow: Overflow,
}

/// Give texts the scores of the model's labels.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Classify {
    /// The texts.
    pub inputs: Vec<Input>,
    /// Which of the model's classifiers; `None` where there is no choice.
    pub head: Option<String>,
    /// What to do with a text that is too long.
    pub overflow: Overflow,
    /// Report only the best so many labels.
    pub top_k: Option<u32>,
    /// Report only labels with this score or a higher one.
    pub threshold: Option<f32>,
    /// What the scores are.
    pub scale: Scale,
}

/// What turns a classifier's logits into scores.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Scale {
    /// What the model was trained with.
    #[default]
    Model,
    /// Nothing: the logits themselves.
    Raw,
    /// A softmax: the labels' scores sum to 1.
    Softmax,
    /// Each label has a score of its own between 0 and 1.
    Sigmoid,
}

impl Scale {
    /// The logits, where they are asked for.
    #[must_use]
    pub fn raw_if(raw: bool) -> Self {
        if raw { Self::Raw } else { Self::Model }
    }
}

/// Give texts the scores of the caller's labels, with a model that tells whether one text follows from another.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ZeroShot {
    /// The texts.
    pub inputs: Vec<String>,
    /// The labels, at least one.
    pub labels: Vec<String>,
    /// The hypothesis that a label makes: this with the label in the place of `{}`.
    pub template: String,
    /// Whether several labels may be true: then each has a score of its own.
    pub multi_label: bool,
    /// What to do with a text that is too long; the hypothesis is not cut while there is something else to cut.
    pub overflow: Overflow,
}

/// Find the parts of texts that have labels.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Tag {
    /// The texts.
    pub inputs: Vec<String>,
    /// Which of the model's classifiers of tokens; `None` where there is no choice.
    pub head: Option<String>,
    /// How the labels of tokens become those of parts.
    pub aggregation: Aggregation,
    /// Labels that are not reported.
    pub ignored: Vec<String>,
    /// Report only parts with this score or a higher one.
    pub threshold: Option<f32>,
    /// What to do with a text that is too long.
    pub overflow: Overflow,
}

/// How the labels of tokens become those of parts of the text: the strategies of Hugging Face's token classification
/// pipeline.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Aggregation {
    /// Every token is a part.
    None,
    /// Neighbouring tokens of one label are a part.
    #[default]
    Simple,
    /// The same, after each word got the label of its first token.
    First,
    /// The same, after each word got the label that its tokens give the highest scores on average.
    Average,
    /// The same, after each word got the label of its token with the highest score.
    Max,
}

/// Score how well each of several texts answers a query.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Rerank {
    /// What is asked.
    pub query: String,
    /// What may answer it.
    pub documents: Vec<String>,
    /// What to do with a pair that is too long.
    pub overflow: Overflow,
    /// Report the model's raw outputs (logits) instead of scores from 0 to 1.
    pub raw_scores: bool,
}

/// Turn texts into tokens with their places.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Spell {
    /// The texts.
    pub inputs: Vec<String>,
    /// What stands before each of them.
    pub prompt: Prompt,
    /// Whether what the model wants around a text is among the tokens.
    pub add_special: bool,
}

/// Turn tokens into texts.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Write {
    /// The tokens of each text.
    pub inputs: Vec<Vec<u32>>,
    /// Whether special tokens are left out.
    pub skip_special: bool,
}

/// What an encoding job reports: exactly one event.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Event {
    /// Answer to [`Embed`]: vectors of one length.
    Embedded(Encoded<Vec<f32>>),
    /// Answer to [`EmbedTokens`]: a vector for each token.
    EmbeddedTokens(Encoded<Vec<Vec<f32>>>),
    /// Answer to [`EmbedSparse`]: token ids and their weights, which are above 0, in the order of the ids.
    EmbeddedSparse(Encoded<Vec<(u32, f32)>>),
    /// Answer to [`Classify`] and [`ZeroShot`]: labels, best first.
    Labelled(Encoded<Vec<LabelScore>>),
    /// Answer to [`Tag`]: parts in the order of the text.
    Tagged(Encoded<Vec<Span>>),
    /// Answer to [`Rerank`]: a number from 0 to 1, or a logit where raw scores were asked for.
    Ranked(Encoded<f32>),
    /// Answer to [`Spell`].
    Spelled(Encoded<Vec<Piece>>),
    /// Answer to [`Write`].
    Written(Encoded<String>),
    /// The job was refused or failed.
    Failed(Error),
}

/// Results in the order of the inputs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Encoded<T> {
    /// One per input.
    pub results: Vec<T>,
    /// What it took.
    pub usage: Usage,
}

/// A label and its score: a probability, or a logit where raw scores were asked for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LabelScore {
    /// The label's name in the model's configuration, or `LABEL_n`.
    pub label: String,
    /// The score.
    pub score: f32,
}

/// A part of a text that has a label.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Span {
    /// The label, without `B-` and `I-` unless every token is a part.
    pub label: String,
    /// Its probability.
    pub score: f32,
    /// Its tokens as the tokenizer writes them; where they stand in the text tells its own words.
    pub word: String,
    /// Place of the token among all tokens, special ones included, where every token is a part.
    pub index: Option<u32>,
    /// Where it stands in the text.
    pub place: Place,
}

/// A token and where it stands.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Piece {
    /// Its id.
    pub id: u32,
    /// Its name in the vocabulary.
    pub name: String,
    /// Whether it was put around the text.
    pub special: bool,
    /// Whether it goes on with the word of the token before it.
    pub continues: bool,
    /// Where it stands, if the tokenizer tells.
    pub place: Option<Place>,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Place {
    /// Its first character, counted from 0 in Unicode's code points.
    pub start: u32,
    /// The character after its last.
    pub end: u32,
    /// The same as [`Place::start`] in bytes of UTF-8.
    pub start_byte: u32,
    /// The same as [`Place::end`] in bytes of UTF-8.
    pub end_byte: u32,
}

/// What an encoding job took. Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Usage {
    /// Tokens of all inputs as computed, special tokens included.
    pub prompt_tokens: u32,
    /// Inputs that were cut.
    pub truncated_inputs: u32,
    /// From the job's arrival to its first batch.
    pub queue_ns: u64,
    /// Tokenising.
    pub tokenize_ns: u64,
    /// From the first batch to the last result.
    pub compute_ns: u64,
}

/// A job together with the kind of answer it gets.
pub trait Ask: Into<Job> {
    /// The result of one input.
    type Result;

    /// The answer in an event.
    ///
    /// # Errors
    /// What the event says has failed, or [`Error::Engine`] if it is that of another kind of job.
    fn answer(event: Event) -> Result<Encoded<Self::Result>, Error>;
}

macro_rules! asks {
    ($($job:ident => $event:ident($result:ty)),* $(,)?) => {$(
        impl From<$job> for Job {
            fn from(job: $job) -> Self {
                Self::$job(job)
            }
        }

        impl Ask for $job {
            type Result = $result;

            fn answer(event: Event) -> Result<Encoded<$result>, Error> {
                match event {
                    Event::$event(encoded) => Ok(encoded),
                    Event::Failed(error) => Err(error),
                    _ => Err(Error::Engine("the answer is that of another kind of job".into())),
                }
            }
        }
    )*};
}

asks! {
    Embed => Embedded(Vec<f32>),
    EmbedTokens => EmbeddedTokens(Vec<Vec<f32>>),
    EmbedSparse => EmbeddedSparse(Vec<(u32, f32)>),
    Classify => Labelled(Vec<LabelScore>),
    ZeroShot => Labelled(Vec<LabelScore>),
    Tag => Tagged(Vec<Span>),
    Rerank => Ranked(f32),
    Spell => Spelled(Vec<Piece>),
    Write => Written(String),
}

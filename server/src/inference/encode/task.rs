//! One job under way: texts that are not tokens yet, tokens that wait for their batch, outputs that wait for the rest.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::excerpt::{self, MOST_SPLIT_BYTES, Reach};
use super::frame::{Limit, Shorten};
use super::want::{MOST_ANSWER_BYTES, Part, Want, too_large};
use super::{
    Embed, Encoder, Event, Input, Job, Output, Overflow, Piece, Prompt, Rerank, Side, Special, Tag,
    Tokenized, TooLong, Usage, ZeroShot,
};
use crate::inference::{Error, Token};

/// Texts of one job that are tokenised and not yet computed: enough to find mates of the same length, and no more, so
/// that a long list does not turn into tokens all at once.
const TOKENIZED_AHEAD: usize = 256;

/// Bytes of text that one job tokenises between two batches: about 5 ms of work.
const SLICE_BYTES: usize = 16 * 1024;

/// What a text costs beside its bytes, so that a slice of empty texts ends too.
const TEXT_OVERHEAD_BYTES: usize = 16;

/// Most pairs of a text and a label of the caller's own in one job.
const MOST_PAIRS: usize = 100_000;

/// Of texts that are not computed.
const ANY_LENGTH: Overflow = Overflow {
    too_long: TooLong::Refuse,
    max_tokens: None,
};

/// An encoding job that was accepted.
#[derive(Debug)]
pub struct Task {
    want: Want,
    /// What is wanted of each text.
    output: Output,
    source: Source,
    before: Before,
    too_long: TooLong,
    max_tokens: u32,
    /// Items before this one are tokenised.
    next_item: usize,
    items: usize,
    tokenized: HashMap<usize, Tokenized>,
    /// What was put into batches or waits for one: the items, or parts of them.
    parts: Vec<Part>,
    parts_missing: usize,
    answer_bytes: usize,
    text_bytes: usize,
    arrived: Instant,
    first_batch: Option<Instant>,
    usage: Usage,
}

/// Where items come from. What is tokenised is taken out.
#[derive(Debug)]
enum Source {
    /// An item each.
    Inputs(Vec<Input>),
    /// An item each, behind the same text.
    Documents {
        query: Vec<u32>,
        documents: Vec<String>,
    },
    /// Every text with every hypothesis.
    Hypotheses {
        texts: Vec<String>,
        hypotheses: Vec<Vec<u32>>,
        /// The text whose turn it is.
        text: Vec<u32>,
    },
}

/// What stands before every text.
#[derive(Debug, Default)]
struct Before {
    text: String,
    tokens: Vec<u32>,
    /// Tokens that pooling passes over, with the special ones before them.
    passed_over: u32,
}

impl Task {
    /// Accepts a job.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model cannot do it, [`Error::InvalidJob`] if it asks for what is not there or too much,
    /// and what the tokenizer says of texts that belong to every item.
    pub fn new(job: Job, encoder: &dyn Encoder) -> Result<Self, Error> {
        match job {
            Job::Embed(job) => {
                let want = Want::vectors(&job, encoder)?;
                let Embed {
                    inputs,
                    prompt,
                    overflow,
                    ..
                } = job;
                Self::of_inputs(want, Output::Head, inputs, overflow, encoder)
                    .behind(prompt, encoder)
            }
            Job::EmbedTokens(job) => {
                let want = Want::token_vectors(job.inputs.len(), encoder)?;
                Self::of_inputs(want, Output::Tokens, job.inputs, job.overflow, encoder)
                    .behind(job.prompt, encoder)
            }
            Job::EmbedSparse(job) => {
                let want = Want::sparse(job.inputs.len(), encoder)?;
                Self::of_inputs(want, Output::Head, job.inputs, job.overflow, encoder)
                    .behind(job.prompt, encoder)
            }
            Job::Classify(job) => {
                let (want, output) = Want::labels(&job, encoder)?;
                Ok(Self::of_inputs(
                    want,
                    output,
                    job.inputs,
                    job.overflow,
                    encoder,
                ))
            }
            Job::ZeroShot(job) => Self::zero_shot(job, encoder),
            Job::Tag(job) => {
                let (want, output) = Want::spans(&job, encoder)?;
                let Tag {
                    inputs, overflow, ..
                } = job;
                let inputs = inputs.into_iter().map(Input::Text).collect();
                Ok(Self::of_inputs(want, output, inputs, overflow, encoder))
            }
            Job::Rerank(job) => Self::rerank(job, encoder),
            Job::Spell(job) => {
                let want = Want::pieces(job.inputs.len(), job.add_special);
                let inputs = job.inputs.into_iter().map(Input::Text).collect();
                Self::of_inputs(want, Output::Head, inputs, ANY_LENGTH, encoder)
                    .behind(job.prompt, encoder)
            }
            Job::Write(job) => {
                let want = Want::texts(job.inputs.len(), job.skip_special);
                let inputs = job.inputs.into_iter().map(Input::Tokens).collect();
                Ok(Self::of_inputs(
                    want,
                    Output::Head,
                    inputs,
                    ANY_LENGTH,
                    encoder,
                ))
            }
        }
    }

    fn zero_shot(job: ZeroShot, encoder: &dyn Encoder) -> Result<Self, Error> {
        if job.labels.is_empty() {
            return Err(Error::InvalidJob("at least one label is needed".into()));
        }
        let items = job.inputs.len().saturating_mul(job.labels.len());
        if items > MOST_PAIRS {
            return Err(Error::InvalidJob(format!(
                "{items} pairs of a text and a label are more than {MOST_PAIRS}; send them in several requests"
            )));
        }
        if !job.template.contains("{}") {
            return Err(Error::InvalidJob(
                "the template of the hypothesis has no {} for the label".into(),
            ));
        }
        let bytes = job
            .labels
            .iter()
            .map(|label| label.len() + job.template.len());
        if bytes.sum::<usize>() > MOST_SPLIT_BYTES {
            return Err(Error::InvalidJob(format!(
                "the labels in their template have more than {MOST_SPLIT_BYTES} bytes; send them in several requests"
            )));
        }
        let want = Want::entailed(&job, encoder)?;
        let hypothesis = |label: &String| encoder.split(&job.template.replacen("{}", label, 1));
        let source = Source::Hypotheses {
            hypotheses: job
                .labels
                .iter()
                .map(hypothesis)
                .collect::<Result<_, _>>()?,
            texts: job.inputs,
            text: Vec::new(),
        };
        Ok(Self::of(want, Output::Head, source, job.overflow, encoder))
    }

    fn rerank(job: Rerank, encoder: &dyn Encoder) -> Result<Self, Error> {
        let want = Want::relevance(&job, encoder)?;
        let source = Source::Documents {
            query: Vec::new(),
            documents: job.documents,
        };
        let mut task = Self::of(want, Output::Head, source, job.overflow, encoder);
        let tokens = task
            .reach(encoder)
            .split(&job.query, |text| encoder.split(text))?;
        if let Source::Documents { query, .. } = &mut task.source {
            *query = tokens;
        }
        Ok(task)
    }

    fn of_inputs(
        want: Want,
        output: Output,
        inputs: Vec<Input>,
        overflow: Overflow,
        encoder: &dyn Encoder,
    ) -> Self {
        Self::of(want, output, Source::Inputs(inputs), overflow, encoder)
    }

    fn of(
        want: Want,
        output: Output,
        source: Source,
        overflow: Overflow,
        encoder: &dyn Encoder,
    ) -> Self {
        let most = encoder.max_tokens();
        Self {
            want,
            output,
            items: source.items(),
            text_bytes: source.bytes(),
            source,
            before: Before::default(),
            too_long: overflow.too_long,
            max_tokens: overflow.max_tokens.map_or(most, |limit| limit.min(most)),
            next_item: 0,
            tokenized: HashMap::new(),
            parts: Vec::new(),
            parts_missing: 0,
            answer_bytes: 0,
            arrived: Instant::now(),
            first_batch: None,
            usage: Usage::default(),
        }
    }

    /// The same behind a prompt.
    fn behind(mut self, prompt: Prompt, encoder: &dyn Encoder) -> Result<Self, Error> {
        let prompts = encoder.prompts();
        let text = prompts.text(prompt)?;
        if text.is_empty() {
            return Ok(self);
        }
        let tokens = encoder.split(excerpt::whole(&text)?)?;
        let special = encoder.frame().single[0].len();
        self.before = Before {
            passed_over: match prompts.pooled {
                true => 0,
                false => count(special + tokens.len()),
            },
            tokens,
            text,
        };
        Ok(self)
    }

    /// Bytes of its texts as they came.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Tokenises some of the texts that are left and reports each part that is to be computed with its length in tokens.
    ///
    /// # Errors
    /// [`Error::InputTooLong`] and [`Error::NothingLeft`] as the job's overflow rule says; what the tokenizer reports.
    pub fn tokenize(
        &mut self,
        encoder: &dyn Encoder,
        ready: &mut dyn FnMut(usize, u32),
    ) -> Result<(), Error> {
        let started = Instant::now();
        let mut bytes = 0;
        while self.next_item < self.items
            && self.tokenized.len() < TOKENIZED_AHEAD
            && bytes < SLICE_BYTES
        {
            let item = self.next_item;
            self.next_item += 1;
            let (read, texts) = self.take(item, encoder)?;
            bytes += read + TEXT_OVERHEAD_BYTES;
            for (part, mut text) in texts {
                text.output = self.output;
                let tokens = count(text.ids.len());
                text.passed_over = self.before.passed_over.min(tokens.saturating_sub(1));
                self.usage.prompt_tokens = self.usage.prompt_tokens.saturating_add(tokens);
                ready(self.parts.len(), tokens);
                self.tokenized.insert(self.parts.len(), text);
                self.parts.push(part);
                self.parts_missing += 1;
            }
        }
        self.usage.tokenize_ns += nanoseconds(started.elapsed());
        Ok(())
    }

    /// An item as tokens, in one part or several, and the bytes that were read for it.
    fn take(
        &mut self,
        item: usize,
        encoder: &dyn Encoder,
    ) -> Result<(usize, Vec<(Part, Tokenized)>), Error> {
        let (frame, reach) = (encoder.frame(), self.reach(encoder));
        let limit = reach.limit;
        let split = |text: &str| reach.split(text, |text| encoder.split(text));
        let (bytes, pair) = match &mut self.source {
            Source::Inputs(inputs) => {
                let input = std::mem::replace(&mut inputs[item], Input::Tokens(Vec::new()));
                let bytes = input.bytes();
                match input {
                    Input::Text(text) => {
                        let bytes = bytes + self.before.text.len();
                        return Ok((bytes, self.text(item, text, encoder)?));
                    }
                    Input::Tokens(ids) => {
                        let tokens = known(&ids, encoder)?;
                        if self.want.write(item, &tokens, encoder)? {
                            return Ok((bytes, Vec::new()));
                        }
                        let ids = [&self.before.tokens, frame.inside(&ids)].concat();
                        return Ok((bytes, self.parts_of(item, &ids, encoder)?));
                    }
                    Input::Pair(first, second) => {
                        let [first, second] = [split(&first)?, split(&second)?];
                        (bytes, frame.two(&first, &second, limit, Shorten::Longest))
                    }
                }
            }
            Source::Documents { query, documents } => {
                let document = std::mem::take(&mut documents[item]);
                let tokens = split(&document)?;
                let pair = frame.two(query, &tokens, limit, Shorten::Longest);
                (document.len(), pair)
            }
            Source::Hypotheses {
                texts,
                hypotheses,
                text,
            } => {
                let (index, label) = (item / hypotheses.len(), item % hypotheses.len());
                if label == 0 {
                    *text = split(&std::mem::take(&mut texts[index]))?;
                }
                let pair = frame.two(text, &hypotheses[label], limit, Shorten::First);
                (text.len() + hypotheses[label].len(), pair)
            }
        };
        Ok((bytes, vec![(Part::of(item), self.fitting(pair)?)]))
    }

    fn text(
        &mut self,
        item: usize,
        mut text: String,
        encoder: &dyn Encoder,
    ) -> Result<Vec<(Part, Tokenized)>, Error> {
        if !self.before.text.is_empty() {
            text.insert_str(0, &self.before.text);
        }
        if !self.want.wants_places() {
            let ids = self
                .reach(encoder)
                .split(&text, |text| encoder.split(text))?;
            return self.parts_of(item, &ids, encoder);
        }
        if let Some(with_special) = self.want.wants_only_tokens() {
            let mut pieces = encoder.spell(excerpt::whole(&text)?)?;
            if with_special {
                pieces = framed(pieces, encoder)?;
            }
            self.want.spelled(item, pieces);
            return Ok(Vec::new());
        }
        let mut pieces = self
            .reach(encoder)
            .spell(&text, |text| encoder.spell(text))?;
        let ids: Vec<u32> = pieces.iter().map(|piece| piece.id).collect();
        let mut parts = self.parts_of(item, &ids, encoder)?;
        // Of a text that was cut, only what is left of it counts.
        let kept: usize = parts.iter().map(|(part, _)| part.tokens).sum();
        if let Some((first, _)) = parts.first_mut() {
            pieces.drain(..first.start);
            pieces.truncate(kept);
            if parts.len() == 1 {
                parts[0].0.start = 0;
            }
        }
        self.want.spelled(item, pieces);
        Ok(parts)
    }

    /// Tokens of one text, framed, whole or in parts.
    fn parts_of(
        &mut self,
        item: usize,
        ids: &[u32],
        encoder: &dyn Encoder,
    ) -> Result<Vec<(Part, Tokenized)>, Error> {
        let frame = encoder.frame();
        let [before, after] = frame.single.each_ref().map(Vec::len);
        let texts = if self.too_long == TooLong::Split && self.want.bears_parts() {
            frame.parts(&self.before.tokens, ids, self.max_tokens)?
        } else {
            let framed = frame.one(ids, self.limit(encoder));
            vec![self.fitting(framed)?]
        };
        let is_cut_at_its_start = texts.len() == 1 && self.limit(encoder).side == Side::Start;
        let mut start = 0;
        Ok(texts
            .into_iter()
            .map(|text| {
                let tokens = text.ids.len() - before - after;
                if is_cut_at_its_start {
                    start = ids.len() - tokens;
                }
                let part = Part {
                    item,
                    start,
                    tokens,
                    before,
                };
                start += tokens;
                (part, text)
            })
            .collect())
    }

    fn reach(&self, encoder: &dyn Encoder) -> Reach {
        Reach {
            limit: self.limit(encoder),
            too_long: match self.want.bears_parts() {
                true => self.too_long,
                // As jobs do that cannot be computed in parts.
                false if self.too_long == TooLong::Split => TooLong::Cut(None),
                false => self.too_long,
            },
        }
    }

    fn limit(&self, encoder: &dyn Encoder) -> Limit {
        Limit {
            max_tokens: self.max_tokens,
            side: match self.too_long {
                TooLong::Cut(Some(side)) => side,
                TooLong::Cut(None) | TooLong::Refuse | TooLong::Split => encoder.frame().cut,
            },
        }
    }

    /// Applies the job's overflow rule to a text that was cut if it was too long.
    fn fitting(&mut self, framed: Result<Tokenized, Error>) -> Result<Tokenized, Error> {
        let is_refused = self.too_long == TooLong::Refuse;
        let tokenized = match framed {
            Err(Error::NothingLeft) if is_refused => return Err(Error::InputTooLong),
            other => other?,
        };
        if tokenized.full_length > self.max_tokens {
            if is_refused {
                return Err(Error::InputTooLong);
            }
            self.usage.truncated_inputs += 1;
        }
        Ok(tokenized)
    }

    /// Takes the tokens of a part out, because its batch begins.
    pub fn begin(&mut self, part: usize) -> Tokenized {
        self.first_batch.get_or_insert_with(Instant::now);
        self.tokenized
            .remove(&part)
            .expect("only parts reported as ready are put into a batch, once")
    }

    /// Takes in what the model computed for a part.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is not made of finite numbers, [`Error::InvalidJob`] if the answer gets too large.
    pub fn finish(
        &mut self,
        part: usize,
        text: &Tokenized,
        output: Vec<f32>,
        encoder: &dyn Encoder,
    ) -> Result<(), Error> {
        let bytes = self.want.take(self.parts[part], text, output, encoder)?;
        self.answer_bytes = self.answer_bytes.saturating_add(bytes);
        if self.answer_bytes > MOST_ANSWER_BYTES {
            return Err(too_large());
        }
        self.parts_missing -= 1;
        Ok(())
    }

    /// Whether every input has its output.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.next_item == self.items && self.parts_missing == 0
    }

    /// The answer, once the task is finished.
    #[must_use]
    pub fn answer(mut self) -> Event {
        if let Some(first_batch) = self.first_batch {
            self.usage.queue_ns = nanoseconds(first_batch - self.arrived);
            self.usage.compute_ns = nanoseconds(first_batch.elapsed());
        }
        self.want.answer(self.usage)
    }
}

impl Part {
    /// The whole of an item.
    fn of(item: usize) -> Self {
        Self {
            item,
            ..Self::default()
        }
    }
}

impl Source {
    fn items(&self) -> usize {
        match self {
            Self::Inputs(inputs) => inputs.len(),
            Self::Documents { documents, .. } => documents.len(),
            Self::Hypotheses {
                texts, hypotheses, ..
            } => texts.len() * hypotheses.len(),
        }
    }

    fn bytes(&self) -> usize {
        let texts = |texts: &Vec<String>| texts.iter().map(String::len).sum::<usize>();
        match self {
            Self::Inputs(inputs) => inputs.iter().map(Input::bytes).sum(),
            Self::Documents { documents, .. } => texts(documents),
            Self::Hypotheses { texts: all, .. } => texts(all),
        }
    }
}

impl Input {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Pair(first, second) => first.len() + second.len(),
            Self::Tokens(ids) => size_of_val(&ids[..]),
        }
    }
}

/// Refuses tokens that are not in the vocabulary: engines would read beyond their tables.
fn known(ids: &[u32], encoder: &dyn Encoder) -> Result<Vec<Token>, Error> {
    let unknown = |id: u32| Error::InvalidJob(format!("token {id} is not in the vocabulary"));
    let token = |&id: &u32| Token::try_from(id).map_err(|_| unknown(id));
    let tokens: Vec<Token> = excerpt::all(ids)?
        .iter()
        .map(token)
        .collect::<Result<_, _>>()?;
    encoder.pieces(&tokens)?;
    Ok(tokens)
}

/// The same with the special tokens around them.
fn framed(pieces: Vec<Piece>, encoder: &dyn Encoder) -> Result<Vec<Piece>, Error> {
    let special = |special: &Special| {
        let token = Token::try_from(special.id).expect("vocabularies are far smaller than 2^31");
        let name = encoder.pieces(&[token])?.concat();
        Ok(Piece {
            id: special.id,
            name: String::from_utf8_lossy(&name).into_owned(),
            special: true,
            continues: false,
            place: None,
        })
    };
    let [before, after] = &encoder.frame().single;
    let mut all: Vec<Piece> = before.iter().map(special).collect::<Result<_, Error>>()?;
    all.extend(pieces);
    for token in after {
        all.push(special(token)?);
    }
    Ok(all)
}

/// A duration in nanoseconds; 584 years fit.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A number of tokens or jobs as reports carry it.
pub fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

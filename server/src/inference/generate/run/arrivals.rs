//! Jobs on their way to the scheduler: refused, or with their images seen, their prompts tokenised and their grammars compiled.

use std::collections::HashMap;
use std::time::Instant;

use super::active::Active;
use super::{Loop, count};
use crate::inference::generate::admission::Prepared;
use crate::inference::generate::scheduler::{Request, WAITING_JOBS};
use crate::inference::generate::text::Assembler;
use crate::inference::generate::{Admitted, Event, Generate, Rules, Sight, Usage, prompt};
use crate::inference::{self, Error, Job, JobId, Token};

/// Times its context that a job without a limit may generate, as in Ollama; also the most that a limit can be.
const CONTEXTS_PER_ANSWER: u32 = 10;

impl Loop<'_> {
    /// Takes a job on, or gives the event that is all of its answer.
    pub(super) fn submit(&mut self, id: JobId, job: Job) -> Result<(), inference::Event> {
        match job {
            Job::Generate(generate) => self
                .admit(id, generate)
                .map_err(|error| inference::Event::Generate(Event::Failed(error))),
            Job::Tokenize {
                text,
                add_special,
                parse_special,
            } => {
                let tokens = self.engine.tokenize(&text, add_special, parse_special);
                Err(inference::Event::Tokenized(tokens))
            }
            Job::Detokenize { tokens } => {
                Err(inference::Event::Detokenized(self.detokenize(&tokens)))
            }
            Job::Pieces { tokens } => Err(inference::Event::Pieces(self.pieces(&tokens))),
            Job::Encode(ref encode) => Err(job.failed(unsupported(encode.operation()))),
        }
    }

    fn admit(&mut self, id: JobId, job: Generate) -> Result<(), Error> {
        // Before the work of tokenising, so that a refusal costs next to nothing.
        if self.scheduler.waiting() + self.before() >= WAITING_JOBS {
            return Err(Error::Busy);
        }
        match self.sightings.begin(self.engine, id, job) {
            None => Ok(()),
            Some(job) => self.prepare(id, job, Vec::new(), Instant::now()),
        }
    }

    /// Jobs that are not the scheduler's yet.
    pub(super) fn before(&self) -> usize {
        self.sightings.len() + self.compilations.len()
    }

    pub(super) fn take_seen(&mut self) {
        for (id, seen) in self.sightings.finished(self.engine) {
            let prepared =
                seen.and_then(|seen| self.prepare(id, seen.job, seen.sights, seen.arrived));
            if let Err(error) = prepared {
                self.fail(id, error);
            }
        }
    }

    /// Takes a job on whose images were seen.
    fn prepare(
        &mut self,
        id: JobId,
        job: Generate,
        sights: Vec<Sight>,
        arrived: Instant,
    ) -> Result<(), Error> {
        let prepared = Prepared::new(self.engine, job, sights, arrived)?;
        if prepared.job.constraint.is_some() {
            self.compilations
                .begin(id, prepared, self.engine.compiler());
        } else {
            self.enter(id, prepared, None);
        }
        Ok(())
    }

    pub(super) fn take_compiled(&mut self) {
        if self.compilations.len() == 0 {
            return;
        }
        for (id, compiled) in self.compilations.finished(Instant::now()) {
            match compiled {
                Ok((prepared, rules)) => self.enter(id, prepared, rules),
                Err(error) => self.fail(id, error),
            }
        }
    }

    /// Puts a job among those that wait for a slot.
    fn enter(&mut self, id: JobId, prepared: Prepared, rules: Option<Box<dyn Rules>>) {
        let Prepared {
            job,
            prompt,
            arrived,
            ..
        } = prepared;
        let prompt_tokens = count(prompt.tokens.len());
        let longest = self
            .engine
            .limits()
            .context
            .saturating_mul(CONTEXTS_PER_ANSWER);
        self.scheduler.submit(Request {
            id,
            scope: job.caller,
            prompt: prompt.tokens,
            keep: prompt.keep,
            shift: job.overflow.shift,
            max_tokens: job.max_tokens.map_or(longest, |tokens| tokens.min(longest)),
        });
        // A stop string inside a string of a JSON answer would leave half of the answer.
        let has_shape =
            (job.constraint.as_ref()).is_some_and(|constraint| constraint.is_demanded());
        let stops = if has_shape { &[] } else { job.stop.as_slice() };
        let visible = self.visible(&job.visible);
        self.jobs.insert(
            id,
            Active {
                sampling: job.sampling,
                logprobs: job.logprobs,
                logit_bias: job.logit_bias,
                rules,
                visible,
                _images: prompt.images,
                text: Assembler::new(stops),
                usage: Usage {
                    prompt_tokens,
                    ..Usage::default()
                },
                phase_began: arrived,
            },
        );
        let truncated_tokens = prompt.truncated_tokens;
        self.push_own(
            id,
            Event::Admitted(Admitted {
                prompt_tokens,
                truncated_tokens,
            }),
        );
    }

    /// The tokens that have these names and no text.
    fn visible(&self, names: &[String]) -> HashMap<Token, String> {
        let token = |name: &String| {
            // Text that the vocabulary cannot express is no token's name.
            let tokens = self.engine.tokenize(name, false, true).ok()?;
            let [token] = tokens[..] else { return None };
            let mut bytes = Vec::new();
            self.engine.write_piece(token, &mut bytes);
            bytes.is_empty().then(|| (token, name.clone()))
        };
        names.iter().filter_map(token).collect()
    }

    fn detokenize(&self, tokens: &[Token]) -> Result<String, Error> {
        prompt::check_tokens(self.engine, tokens)?;
        let mut bytes = Vec::new();
        for &token in tokens {
            self.engine.write_piece(token, &mut bytes);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn pieces(&self, tokens: &[Token]) -> Result<Vec<Vec<u8>>, Error> {
        prompt::check_tokens(self.engine, tokens)?;
        let piece = |&token: &Token| {
            let mut bytes = Vec::new();
            self.engine.write_name(token, &mut bytes);
            bytes
        };
        Ok(tokens.iter().map(piece).collect())
    }
}

fn unsupported(what: &str) -> Error {
    Error::Unsupported(format!("this model does not support {what}"))
}

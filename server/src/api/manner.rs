//! How answers are to be written, whatever the dialect that said so.

use super::options::Options;
use super::session::Purpose;
use super::{Error, access};
use crate::duration::KeepAlive;
use crate::inference::Token;
use crate::inference::generate::{Constraint, Generate, Piece};
use crate::store::{Model, Parameters};

/// Most alternatives to a token that can be asked for.
pub const MAX_TOP_LOGPROBS: u8 = 20;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Manner {
    /// Options that go over the model's own.
    pub parameters: Parameters,
    /// How long the model stays loaded.
    pub keep_alive: Option<KeepAlive>,
    /// Whether a prompt that is too long is cut.
    pub truncate: bool,
    /// Whether to go on when the context is full.
    pub shift: bool,
    /// How many alternatives to report with every token; none for no report.
    pub logprobs: Option<u8>,
    /// Added to the logits of tokens.
    pub logit_bias: Vec<(Token, f32)>,
    /// How many answers to each prompt, at least 1.
    pub choices: u32,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            parameters: Parameters::default(),
            keep_alive: None,
            truncate: true,
            shift: true,
            logprobs: None,
            logit_bias: Vec::new(),
            choices: 1,
        }
    }
}

impl Manner {
    /// The options that hold for this model.
    ///
    /// # Errors
    /// When they are beyond what is supported.
    pub fn options(&self, model: &Model) -> Result<Options, Error> {
        Options::over(&model.parameters, self.parameters.clone())
    }

    /// What the model is loaded for.
    #[must_use]
    pub fn purpose(&self, operation: &'static str, options: &Options) -> Purpose {
        Purpose {
            operation,
            options: options.load(),
            keep_alive: self.keep_alive,
        }
    }

    /// The jobs that continue `prompt`, one for each choice. Where a seed was given, each choice has the next one: equal
    /// answers would be of no use to anybody.
    #[must_use]
    pub fn jobs(
        &self,
        prompt: &[Piece],
        options: &Options,
        constraint: Option<&Constraint>,
        context: u32,
    ) -> Vec<Generate> {
        let job = |choice| {
            let constraint = constraint.cloned().map(Box::new);
            let mut job = self.job(prompt.to_vec(), options, constraint, context);
            job.sampling.seed = job.sampling.seed.map(|seed| seed.wrapping_add(choice));
            job
        };
        (0..self.choices.max(1)).map(job).collect()
    }

    /// The job that continues `prompt` once.
    #[must_use]
    pub fn job(
        &self,
        prompt: Vec<Piece>,
        options: &Options,
        constraint: Option<Box<Constraint>>,
        context: u32,
    ) -> Generate {
        Generate {
            prompt,
            sampling: options.sampling(),
            stop: options.stop(),
            max_tokens: options.max_tokens(context),
            overflow: options.overflow(self.truncate, self.shift),
            logprobs: self.logprobs,
            visible: Vec::new(),
            constraint,
            logit_bias: self.logit_bias.clone(),
            caller: access::caller(),
        }
    }
}

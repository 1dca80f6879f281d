//! From a conversation to the answers to it, whatever the dialect.

use std::sync::Arc;

use super::answer::Answer;
use super::answers::{Answers, Wanted};
use super::conversation::{Conversation, Prompt, TOKENS_PER_IMAGE};
use super::manner::Manner;
use super::options::Options;
use super::session::Session;
use super::shape::Shape;
use super::{App, Error};
use crate::inference::generate::Constraint;
use crate::metrics::Outcome;
use crate::store::Model;

/// What is asked for.
#[derive(Debug, Default)]
pub struct Chat {
    /// What was said and what may be called.
    pub conversation: Conversation,
    /// What is asked of the answer's shape.
    pub shape: Shape,
    /// How the answer is to be written.
    pub manner: Manner,
}

/// A chat whose model is loaded and whose prompt is written.
pub struct Ready {
    session: Session,
    prompt: Prompt,
    options: Options,
    constraint: Option<Box<Constraint>>,
    manner: Manner,
    one_call: bool,
}

impl Chat {
    /// Refuses what the model cannot do, has it loaded, and writes the prompt.
    ///
    /// # Errors
    /// Whatever is in the way of an answer, but for what only the model's worker can know.
    pub async fn prepare(mut self, app: &App, model: &Arc<Model>) -> Result<Ready, Error> {
        let (mut session, options) = self.open(app, model).await?;
        let prompt = self
            .conversation
            .prompt(app, model, &session.lease, self.manner.truncate)
            .await;
        let prompt = session.checked(prompt)?;
        session.left_out = prompt.left_out;
        let constraint = prompt.constraint(&self.shape);
        Ok(Ready {
            constraint: session.checked(constraint)?,
            session,
            prompt,
            options,
            one_call: self.shape.one_call,
            manner: self.manner,
        })
    }
}

impl Chat {
    /// Has the model loaded as an answer would need it, and lets it be.
    ///
    /// # Errors
    /// As for [`Chat::prepare`].
    pub async fn load(mut self, app: &App, model: &Arc<Model>) -> Result<(), Error> {
        let (mut session, _) = self.open(app, model).await?;
        session.request.ended(Outcome::Answered);
        Ok(())
    }

    async fn open(&mut self, app: &App, model: &Arc<Model>) -> Result<(Session, Options), Error> {
        self.conversation.check(model)?;
        self.shape.check(&self.conversation.tools)?;
        let tools = std::mem::take(&mut self.conversation.tools);
        self.conversation.tools = self.shape.offered(tools);
        let options = self.manner.options(model)?;
        let purpose = self.manner.purpose("chat", &options);
        Ok((Session::open(app, model, purpose).await?, options))
    }
}

impl Ready {
    /// The prompt, instead of answers to it.
    #[must_use]
    pub fn into_prompt(mut self) -> String {
        self.session.request.ended(Outcome::Answered);
        self.prompt.shown()
    }

    /// How many tokens the prompt has, where an image counts for a usual one, instead of answers to it.
    ///
    /// # Errors
    /// When the model's worker fails.
    pub async fn into_prompt_tokens(mut self) -> Result<usize, Error> {
        let seen = self.prompt.images.len() * TOKENS_PER_IMAGE;
        let tokens = self.session.lease.tokenize(self.prompt.text, true, true);
        let tokens = tokens.await;
        let tokens = self.session.checked(tokens)?;
        self.session.request.ended(Outcome::Answered);
        Ok(tokens.len() + seen)
    }

    /// Starts one answer.
    ///
    /// # Errors
    /// Whatever the model's worker refuses.
    pub async fn answer(self) -> Result<Answer, Error> {
        let context = self.session.lease.facts().context;
        let prompt = self.prompt.pieces();
        let job = self
            .manner
            .job(prompt, &self.options, self.constraint, context);
        Answer::start(self.session, job, Some(self.prompt.parser())).await
    }

    /// Starts the answers.
    ///
    /// # Errors
    /// Whatever the model's worker refuses.
    pub async fn answers(self) -> Result<Answers, Error> {
        let context = self.session.lease.facts().context;
        let prompt = self.prompt.pieces();
        let jobs = self
            .manner
            .jobs(&prompt, &self.options, self.constraint.as_deref(), context);
        let wanted = jobs
            .into_iter()
            .map(|job| Wanted {
                job,
                parser: Some(self.prompt.parser()),
                one_call: self.one_call,
            })
            .collect();
        Answers::start(self.session, wanted).await
    }
}

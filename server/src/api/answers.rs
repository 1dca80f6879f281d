//! Several answers at once: to one prompt, to several, or both.

use futures::future::try_join_all;
use futures::stream::{self, SelectAll};
use futures::{Stream, StreamExt};

use super::Error;
use super::answer::{Answer, Delta, Ending, Piece};
use super::session::Session;
use super::sse::Numbered;
use crate::inference::generate::Generate;
use crate::prompt::OutputParser;

/// Most answers to one prompt.
pub const MAX_CHOICES: u32 = 16;

/// Most answers to one request.
pub const MAX_ANSWERS: usize = 128;

/// One answer that is wanted.
#[derive(Debug)]
pub struct Wanted {
    /// The job.
    pub job: Generate,
    /// What takes it apart; none for the text as the model writes it.
    pub parser: Option<OutputParser>,
    /// Whether only the first tool call of it counts.
    pub one_call: bool,
}

/// Answers under way, numbered from 0. Dropping them cancels their jobs.
pub struct Answers {
    running: Vec<Answer>,
}

/// All of an answer.
pub struct Whole {
    /// What was said, thought and called.
    pub said: Delta,
    /// How it ended.
    pub ending: Ending,
}

impl Answers {
    /// Submits the jobs and waits until all are admitted. In the metrics each is a request of its own.
    ///
    /// # Errors
    /// Whatever refused the first that was refused; the others are cancelled.
    pub async fn start(session: Session, wanted: Vec<Wanted>) -> Result<Self, Error> {
        let others = (1..wanted.len())
            .map(|_| session.again())
            .collect::<Vec<_>>();
        let sessions = std::iter::once(session).chain(others);
        let starting = sessions.zip(wanted).map(|(session, wanted)| async move {
            let answer = Answer::start(session, wanted.job, wanted.parser).await?;
            Ok::<_, Error>(if wanted.one_call {
                answer.with_one_call()
            } else {
                answer
            })
        });
        let running = try_join_all(starting).await?;
        Ok(Self { running })
    }

    /// Tokens of the prompt of the first answer.
    #[must_use]
    pub fn prompt_tokens(&self) -> u32 {
        self.running.first().map_or(0, Answer::prompt_tokens)
    }

    /// The parts of all answers as they come.
    pub fn pieces(self) -> impl Stream<Item = Numbered> + Send + Unpin + 'static {
        let mut all = SelectAll::new();
        for (number, answer) in self.running.into_iter().enumerate() {
            let pieces = stream::unfold(answer, move |mut answer| async move {
                let piece = answer.next().await?;
                Some(((number, piece), answer))
            });
            all.push(pieces.boxed());
        }
        all
    }

    /// All of all answers, in the order of their numbers.
    ///
    /// # Errors
    /// The first failure; the other answers are cancelled.
    pub async fn whole(self) -> Result<Vec<Whole>, Error> {
        let mut said: Vec<Delta> = self.running.iter().map(|_| Delta::default()).collect();
        let mut endings: Vec<Option<Ending>> = self.running.iter().map(|_| None).collect();
        let mut pieces = self.pieces();
        while let Some((number, piece)) = pieces.next().await {
            match piece? {
                Piece::Delta(delta) => said[number].append(delta),
                Piece::Ending(tail, ending) => {
                    said[number].append(tail);
                    endings[number] = Some(ending);
                }
            }
        }
        let ended = endings
            .into_iter()
            .map(|ending| ending.expect("an answer ends with an ending or an error"));
        Ok(said
            .into_iter()
            .zip(ended)
            .map(|(said, ending)| Whole { said, ending })
            .collect())
    }
}

//! The encoding loop.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Instant;

use super::batch::{Ready, Text};
use super::task::{Task, count, nanoseconds};
use super::{Encoder, Tokenized};
use crate::inference::{self, Closed, Command, Error, Event, Inbox, Job, JobId, Outbox, Step};

/// Jobs that may be under way at once. Their texts are in memory, so there is a bound.
const MOST_JOBS: usize = 1024;

/// Encodes what the inbox brings until it closes.
pub fn run(encoder: &mut dyn Encoder, inbox: &Inbox, outbox: &mut dyn Outbox) {
    let mut encoding = Encoding {
        encoder,
        inbox,
        outbox,
        tasks: BTreeMap::new(),
        ready: Ready::default(),
        undelivered: false,
    };
    let Err(Closed) = encoding.work();
}

struct Encoding<'a> {
    encoder: &'a mut dyn Encoder,
    inbox: &'a Inbox,
    outbox: &'a mut dyn Outbox,
    /// The jobs under way, oldest first.
    tasks: BTreeMap<JobId, Task>,
    ready: Ready,
    /// Whether events wait for the next [`Outbox::step`].
    undelivered: bool,
}

impl Encoding<'_> {
    fn work(&mut self) -> Result<Infallible, Closed> {
        loop {
            self.receive()?;
            self.tokenize();
            if self.undelivered {
                // What is known already does not wait for a batch that it has no part in.
                self.deliver(Step::default())?;
            }
            self.compute()?;
        }
    }

    /// Takes in every command that is there, and waits for one if there is nothing else to do.
    fn receive(&mut self) -> Result<(), Closed> {
        if self.tasks.is_empty() {
            let command = self.inbox.wait()?;
            self.obey(command);
        }
        while let Some(command) = self.inbox.poll()? {
            self.obey(command);
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Submit(id, job) => self.submit(id, job),
            Command::Cancel(id) => self.forget(id),
        }
    }

    fn submit(&mut self, id: JobId, job: Job) {
        let task = match job {
            Job::Embed(_) | Job::Classify(_) | Job::Rerank(_) if self.tasks.len() >= MOST_JOBS => {
                return self.push(id, job.failed(Error::Busy));
            }
            Job::Embed(embed) => Task::embed(embed, self.encoder),
            Job::Classify(classify) => Task::classify(classify, self.encoder),
            Job::Rerank(rerank) => Task::rerank(rerank, self.encoder),
            Job::Generate(_) => {
                let error = Error::Unsupported("this model does not support generate".into());
                return self.push(id, job.failed(error));
            }
            Job::Tokenize {
                text,
                add_special,
                parse_special,
            } => {
                let tokens = self.encoder.tokens(&text, add_special, parse_special);
                return self.push(id, Event::Tokenized(tokens));
            }
            Job::Detokenize { tokens } => {
                let text = self.encoder.detokenize(&tokens);
                return self.push(id, Event::Detokenized(text));
            }
            Job::Pieces { tokens } => {
                let pieces = self.encoder.pieces(&tokens);
                return self.push(id, Event::Pieces(pieces));
            }
        };
        match task {
            // An empty list is answered at once.
            Ok(task) if task.is_finished() => self.push(id, Event::Encode(task.answer())),
            Ok(task) => {
                self.tasks.insert(id, task);
            }
            Err(error) => self.push(id, failed(error)),
        }
    }

    /// Turns a slice of each job's texts into tokens.
    fn tokenize(&mut self) {
        let mut refused = Vec::new();
        for (&job, task) in &mut self.tasks {
            let ready = &mut self.ready;
            let result = task.tokenize(self.encoder, &mut |index, tokens| {
                ready.push(Text { job, index }, tokens);
            });
            if let Err(error) = result {
                refused.push((job, error));
            }
        }
        for (job, error) in refused {
            self.fail(job, error);
        }
    }

    /// Computes one batch and delivers the jobs that it finishes.
    fn compute(&mut self) -> Result<(), Closed> {
        let batch = self.ready.take(self.encoder.company());
        if batch.is_empty() {
            return Ok(());
        }
        let texts: Vec<Tokenized> = batch
            .iter()
            .map(|text| self.task(text.job).begin(text.index))
            .collect();
        let jobs: std::collections::BTreeSet<JobId> = batch.iter().map(|text| text.job).collect();

        let started = Instant::now();
        let outputs = self.encoder.encode(&texts.iter().collect::<Vec<_>>());
        let compute_ns = nanoseconds(started.elapsed());

        match outputs {
            Ok(outputs) => {
                for (text, output) in batch.iter().zip(outputs) {
                    self.finish(*text, output);
                }
            }
            Err(error) => {
                for &job in &jobs {
                    self.fail(job, error.clone());
                }
            }
        }
        let waiting = self.tasks.len();
        self.deliver(Step {
            jobs: count(jobs.len()),
            prompt_tokens: count(texts.iter().map(|text| text.ids.len()).sum()),
            compute_ns,
            waiting: count(waiting),
            ..Step::default()
        })
    }

    /// Gives a text's output to its job, which may have failed through another text of the same batch.
    fn finish(&mut self, text: Text, output: Vec<f32>) {
        let Some(task) = self.tasks.get_mut(&text.job) else {
            return;
        };
        if let Err(error) = task.finish(text.index, output) {
            self.fail(text.job, error);
        } else if task.is_finished()
            && let Some(task) = self.tasks.remove(&text.job)
        {
            self.push(text.job, Event::Encode(task.answer()));
        }
    }

    fn task(&mut self, job: JobId) -> &mut Task {
        self.tasks
            .get_mut(&job)
            .expect("a job's texts leave the ready ones together with the job")
    }

    fn fail(&mut self, job: JobId, error: Error) {
        self.forget(job);
        self.push(job, failed(error));
    }

    fn forget(&mut self, job: JobId) {
        // The next delivery tells how many are left, even if no step follows.
        self.undelivered |= self.tasks.remove(&job).is_some();
        self.ready.remove(job);
    }

    fn push(&mut self, job: JobId, event: Event) {
        self.outbox.push(job, event);
        self.undelivered = true;
    }

    fn deliver(&mut self, step: Step) -> Result<(), Closed> {
        self.undelivered = false;
        self.outbox.step(step)
    }
}

fn failed(error: Error) -> Event {
    Event::Encode(inference::encode::Event::Failed(error))
}

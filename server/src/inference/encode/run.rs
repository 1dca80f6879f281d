//! The encoding loop.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Instant;

use super::batch::{Ready, Text};
use super::task::{Task, count, nanoseconds};
use super::{Encoder, Tokenized, excerpt};
use crate::inference::{self, Closed, Command, Error, Event, Inbox, Job, JobId, Outbox, Step};

/// Jobs that may be under way at once. Their texts are in memory, so there is a bound.
const MOST_JOBS: usize = 1024;

/// Most bytes of text of all jobs under way together. A job that would be the only one is taken whatever its length.
const MOST_TEXT_BYTES: usize = 256 << 20;

/// Encodes what the inbox brings until it closes.
pub fn run(encoder: &mut dyn Encoder, inbox: &Inbox, outbox: &mut dyn Outbox) {
    let mut encoding = Encoding {
        encoder,
        inbox,
        outbox,
        tasks: BTreeMap::new(),
        ready: Ready::default(),
        text_bytes: 0,
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
    /// Bytes of text of the jobs under way.
    text_bytes: usize,
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
            Job::Encode(_) if self.tasks.len() >= MOST_JOBS => {
                return self.push(id, job.failed(Error::Busy));
            }
            Job::Encode(job) => Task::new(job, self.encoder),
            Job::Generate(_) => {
                let error = Error::Unsupported("this model does not support generate".into());
                return self.push(id, job.failed(error));
            }
            Job::Tokenize {
                text,
                add_special,
                parse_special,
            } => {
                let tokens = excerpt::whole(&text)
                    .and_then(|text| self.encoder.tokens(text, add_special, parse_special));
                return self.push(id, Event::Tokenized(tokens));
            }
            Job::Detokenize { tokens } => {
                let text = excerpt::all(&tokens).and_then(|tokens| self.encoder.detokenize(tokens));
                return self.push(id, Event::Detokenized(text));
            }
            Job::Pieces { tokens } => {
                let pieces = excerpt::all(&tokens).and_then(|tokens| self.encoder.pieces(tokens));
                return self.push(id, Event::Pieces(pieces));
            }
        };
        match task {
            // An empty list is answered at once.
            Ok(task) if task.is_finished() => self.push(id, Event::Encode(task.answer())),
            Ok(task)
                if !self.tasks.is_empty()
                    && self.text_bytes + task.text_bytes() > MOST_TEXT_BYTES =>
            {
                self.push(id, failed(Error::Busy));
            }
            Ok(task) => {
                self.text_bytes += task.text_bytes();
                self.tasks.insert(id, task);
            }
            Err(error) => self.push(id, failed(error)),
        }
    }

    /// Turns a slice of each job's texts into tokens, and ends the jobs that want no more.
    fn tokenize(&mut self) {
        let mut over = Vec::new();
        for (&job, task) in &mut self.tasks {
            let ready = &mut self.ready;
            let result = task.tokenize(self.encoder, &mut |index, tokens| {
                ready.push(Text { job, index }, tokens);
            });
            if result.is_err() || task.is_finished() {
                over.push((job, result));
            }
        }
        for (job, result) in over {
            match result {
                Ok(()) => self.answer(job),
                Err(error) => self.fail(job, error),
            }
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
                for ((text, tokens), output) in batch.iter().zip(&texts).zip(outputs) {
                    self.finish(*text, tokens, output);
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
    fn finish(&mut self, text: Text, tokens: &Tokenized, output: Vec<f32>) {
        let Some(task) = self.tasks.get_mut(&text.job) else {
            return;
        };
        match task.finish(text.index, tokens, output, self.encoder) {
            Err(error) => self.fail(text.job, error),
            Ok(()) if task.is_finished() => self.answer(text.job),
            Ok(()) => {}
        }
    }

    fn answer(&mut self, job: JobId) {
        if let Some(task) = self.remove(job) {
            self.push(job, Event::Encode(task.answer()));
        }
    }

    fn remove(&mut self, job: JobId) -> Option<Task> {
        let task = self.tasks.remove(&job)?;
        self.text_bytes -= task.text_bytes();
        Some(task)
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
        self.undelivered |= self.remove(job).is_some();
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

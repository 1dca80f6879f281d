//! From a job to a request that the scheduler can take: tokens that fit, values that make sense, a compiled grammar.
//!
//! A grammar is compiled on a thread of its own, because it can take longer than many steps, and no running stream is to
//! wait for it. Until it is done the job is neither admitted nor refused, so that a bad grammar is refused in time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Compiler, Constraint, Engine, Generate, Rules, Sight, prompt};
use crate::inference::{Error, JobId, Token};

/// Most grammars compiled at the same time. The processor's cores belong to the steps.
const COMPILATIONS: usize = 2;

/// Longest time a job waits for its grammar. A compilation cannot be interrupted: it keeps its place until it is done.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same where an answer without its grammar is better than none: nobody asked for one.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);

/// Stack of a compiling thread, of which only what is touched becomes memory: grammars are compiled recursively.
const STACK_BYTES: usize = 64 << 20;

/// Most tokens that a job may bias; OpenAI's API allows 1,024.
const BIASED_TOKENS: usize = 1024;

/// A job that can run, but for its rules.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) job: Generate,
    pub(super) prompt: prompt::Prompt,
    pub(super) arrived: Instant,
    /// When there was nothing left to do but its grammar.
    prepared: Instant,
}

impl Prepared {
    fn is_grammar_demanded(&self) -> bool {
        (self.job.constraint.as_ref()).is_some_and(|constraint| constraint.is_demanded())
    }

    fn is_late(&self, now: Instant) -> bool {
        let patience = match self.is_grammar_demanded() {
            true => PATIENCE,
            false => SHORT_PATIENCE,
        };
        now.saturating_duration_since(self.prepared) > patience
    }

    /// Tokenises and checks a job.
    ///
    /// # Errors
    /// Whatever makes it one that cannot run.
    pub(super) fn new(
        engine: &dyn Engine,
        job: Generate,
        sights: Vec<Sight>,
        arrived: Instant,
    ) -> Result<Self, Error> {
        let prompt = prompt::admit(engine, &job, sights)?;
        check_bias(engine, &job.logit_bias)?;
        Ok(Self {
            job,
            prompt,
            arrived,
            prepared: Instant::now(),
        })
    }
}

/// Refuses biases of tokens that are not there, and such as would make every token a NaN.
fn check_bias(engine: &dyn Engine, bias: &[(Token, f32)]) -> Result<(), Error> {
    if bias.len() > BIASED_TOKENS {
        return Err(Error::InvalidJob(format!(
            "logit_bias has {} tokens; at most {BIASED_TOKENS} are supported",
            bias.len()
        )));
    }
    let tokens: Vec<Token> = bias.iter().map(|(token, _)| *token).collect();
    prompt::check_tokens(engine, &tokens)?;
    let nonsense = |bias: f32| bias.is_nan() || bias == f32::INFINITY;
    match bias.iter().find(|(_, bias)| nonsense(*bias)) {
        None => Ok(()),
        Some((token, bias)) => Err(Error::InvalidJob(format!(
            "the logit_bias of token {token} cannot be {bias}"
        ))),
    }
}

/// The jobs whose grammars are being compiled or wait for that.
pub(super) struct Compilations {
    jobs: HashMap<JobId, Prepared>,
    /// In the order they came.
    waiting: VecDeque<(JobId, Arc<dyn Compiler>)>,
    /// Threads that are compiling, those included whose job has left.
    threads: usize,
    done: Receiver<Done>,
    report: Sender<Done>,
}

struct Done {
    id: JobId,
    rules: Result<Box<dyn Rules>, Error>,
}

/// A job with its rules, without them where it can do without, or why it cannot run.
pub(super) type Compiled = (JobId, Result<(Prepared, Option<Box<dyn Rules>>), Error>);

impl Compilations {
    pub(super) fn new() -> Self {
        let (report, done) = channel();
        Self {
            jobs: HashMap::new(),
            waiting: VecDeque::new(),
            threads: 0,
            done,
            report,
        }
    }

    /// Jobs that wait for their grammar.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Takes a job on that has a constraint.
    pub(super) fn begin(&mut self, id: JobId, prepared: Prepared, compiler: Arc<dyn Compiler>) {
        self.jobs.insert(id, prepared);
        self.waiting.push_back((id, compiler));
        self.start();
    }

    /// Forgets a job whose caller has left.
    pub(super) fn cancel(&mut self, id: JobId) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
        self.jobs.remove(&id);
    }

    /// The jobs that are done, and those that have waited too long.
    pub(super) fn finished(&mut self, now: Instant) -> Vec<Compiled> {
        let mut finished = Vec::new();
        while let Ok(done) = self.done.try_recv() {
            self.threads -= 1;
            if let Some(prepared) = self.jobs.remove(&done.id) {
                finished.push((done.id, settle(prepared, done.rules)));
            }
        }
        let late: Vec<JobId> = (self.jobs.iter())
            .filter(|(_, job)| job.is_late(now))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.waiting.retain(|(waiting, _)| *waiting != id);
            let prepared = self.jobs.remove(&id).expect("it was just found");
            let error = "the grammar takes too long to compile; make it smaller".into();
            finished.push((id, settle(prepared, Err(Error::InvalidJob(error)))));
        }
        self.start();
        finished
    }

    fn start(&mut self) {
        while self.threads < COMPILATIONS
            && let Some((id, compiler)) = self.waiting.pop_front()
        {
            let prepared = &self.jobs[&id];
            let constraint = (prepared.job.constraint.clone())
                .expect("only jobs with a constraint are compiled");
            let task = Task {
                id,
                compiler,
                constraint,
                report: self.report.clone(),
            };
            thread::Builder::new()
                .name("grammar".into())
                .stack_size(STACK_BYTES)
                .spawn(move || task.run())
                .expect("the system has room for one more thread");
            self.threads += 1;
        }
    }
}

/// A job can do without rules that nobody demanded.
fn settle(
    prepared: Prepared,
    rules: Result<Box<dyn Rules>, Error>,
) -> Result<(Prepared, Option<Box<dyn Rules>>), Error> {
    match rules {
        Ok(rules) => Ok((prepared, Some(rules))),
        Err(error) if prepared.is_grammar_demanded() => Err(error),
        Err(error) => {
            tracing::info!(%error, "calls are not held to the tools");
            Ok((prepared, None))
        }
    }
}

struct Task {
    id: JobId,
    compiler: Arc<dyn Compiler>,
    constraint: Box<Constraint>,
    report: Sender<Done>,
}

impl Task {
    fn run(self) {
        let began = Instant::now();
        let compile = std::panic::AssertUnwindSafe(|| self.compiler.compile(&self.constraint));
        let rules = std::panic::catch_unwind(compile).unwrap_or_else(|_| {
            let error = "the grammar could not be compiled".into();
            Err(Error::InvalidJob(error))
        });
        let milliseconds = began.elapsed().as_millis();
        let valid = rules.is_ok();
        tracing::debug!(job = self.id, %milliseconds, valid, "compiled a grammar");
        // A loop that is over needs no rules.
        let _ = self.report.send(Done { id: self.id, rules });
    }
}

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};

use super::*;
use crate::engine::fake::{self, Fault, Spec};
use crate::inference::encode::{self, Classify, Embed};
use crate::inference::generate::scheduler::WAITING_JOBS;
use crate::inference::generate::{
    Admitted, Calls, Constraint, Finished, Generate, Grammar, Opening, Overflow, Piece, Preface,
    Sampling, TokenLogprob,
};
use crate::inference::{Job, Token};

/// More than any test here sends.
const COMMANDS: usize = 1024;

/// An outbox in memory that closes when as many jobs as expected are over.
struct Recorder<'a> {
    events: Vec<(JobId, inference::Event)>,
    steps: Vec<Step>,
    left: usize,
    commands: SyncSender<Command>,
    /// What the callers do when they see an event.
    react: &'a mut dyn FnMut(JobId, &inference::Event) -> Option<Command>,
}

impl Outbox for Recorder<'_> {
    fn push(&mut self, job: JobId, event: inference::Event) {
        if let Some(command) = (self.react)(job, &event) {
            self.commands.send(command).unwrap();
        }
        let goes_on = matches!(
            event,
            inference::Event::Generate(Event::Admitted(_) | Event::Text(_))
        );
        self.left -= usize::from(!goes_on);
        self.events.push((job, event));
    }

    fn step(&mut self, step: Step) -> Result<(), Closed> {
        self.steps.push(step);
        if self.left == 0 { Err(Closed) } else { Ok(()) }
    }
}

/// What one job was told.
#[derive(Debug, Default)]
struct Answer {
    admitted: Option<Admitted>,
    text: String,
    logprobs: Vec<TokenLogprob>,
    finished: Option<Finished>,
    error: Option<Error>,
}

struct Served {
    events: Vec<(JobId, inference::Event)>,
    steps: Vec<Step>,
}

impl Served {
    fn answers(self) -> BTreeMap<JobId, Answer> {
        let mut answers: BTreeMap<JobId, Answer> = BTreeMap::new();
        for (id, event) in self.events {
            let answer = answers.entry(id).or_default();
            assert!(
                answer.finished.is_none() && answer.error.is_none(),
                "job {id} ended twice"
            );
            match event {
                inference::Event::Generate(Event::Admitted(admitted)) => {
                    assert!(answer.admitted.replace(admitted).is_none());
                }
                inference::Event::Generate(Event::Text(text)) => {
                    answer.text += &text.text;
                    answer.logprobs.extend(text.logprobs);
                }
                inference::Event::Generate(Event::Finished(finished)) => {
                    answer.finished = Some(finished);
                }
                inference::Event::Generate(Event::Failed(error)) => answer.error = Some(error),
                other => panic!("not of a generating job: {other:?}"),
            }
        }
        answers
    }
}

/// Runs the commands until so many jobs are over, while the callers react.
fn serve_while(
    engine: &mut fake::Engine,
    commands: Vec<Command>,
    left: usize,
    react: &mut dyn FnMut(JobId, &inference::Event) -> Option<Command>,
) -> Served {
    let (sender, receiver) = sync_channel(COMMANDS);
    for command in commands {
        sender.send(command).unwrap();
    }
    let mut recorder = Recorder {
        events: Vec::new(),
        steps: Vec::new(),
        left,
        commands: sender,
        react,
    };
    run(
        engine,
        Policy::default(),
        &Inbox::new(receiver),
        &mut recorder,
    );
    Served {
        events: recorder.events,
        steps: recorder.steps,
    }
}

fn serve(engine: &mut fake::Engine, jobs: Vec<Generate>) -> Served {
    let left = jobs.len();
    let jobs = (0..).zip(jobs);
    let commands = jobs
        .map(|(id, job)| Command::Submit(id, Job::Generate(job)))
        .collect();
    serve_while(engine, commands, left, &mut |_, _| None)
}

/// The answer to one job on an engine of its own.
fn alone(spec: &Spec, job: Generate) -> Answer {
    let mut answers = serve(&mut fake::Engine::new(spec), vec![job]).answers();
    answers.remove(&0).unwrap()
}

fn job(prompt: &str) -> Generate {
    Generate {
        prompt: vec![Piece::Text(prompt.into())],
        sampling: Sampling::default(),
        stop: Vec::new(),
        max_tokens: None,
        overflow: Overflow {
            truncate: true,
            shift: true,
            keep: 4,
        },
        logprobs: None,
        visible: Vec::new(),
        constraint: None,
        logit_bias: Vec::new(),
        caller: 0,
    }
}

fn echo(slots: u32) -> Spec {
    Spec {
        slots,
        ..Spec::default()
    }
}

fn script(words: &str) -> Spec {
    Spec {
        words: words.split(' ').map(String::from).collect(),
        slots: 2,
        ..Spec::default()
    }
}

/// Prompts of quite different lengths, some of which share a beginning.
fn prompts() -> Vec<String> {
    let text = "¿Quién lleva el mensaje? El chasqui, corriendo de tambo en tambo. ";
    (1..=8)
        .map(|i| format!("{}{}", text.repeat(i % 3 * 3), i.to_string().repeat(i * 5)))
        .collect()
}

#[test]
fn eight_jobs_through_three_slots_say_what_they_say_alone() {
    let jobs: Vec<Generate> = prompts().iter().map(|prompt| job(prompt)).collect();
    let served = serve(&mut fake::Engine::new(&echo(3)), jobs);
    let generated: u32 = served.steps.iter().map(|step| step.generated_tokens).sum();
    let computed: u32 = served.steps.iter().map(|step| step.prompt_tokens).sum();
    assert!(served.steps.iter().all(|step| step.running <= 3));
    assert!(
        served
            .steps
            .iter()
            .any(|step| step.jobs == 3 && step.waiting > 0)
    );
    let answers = served.answers();
    let usages = || {
        answers
            .values()
            .map(|answer| answer.finished.as_ref().unwrap().usage)
    };
    assert_eq!(
        generated,
        usages().map(|usage| usage.generated_tokens).sum::<u32>()
    );
    assert_eq!(
        computed,
        usages()
            .map(|usage| usage.prompt_tokens - usage.cached_tokens)
            .sum::<u32>()
    );
    for (prompt, answer) in prompts().iter().zip(answers.values()) {
        let alone = alone(&echo(1), job(prompt));
        assert_eq!(&answer.text, prompt);
        assert_eq!(answer.text, alone.text);
        assert_eq!(
            answer.finished.as_ref().unwrap().context,
            alone.finished.unwrap().context
        );
    }
}

#[test]
fn an_answer_reports_what_it_took() {
    let answer = alone(&script("one two three"), job("count"));
    assert_eq!(answer.text, "one two three");
    assert_eq!(
        answer.admitted,
        Some(Admitted {
            prompt_tokens: 6,
            truncated_tokens: 0
        })
    );
    let finished = answer.finished.unwrap();
    assert_eq!(finished.reason, Finish::Stop);
    // The end token counts.
    assert_eq!(
        (
            finished.usage.prompt_tokens,
            finished.usage.generated_tokens
        ),
        (6, 4)
    );
    assert_eq!(finished.usage.cached_tokens, 0);
    assert!(finished.usage.queue_ns > 0 && finished.usage.prefill_ns > 0);
    assert!(finished.usage.decode_ns > 0);
    // Five bytes of the prompt and three words: neither the beginning nor the end.
    assert_eq!(finished.context.len(), 8);
}

#[test]
fn control_tokens_are_shown_to_those_who_ask_for_them() {
    let prompt = "a<|begin|>b";
    assert_eq!(alone(&echo(1), job(prompt)).text, "ab");
    let asked = Generate {
        visible: vec!["<|begin|>".into(), "b".into(), "no such token".into()],
        ..job(prompt)
    };
    assert_eq!(alone(&echo(1), asked).text, prompt);
}

#[test]
fn an_earlier_context_can_be_sent_back() {
    let spec = script("one two three");
    let context = alone(&spec, job("count")).finished.unwrap().context;
    let again = Generate {
        prompt: vec![Piece::Tokens(context.clone())],
        ..job("")
    };
    let finished = alone(&spec, again).finished.unwrap();
    assert_eq!(finished.usage.prompt_tokens, 9);
    assert!(finished.context.starts_with(&context));
}

#[test]
fn a_cancelled_job_is_heard_of_no_more_and_disturbs_nobody() {
    let mut texts = 0;
    let mut leave = |id: JobId, event: &inference::Event| {
        texts += u32::from(id == 1 && matches!(event, inference::Event::Generate(Event::Text(_))));
        (texts == 3).then_some(Command::Cancel(1))
    };
    let commands = (0..).zip(prompts());
    let commands: Vec<Command> = commands
        .map(|(id, prompt)| Command::Submit(id, Job::Generate(job(&prompt))))
        .collect();
    let served = serve_while(&mut fake::Engine::new(&echo(3)), commands, 7, &mut leave);
    let mut answers = served.answers();
    let left = answers.remove(&1).unwrap();
    assert!(left.finished.is_none() && left.error.is_none());
    // A step says as much as was guessed of it, and one token more.
    let step = 15 + 1;
    assert!(
        (3..3 + step).contains(&texts),
        "{texts}: it stops within one step"
    );
    let whole = &prompts()[1];
    assert!(whole.starts_with(&left.text) && left.text.len() < whole.len());
    for (id, answer) in answers {
        assert_eq!(answer.text, prompts()[usize::try_from(id).unwrap()]);
    }
}

#[test]
fn a_job_cancelled_while_it_waits_never_starts() {
    let submit = |id| Command::Submit(id, Job::Generate(job("abc")));
    let commands = vec![submit(0), submit(1), Command::Cancel(1), submit(2)];
    let served = serve_while(
        &mut fake::Engine::new(&echo(1)),
        commands,
        2,
        &mut |_, _| None,
    );
    let computed: u32 = served.steps.iter().map(|step| step.prompt_tokens).sum();
    // The second prompt is reused but for its last token.
    assert_eq!(computed, 4 + 1);
    let answers = served.answers();
    assert_eq!(answers[&1].text, "");
    assert_eq!(
        (answers[&0].text.as_str(), answers[&2].text.as_str()),
        ("abc", "abc")
    );
}

#[test]
fn a_known_prefix_is_reused_and_changes_nothing() {
    let prompts = prompts();
    let longer = format!("{}, {}", prompts[1], prompts[2]);
    let mut engine = fake::Engine::new(&echo(2));
    serve(&mut engine, vec![job(&prompts[1]), job(&prompts[2])]);
    // The loop above ended with its caches; a new one starts without them.
    let commands = vec![Command::Submit(0, Job::Generate(job(&prompts[1])))];
    let mut follow = |id, event: &inference::Event| {
        let finished = matches!(event, inference::Event::Generate(Event::Finished(_)));
        let next = Job::Generate(job(&longer));
        (id == 0 && finished).then_some(Command::Submit(1, next))
    };
    let answers = serve_while(&mut engine, commands, 2, &mut follow).answers();
    assert_eq!(answers[&1].text, longer);
    let usage = |id| answers[&id].finished.as_ref().unwrap().usage;
    assert_eq!(usage(0).cached_tokens, 0);
    // All of the first prompt; the answer repeats it, so nothing of that follows.
    assert_eq!(usage(1).cached_tokens, usage(0).prompt_tokens);
}

/// Runs jobs on an engine whose every token follows from all that its cache holds.
fn walk(cells: u32, policy: Policy, jobs: Vec<Generate>) -> (Vec<Step>, Vec<Answer>) {
    let mut engine = fake::Engine::new(&echo(3));
    engine.walks = true;
    engine.cells = cells;
    let (sender, receiver) = sync_channel(COMMANDS);
    let left = jobs.len();
    for (id, job) in (0..).zip(jobs) {
        sender
            .send(Command::Submit(id, Job::Generate(job)))
            .unwrap();
    }
    let mut recorder = Recorder {
        events: Vec::new(),
        steps: Vec::new(),
        left,
        commands: sender,
        react: &mut |_, _| None,
    };
    run(&mut engine, policy, &Inbox::new(receiver), &mut recorder);
    let Recorder { events, steps, .. } = recorder;
    let answers = Served {
        events,
        steps: Vec::new(),
    };
    (steps, answers.answers().into_values().collect())
}

fn walks() -> Vec<Generate> {
    let walk = |prompt: &String| Generate {
        max_tokens: Some(90),
        logprobs: Some(1),
        ..job(prompt)
    };
    prompts().iter().map(walk).collect()
}

/// In company, with shared beginnings, guesses, and too few cells for all.
#[test]
fn every_way_of_computing_says_the_same() {
    let plain = Policy {
        guesses: Guesses::Never,
        ..Policy::default()
    };
    let alone: Vec<Answer> = walks()
        .into_iter()
        .map(|job| walk(0, plain, vec![job]).1.remove(0))
        .collect();
    let guessing = Policy {
        guesses: Guesses::Always,
        ..plain
    };
    for (cells, policy) in [(0, plain), (0, guessing), (4096, guessing)] {
        let (steps, answers) = walk(cells, policy, walks());
        for (answer, alone) in answers.iter().zip(&alone) {
            assert_eq!(answer.text, alone.text);
            assert_eq!(answer.logprobs, alone.logprobs);
            let [one, other] = [answer, alone].map(|answer| answer.finished.as_ref().unwrap());
            assert_eq!(one.usage.generated_tokens, 90);
            assert_eq!((one.reason, &one.context), (other.reason, &other.context));
        }
        let guessed: u32 = steps.iter().map(|step| step.guessed_tokens).sum();
        let right: u32 = steps.iter().map(|step| step.right_tokens).sum();
        let guesses = policy.guesses == Guesses::Always;
        assert_eq!(guessed > 0, guesses);
        assert!(right <= guessed && (right > 0) == guesses);
        let generated: u32 = steps.iter().map(|step| step.generated_tokens).sum();
        assert_eq!(generated, 8 * 90);
    }
}

#[test]
fn nothing_is_said_after_a_stop_string_inside_a_guess() {
    let stop = |guesses| {
        let policy = Policy {
            guesses,
            ..Policy::default()
        };
        let job = Generate {
            stop: vec!["eab".into()],
            max_tokens: Some(200),
            ..job("abcdeabcdeabcde")
        };
        let answer = walk(0, policy, vec![job]).1.remove(0);
        (answer.text, answer.finished.unwrap().context)
    };
    assert_eq!(stop(Guesses::Always), stop(Guesses::Never));
}

#[test]
fn a_cache_that_nobody_uses_is_given_back() {
    let policy = Policy {
        cache_idle: Duration::ZERO,
        ..Policy::default()
    };
    let (sender, receiver) = sync_channel(COMMANDS);
    let submit = |id| Command::Submit(id, Job::Generate(job("abcd")));
    sender.send(submit(0)).unwrap();
    let mut again = |_: JobId, _: &inference::Event| None;
    let mut released = ReleaseWatch {
        recorder: Recorder {
            events: Vec::new(),
            steps: Vec::new(),
            left: 2,
            commands: sender,
            react: &mut again,
        },
        next: Some(submit(1)),
    };
    let mut engine = fake::Engine::new(&echo(1));
    run(&mut engine, policy, &Inbox::new(receiver), &mut released);
    let Recorder { events, steps, .. } = released.recorder;
    let answers = Served { events, steps }.answers();
    let usage = |id| answers[&id].finished.as_ref().unwrap().usage;
    assert_eq!((usage(0).cached_tokens, usage(1).cached_tokens), (0, 0));
    assert_eq!(answers[&1].text, "abcd");
}

/// Sends its command when the caches are told to be empty.
struct ReleaseWatch<'a> {
    recorder: Recorder<'a>,
    next: Option<Command>,
}

impl Outbox for ReleaseWatch<'_> {
    fn push(&mut self, job: JobId, event: inference::Event) {
        self.recorder.push(job, event);
    }

    fn step(&mut self, step: Step) -> Result<(), Closed> {
        let is_idle = step.running == 0 && step.waiting == 0 && step.jobs == 0;
        let used = self
            .recorder
            .steps
            .iter()
            .any(|step| step.cached_tokens > 0);
        if is_idle
            && used
            && step.cached_tokens == 0
            && let Some(next) = self.next.take()
        {
            self.recorder.commands.send(next).unwrap();
        }
        self.recorder.step(step)
    }
}

#[test]
fn a_cache_that_cannot_be_cut_is_computed_again() {
    let mut engine = fake::Engine::new(&echo(1));
    engine.recurrent = true;
    let answers = serve(&mut engine, vec![job("abcd"), job("abce")]).answers();
    assert_eq!(
        (answers[&0].text.as_str(), answers[&1].text.as_str()),
        ("abcd", "abce")
    );
    assert_eq!(
        answers[&1].finished.as_ref().unwrap().usage.cached_tokens,
        0
    );
}

#[test]
fn a_stop_string_ends_the_answer_and_does_not_show() {
    let stop = vec!["o th".into()];
    let answer = alone(
        &script("one two three four"),
        Generate {
            stop,
            logprobs: Some(2),
            ..job("x")
        },
    );
    assert_eq!(answer.text, "one tw");
    let finished = answer.finished.unwrap();
    assert_eq!(
        (finished.reason, finished.usage.generated_tokens),
        (Finish::Stop, 3)
    );
    assert_eq!(finished.stop.as_deref(), Some("o th"));
    // " two" began before the stop string, " three" within it.
    assert_eq!(answer.logprobs.len(), 2);
    assert_eq!(finished.context.len(), 1 + 2);
    assert!(answer.logprobs.iter().all(|logprob| logprob.top.len() == 2));
    assert_eq!(answer.logprobs[1].chosen.bytes, b" two");
}

#[test]
fn what_might_have_become_a_stop_string_comes_at_the_end() {
    let answer = alone(
        &script("one two"),
        Generate {
            stop: vec!["two!".into()],
            ..job("x")
        },
    );
    assert_eq!(answer.text, "one two");
}

#[test]
fn there_are_no_more_pieces_than_tokens() {
    let limited = Generate {
        stop: vec!["woo".into()],
        max_tokens: Some(2),
        ..job("x")
    };
    let served = serve(&mut fake::Engine::new(&script("one two")), vec![limited]);
    let pieces: Vec<String> = (served.events.into_iter())
        .filter_map(|(_, event)| match event {
            inference::Event::Generate(Event::Text(text)) => Some(text.text),
            _ => None,
        })
        .collect();
    // "wo" waits for what comes next, which is the end.
    assert_eq!(pieces, ["one", " two"]);
}

#[test]
fn the_number_of_tokens_can_be_limited() {
    let check = |max_tokens, text: &str, generated, reason| {
        let limited = Generate {
            max_tokens,
            logprobs: Some(0),
            ..job("x")
        };
        let answer = alone(&script("one two"), limited);
        assert_eq!(answer.text, text);
        let finished = answer.finished.unwrap();
        assert_eq!(
            (finished.usage.generated_tokens, finished.reason),
            (generated, reason)
        );
        assert!(finished.usage.prefill_ns > 0);
        assert_eq!(finished.usage.decode_ns > 0, generated > 0);
        assert_eq!(answer.logprobs.len(), text.split_whitespace().count());
    };
    check(Some(0), "", 0, Finish::Length);
    check(Some(1), "one", 1, Finish::Length);
    check(Some(2), "one two", 2, Finish::Length);
    check(Some(3), "one two", 3, Finish::Stop);
    check(None, "one two", 3, Finish::Stop);
}

#[test]
fn an_answer_without_a_limit_ends_after_ten_contexts() {
    let spec = Spec {
        context: 16,
        ..script(&"word ".repeat(500))
    };
    for max_tokens in [None, Some(400)] {
        let finished = alone(
            &spec,
            Generate {
                max_tokens,
                ..job("x")
            },
        )
        .finished
        .unwrap();
        assert_eq!(finished.usage.generated_tokens, 160);
        assert_eq!(finished.reason, Finish::Length);
    }
}

#[test]
fn a_full_context_shifts_or_ends_the_answer() {
    let words = (0..60)
        .map(|i| format!("w{i}"))
        .collect::<Vec<_>>()
        .join(" ");
    let spec = Spec {
        context: 16,
        ..script(&words)
    };
    let shifted = alone(&spec, job("12345"));
    assert_eq!(shifted.text, words);
    assert_eq!(shifted.finished.unwrap().reason, Finish::Stop);

    let overflow = Overflow {
        shift: false,
        ..job("").overflow
    };
    let ended = alone(
        &spec,
        Generate {
            overflow,
            ..job("12345")
        },
    )
    .finished
    .unwrap();
    // 6 of the prompt and 10 computed; the last one sampled needs no room.
    assert_eq!(
        (ended.usage.generated_tokens, ended.reason),
        (11, Finish::Length)
    );

    let mut engine = fake::Engine::new(&spec);
    engine.recurrent = true;
    let answers = serve(&mut engine, vec![job("12345")]).answers();
    let ended = answers[&0].finished.clone().unwrap();
    assert_eq!(
        (ended.usage.generated_tokens, ended.reason),
        (11, Finish::Length)
    );
}

#[test]
fn a_prompt_that_is_cut_says_so() {
    let spec = Spec {
        context: 16,
        ..echo(1)
    };
    let answer = alone(
        &spec,
        Generate {
            max_tokens: Some(20),
            ..job("abcdefghijklmnopqrstuvwxyz")
        },
    );
    assert_eq!(
        answer.admitted,
        Some(Admitted {
            prompt_tokens: 11,
            truncated_tokens: 16
        })
    );
    assert_eq!(answer.text, "abcduvwxyz");

    let overflow = Overflow {
        truncate: false,
        ..job("").overflow
    };
    let refused = alone(
        &spec,
        Generate {
            overflow,
            ..job("abcdefghijklmnopqrstuvwxyz")
        },
    );
    assert_eq!(
        refused.error,
        Some(Error::PromptTooLong {
            tokens: 27,
            limit: 15
        })
    );
    assert_eq!(refused.admitted, None);
}

#[test]
fn a_failed_step_fails_the_jobs_in_it_and_no_others() {
    let spec = Spec {
        fault: Some(Fault::FailStep(3)),
        ..echo(2)
    };
    let answers = serve(
        &mut fake::Engine::new(&spec),
        vec![job("abcd"), job("efgh"), job("abcd")],
    );
    let answers = answers.answers();
    for id in [0, 1] {
        assert_eq!(
            answers[&id].error,
            Some(Error::Engine("a scripted failure".into()))
        );
        assert_eq!(answers[&id].text.len(), 2);
    }
    assert_eq!(answers[&2].text, "abcd");
    // The cache of a failed step is not trusted.
    assert_eq!(
        answers[&2].finished.as_ref().unwrap().usage.cached_tokens,
        0
    );
}

#[test]
fn a_failed_sample_fails_its_job_and_no_other() {
    let spec = Spec {
        fault: Some(Fault::FailSample(2)),
        ..echo(2)
    };
    let jobs = vec![job("abcd"), job("efgh"), job("abcd")];
    let answers = serve(&mut fake::Engine::new(&spec), jobs).answers();
    let numbers = Error::Engine("a scripted absence of numbers".into());
    assert_eq!(answers[&0].error, Some(numbers));
    assert_eq!(answers[&0].text, "a");
    assert_eq!(answers[&1].text, "efgh");
    assert_eq!(answers[&2].text, "abcd");
    // What a sequence without numbers left in the cache is not trusted; the other job's first token is.
    let usage = answers[&2].finished.as_ref().unwrap().usage;
    assert_eq!(usage.cached_tokens, 1);
}

fn constrained(prompt: &str, grammar: Grammar) -> Generate {
    Generate {
        constraint: Some(Box::new(Constraint::Whole {
            grammar,
            preface: None,
        })),
        ..job(prompt)
    }
}

fn sentence(text: &str) -> Grammar {
    Grammar::Text(text.into())
}

#[test]
fn a_constraint_shapes_the_answer_and_ends_it() {
    let shaped = alone(&echo(1), constrained("yes or no", sentence("yes!")));
    assert_eq!(shaped.text, "yes!");
    let finished = shaped.finished.unwrap();
    assert_eq!(finished.reason, Finish::Stop);
    // Nothing is sampled after the last token that the grammar has.
    assert_eq!(finished.usage.generated_tokens, 4);
}

#[test]
fn a_stop_string_does_not_cut_what_has_a_shape() {
    let cut = Generate {
        stop: vec!["}".into()],
        ..constrained("{", Grammar::Json)
    };
    assert_eq!(alone(&echo(1), cut).text, "{}");
}

#[test]
fn a_constrained_answer_may_be_cut_by_its_length_only() {
    let short = Generate {
        max_tokens: Some(2),
        ..constrained("x", sentence("long"))
    };
    let answer = alone(&echo(1), short);
    assert_eq!(answer.text, "lo");
    assert_eq!(answer.finished.unwrap().reason, Finish::Length);
}

#[test]
fn a_preface_is_free_and_the_grammar_binds_after_it() {
    let thoughtful = Generate {
        constraint: Some(Box::new(Constraint::Whole {
            grammar: sentence("{}"),
            preface: Some(Preface {
                open: None,
                close: " done".into(),
            }),
        })),
        ..job("?")
    };
    let answer = alone(&script("first I think then done nonsense"), thoughtful);
    assert_eq!(answer.text, "first I think then done{}");
}

#[test]
fn a_grammar_that_cannot_be_followed_is_refused_before_the_job_is_admitted() {
    let refused = alone(&echo(1), constrained("a", Grammar::Regex("(".into())));
    assert_eq!(refused.admitted, None);
    assert!(matches!(refused.error, Some(Error::InvalidJob(_))));
}

#[test]
fn a_grammar_that_nobody_demanded_does_not_cost_the_answer() {
    let opening = Opening {
        mark: "<call>".into(),
        grammar: Grammar::Regex("(".into()),
        close: None,
        is_last: false,
    };
    let offered = Generate {
        constraint: Some(Box::new(Constraint::Calls(Calls {
            before: String::new(),
            thoughts: None,
            openings: vec![opening],
        }))),
        stop: vec!["c".into()],
        ..job("abcd")
    };
    // Its stop strings hold: what has no shape can be cut.
    assert_eq!(alone(&echo(1), offered).text, "ab");
}

#[test]
fn constrained_jobs_share_the_engine_with_others_and_reuse_prefixes() {
    let prompt = "a prompt that several jobs begin with";
    let free = job(prompt);
    let shaped = constrained(
        prompt,
        Grammar::Choice(vec![sentence("one"), sentence("two")]),
    );
    let jobs = vec![free.clone(), shaped.clone(), free, shaped];
    let answers = serve(&mut fake::Engine::new(&echo(2)), jobs).answers();
    let texts: Vec<&str> = answers
        .values()
        .map(|answer| answer.text.as_str())
        .collect();
    assert_eq!(texts, [prompt, "one", prompt, "one"]);
    let cached = answers[&3].finished.as_ref().unwrap().usage.cached_tokens;
    assert_eq!(cached as usize, prompt.len());
}

#[test]
fn a_caller_that_leaves_while_its_grammar_compiles_hears_no_more() {
    let submit = |id, job| Command::Submit(id, Job::Generate(job));
    let commands = vec![
        submit(0, constrained("a", sentence("never"))),
        Command::Cancel(0),
        submit(1, constrained("b", sentence("this"))),
    ];
    let served = serve_while(
        &mut fake::Engine::new(&echo(1)),
        commands,
        1,
        &mut |_, _| None,
    );
    let answers = served.answers();
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&1]);
    assert_eq!(answers[&1].text, "this");
}

#[test]
fn biases_without_meaning_are_refused() {
    let refused = |bias: Vec<(Token, f32)>| {
        let biased = Generate {
            logit_bias: bias,
            ..job("a")
        };
        matches!(alone(&echo(1), biased).error, Some(Error::InvalidJob(_)))
    };
    assert!(!refused(vec![(3, 1.0), (4, f32::NEG_INFINITY)]));
    assert!(refused(vec![(3, f32::NAN)]));
    assert!(refused(vec![(3, f32::INFINITY)]));
    assert!(refused(vec![(-1, 1.0)]));
    assert!(refused(vec![(1 << 20, 1.0)]));
    assert!(refused(vec![(3, 1.0); 1025]));
}

#[test]
fn a_panic_of_the_engine_is_not_swallowed() {
    let spec = Spec {
        fault: Some(Fault::PanicStep(2)),
        ..echo(1)
    };
    let mut engine = fake::Engine::new(&spec);
    let panicked = catch_unwind(AssertUnwindSafe(|| serve(&mut engine, vec![job("abc")])));
    assert!(panicked.is_err());
}

#[test]
fn jobs_beyond_the_bound_are_refused_at_once() {
    let jobs = WAITING_JOBS + 3;
    let served = serve(&mut fake::Engine::new(&echo(2)), vec![job("a"); jobs]);
    let answers = served.answers();
    let (done, busy): (Vec<&Answer>, Vec<&Answer>) = answers
        .values()
        .partition(|answer| answer.finished.is_some());
    assert_eq!((done.len(), busy.len()), (WAITING_JOBS, 3));
    assert!(busy.iter().all(|answer| answer.error == Some(Error::Busy)));
}

#[test]
fn admission_does_not_wait_for_a_slot() {
    let served = serve(
        &mut fake::Engine::new(&echo(1)),
        vec![job("abc"), job("def")],
    );
    let admitted = served
        .events
        .iter()
        .take_while(|(_, event)| matches!(event, inference::Event::Generate(Event::Admitted(_))));
    assert_eq!(admitted.count(), 2);
    assert_eq!(
        served.steps[0],
        Step {
            running: 1,
            waiting: 1,
            ..Step::default()
        }
    );
}

#[test]
fn other_jobs_are_answered_between_steps() {
    let overflow = encode::Overflow {
        too_long: encode::TooLong::Cut(None),
        max_tokens: None,
    };
    let tokenize = Job::Tokenize {
        text: "a<|end|>".into(),
        add_special: true,
        parse_special: true,
    };
    let embed = Embed {
        inputs: vec![encode::Input::Text("a".into())],
        prompt: encode::Prompt::Default,
        overflow,
        dimensions: None,
        normalize: true,
    };
    let classify = Classify {
        inputs: vec![encode::Input::Text("a".into())],
        head: None,
        overflow,
        top_k: None,
        threshold: None,
        scale: encode::Scale::Model,
    };
    let a = 2 + Token::from(b'a');
    let commands = vec![
        Command::Submit(0, Job::Generate(job("abc"))),
        Command::Submit(1, tokenize),
        Command::Submit(
            2,
            Job::Detokenize {
                tokens: vec![0, a, a, 1],
            },
        ),
        Command::Submit(3, Job::Detokenize { tokens: vec![-1] }),
        Command::Submit(4, Job::Encode(embed.into())),
        Command::Submit(5, Job::Encode(classify.into())),
    ];
    let served = serve_while(
        &mut fake::Engine::new(&echo(1)),
        commands,
        6,
        &mut |_, _| None,
    );
    let event = |id| &served.events.iter().find(|(job, _)| *job == id).unwrap().1;
    let refused = |what: &str| {
        let error = Error::Unsupported(format!("this model does not support {what}"));
        inference::Event::Encode(encode::Event::Failed(error))
    };
    assert_eq!(event(1), &inference::Event::Tokenized(Ok(vec![0, a, 1])));
    assert_eq!(event(2), &inference::Event::Detokenized(Ok("aa".into())));
    let unknown = "-1 is not one of the 258 tokens of this model";
    assert_eq!(
        event(3),
        &inference::Event::Detokenized(Err(Error::InvalidJob(unknown.into())))
    );
    assert_eq!(event(4), &refused("embeddings"));
    assert_eq!(event(5), &refused("classify"));
}

#[test]
fn the_loop_ends_with_its_inbox() {
    let (sender, receiver) = sync_channel(1);
    drop(sender);
    let (commands, _unused) = sync_channel(1);
    let mut react = |_: JobId, _: &inference::Event| None;
    let mut recorder = Recorder {
        events: Vec::new(),
        steps: Vec::new(),
        left: 1,
        commands,
        react: &mut react,
    };
    run(
        &mut fake::Engine::new(&echo(1)),
        Policy::default(),
        &Inbox::new(receiver),
        &mut recorder,
    );
    assert!(recorder.events.is_empty());
}

/// A job that shows an image, which is three tokens to the fake.
fn about(image: &[u8]) -> Generate {
    let pieces = vec![
        Piece::Text("look ".into()),
        Piece::Image(image.to_vec()),
        Piece::Text("what?".into()),
    ];
    Generate {
        prompt: pieces,
        ..job("")
    }
}

#[test]
fn others_go_on_while_an_image_is_encoded() {
    let mut engine = fake::Engine::new(&script("one two three"));
    engine.slow_images = 12;
    let served = serve(&mut engine, vec![about(&[7; 3]), job("count")]);
    let finished = |id: JobId| {
        let event = |(job, event): &(JobId, inference::Event)| {
            *job == id && matches!(event, inference::Event::Generate(Event::Finished(_)))
        };
        served.events.iter().position(event).unwrap()
    };
    assert!(finished(1) < finished(0), "the other job did not wait");
    assert_eq!(engine.slow_images, 0);
    for answer in served.answers().into_values() {
        assert_eq!(answer.text, "one two three");
    }
}

#[test]
fn a_job_whose_image_takes_long_can_leave() {
    let one_slot = Spec {
        slots: 1,
        ..script("one two three")
    };
    let mut engine = fake::Engine::new(&one_slot);
    engine.slow_images = u32::MAX;
    let jobs = (0..).zip([about(&[7; 3]), job("count")]);
    let commands = jobs.map(|(id, job)| Command::Submit(id, Job::Generate(job)));
    let served = serve_while(&mut engine, commands.collect(), 1, &mut |id, event| {
        let admitted = matches!(event, inference::Event::Generate(Event::Admitted(_)));
        (id == 0 && admitted).then_some(Command::Cancel(0))
    });
    let answers = served.answers();
    assert_eq!(answers[&1].text, "one two three");
    assert!(answers[&0].finished.is_none());
}

#[test]
fn what_is_no_image_is_refused_before_the_job_is_admitted() {
    let mut engine = fake::Engine::new(&script("one two three"));
    let mut two = about(&[7; 3]);
    two.prompt.insert(0, Piece::Image(Vec::new()));
    let answers = serve(&mut engine, vec![two, about(&[8; 3])]).answers();
    assert!(matches!(answers[&0].error, Some(Error::InvalidJob(_))));
    assert!(answers[&0].admitted.is_none());
    // The beginning, five bytes, the image, five bytes.
    assert_eq!(answers[&1].admitted.unwrap().prompt_tokens, 14);
}

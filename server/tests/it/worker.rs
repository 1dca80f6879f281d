//! Worker processes, with the scripted engine: frames, routing, death, hang, garbage.

use std::time::{Duration, Instant};

use chaski::engine::Spec;
use chaski::engine::fake::{Fault, Spec as Script};
use chaski::inference::Error;
use chaski::inference::encode::{Embed, Input, Overflow as EncodeOverflow, Prompt, TooLong};
use chaski::inference::generate::{Event, Finish, Generate, Overflow, Piece, Sampling};
use chaski::sandbox::Mode;
use chaski::worker::{Confinement, Generation, Settings, Worker, try_sandbox};

use crate::support;

#[tokio::test]
async fn a_worker_answers_with_its_script() {
    let worker = start(script("the quick brown fox")).await.unwrap();
    let (text, end) = collect(worker.generate(job("hello")).await.unwrap().1).await;
    assert_eq!(text, "the quick brown fox");
    let Event::Finished(finished) = end else {
        panic!("{end:?}")
    };
    assert_eq!(finished.reason, Finish::Stop);
    assert!(finished.usage.prompt_tokens > 0 && finished.usage.generated_tokens >= 4);
}

#[tokio::test]
async fn many_streams_share_a_worker_and_none_sees_anothers_text() {
    // An echoing engine: what comes back must be what was sent.
    let worker = start(Script {
        slots: 3,
        ..Script::default()
    })
    .await
    .unwrap();
    let tasks = (0..24).map(|number| {
        let worker = worker.clone();
        async move {
            let prompt = format!("canary number {number} of its own");
            let (text, _) = collect(worker.generate(job(&prompt)).await.unwrap().1).await;
            assert_eq!(text, prompt);
        }
    });
    futures::future::join_all(tasks).await;
    assert_eq!(worker.jobs(), 0);
}

#[tokio::test]
async fn dropping_a_generation_frees_its_slot() {
    let endless = Script {
        words: vec!["on".into(); 4000],
        step_us: 1000,
        ..Script::default()
    };
    let worker = start(endless).await.unwrap();
    let (_, mut first) = worker.generate(job("first")).await.unwrap();
    assert!(matches!(first.next().await, Some(Event::Text(_))));
    drop(first);
    assert_eq!(worker.jobs(), 0);
    // The only slot: a second job gets words only if the first one has left it.
    let (_, mut second) = worker.generate(job("second")).await.unwrap();
    let began = Instant::now();
    assert!(matches!(second.next().await, Some(Event::Text(_))));
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn the_limit_of_jobs_is_a_refusal_at_once() {
    let endless = Script {
        words: vec!["on".into(); 4000],
        step_us: 1000,
        ..Script::default()
    };
    let settings = Settings {
        max_waiting: 1,
        ..settings()
    };
    let worker = Worker::start(Spec::Fake(endless), settings).await.unwrap();
    let held = [
        worker.generate(job("a")).await.unwrap(),
        worker.generate(job("b")).await.unwrap(),
    ];
    assert_eq!(worker.generate(job("c")).await.unwrap_err(), Error::Busy);
    drop(held);
    worker.generate(job("d")).await.unwrap();
}

#[tokio::test]
async fn killing_a_worker_ends_its_streams_with_one_error_each_within_a_second() {
    let endless = Script {
        words: vec!["on".into(); 4000],
        step_us: 1000,
        slots: 8,
        ..Script::default()
    };
    let worker = start(endless).await.unwrap();
    let mut streams = Vec::new();
    for number in 0..8 {
        streams.push(
            worker
                .generate(job(&format!("stream {number}")))
                .await
                .unwrap()
                .1,
        );
    }
    for stream in &mut streams {
        assert!(matches!(stream.next().await, Some(Event::Text(_))));
    }
    let killed = Instant::now();
    support::kill(worker.process_id());
    for stream in streams {
        let (_, end) = collect(stream).await;
        assert_eq!(end, Event::Failed(Error::WorkerLost));
    }
    assert!(
        killed.elapsed() < Duration::from_secs(1),
        "{:?}",
        killed.elapsed()
    );
    worker.lost().await;
    assert_eq!(
        worker.generate(job("late")).await.unwrap_err(),
        Error::WorkerLost
    );
}

#[tokio::test]
async fn faults_in_a_step_cost_the_jobs_on_that_worker_and_nothing_else() {
    for fault in [
        Fault::AbortStep(3),
        Fault::PanicStep(3),
        Fault::GarbageStep(3),
        Fault::HangStep(3),
    ] {
        let worker = start(Script {
            fault: Some(fault),
            ..script("one two three four five six")
        })
        .await
        .unwrap();
        let bystander = start(script("still here")).await.unwrap();
        let began = Instant::now();
        let (_, stream) = worker.generate(job("hello")).await.unwrap();
        let (_, end) = collect(stream).await;
        assert_eq!(end, Event::Failed(Error::WorkerLost), "{fault:?}");
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{fault:?}: {:?}",
            began.elapsed()
        );
        worker.lost().await;
        let (text, _) = collect(bystander.generate(job("hello")).await.unwrap().1).await;
        assert_eq!(text, "still here");
    }
}

#[tokio::test]
async fn an_engine_error_fails_the_job_and_the_worker_lives_on() {
    let worker = start(Script {
        fault: Some(Fault::FailStep(2)),
        ..script("one two three")
    })
    .await
    .unwrap();
    let (_, stream) = worker.generate(job("hello")).await.unwrap();
    let (_, end) = collect(stream).await;
    assert!(matches!(end, Event::Failed(Error::Engine(_))), "{end:?}");
    let (text, _) = collect(worker.generate(job("again")).await.unwrap().1).await;
    assert_eq!(text, "one two three");
}

#[tokio::test]
async fn a_load_that_fails_or_dies_says_so() {
    let failed = start(Script {
        fault: Some(Fault::FailLoad),
        ..Script::default()
    })
    .await
    .unwrap_err();
    assert!(matches!(failed, Error::LoadFailed(_)), "{failed:?}");
    let died = start(Script {
        fault: Some(Fault::AbortLoad),
        ..Script::default()
    })
    .await
    .unwrap_err();
    let Error::LoadDied(reason) = died else {
        panic!("{died:?}")
    };
    assert!(reason.contains("signal"), "{reason}");
}

#[tokio::test]
async fn a_load_that_takes_too_long_is_given_up() {
    let settings = Settings {
        load_timeout: Duration::from_millis(100),
        ..settings()
    };
    let slow = Script {
        load_us: 60_000_000,
        ..Script::default()
    };
    let error = Worker::start(Spec::Fake(slow), settings).await.unwrap_err();
    assert!(matches!(error, Error::LoadFailed(_)), "{error:?}");
}

#[tokio::test]
async fn a_stopped_process_is_noticed() {
    let worker = start(script("one")).await.unwrap();
    support::signal(worker.process_id(), "STOP");
    let (_, stream) = tokio::join!(worker.lost(), async { worker.generate(job("hello")).await });
    assert_eq!(stream.unwrap_err(), Error::WorkerLost);
}

#[tokio::test]
async fn a_worker_ends_with_its_last_handle() {
    let worker = start(script("one")).await.unwrap();
    let process = worker.process_id();
    assert!(support::is_alive(process));
    drop(worker);
    support::eventually("the worker process ends", || !support::is_alive(process)).await;
}

#[tokio::test]
async fn a_job_of_the_wrong_kind_is_refused() {
    let worker = start(script("one")).await.unwrap();
    let overflow = EncodeOverflow {
        too_long: TooLong::Cut(None),
        max_tokens: None,
    };
    let job = Embed {
        inputs: vec![Input::Text("x".into())],
        prompt: Prompt::Default,
        overflow,
        dimensions: None,
        normalize: true,
    };
    assert!(matches!(
        worker.encode(job).await.unwrap_err(),
        Error::Unsupported(_)
    ));
}

#[tokio::test]
async fn tokens_go_there_and_back() {
    let worker = start(Script::default()).await.unwrap();
    let tokens = worker
        .tokenize("to and fro".into(), false, false)
        .await
        .unwrap();
    assert_eq!(worker.detokenize(tokens).await.unwrap(), "to and fro");
}

#[tokio::test]
async fn a_worker_inherits_neither_environment_nor_descriptors() {
    let worker = start(script("one")).await.unwrap();
    let process = procfs::process::Process::new(worker.process_id().try_into().unwrap()).unwrap();
    let environment: Vec<_> = process.environ().unwrap().into_keys().collect();
    assert_eq!(environment, ["GGML_NO_BACKTRACE"]);
    for descriptor in process.fd().unwrap() {
        let descriptor = descriptor.unwrap();
        let target = format!("{:?}", descriptor.target);
        // Standard input is the socket, output and error lead to the log, and the engine's clones of the socket follow.
        assert!(
            descriptor.fd <= 2 || target.starts_with("Socket"),
            "{} -> {target}",
            descriptor.fd
        );
    }
}

fn script(words: &str) -> Script {
    Script {
        words: words.split(' ').map(str::to_owned).collect(),
        ..Script::default()
    }
}

fn settings() -> Settings {
    support::use_built_executable();
    Settings {
        ping_every: Duration::from_millis(50),
        pong_timeout: Duration::from_millis(1500),
        progress_timeout: Duration::from_millis(1500),
        ..Settings::new("fake")
    }
}

async fn start(script: Script) -> Result<Worker, Error> {
    Worker::start(Spec::Fake(script), settings()).await
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

/// All text of a generation, and its last event.
async fn collect(mut generation: Generation) -> (String, Event) {
    let mut text = String::new();
    loop {
        match generation
            .next()
            .await
            .expect("a generation ends with an event")
        {
            Event::Text(piece) => text.push_str(&piece.text),
            Event::Admitted(_) => panic!("admitted twice"),
            end => {
                assert_eq!(generation.next().await, None);
                return (text, end);
            }
        }
    }
}

/// What a worker says of its attempts to reach beyond its model.
async fn trespass(mode: Mode) -> Result<Worker, Error> {
    support::use_built_executable();
    let script = Script {
        fault: Some(Fault::Trespass),
        ..script("still at work")
    };
    let settings = Settings {
        confinement: Confinement { mode, memory: None },
        ..settings()
    };
    Worker::start(Spec::Fake(script), settings).await
}

#[tokio::test]
async fn a_worker_reaches_nothing_but_its_model_and_still_works() {
    let enforced = try_sandbox(Mode::BestEffort).await.unwrap();
    if !enforced.is_whole() {
        eprintln!("skipped: this kernel does not give the whole sandbox: {enforced:?}");
        // The truth is told: whoever requires more gets nothing.
        let refusal = trespass(Mode::Required).await.unwrap_err().to_string();
        assert!(refusal.contains("the sandbox is required"), "{refusal}");
        return;
    }
    let worker = trespass(Mode::Required).await.unwrap();
    let attempts = &worker.facts().description;
    let outcomes: Vec<&str> = attempts.split(", ").collect();
    assert_eq!(outcomes.len(), 10);
    for outcome in outcomes {
        assert!(outcome.ends_with(" refused"), "{attempts}");
    }
    let (text, _) = collect(worker.generate(job("hello")).await.unwrap().1).await;
    assert_eq!(text, "still at work");
}

#[tokio::test]
async fn without_the_sandbox_the_same_attempts_succeed() {
    let worker = trespass(Mode::Off).await.unwrap();
    let attempts = &worker.facts().description;
    for what in [
        "read", "list", "create", "connect", "listen", "pair", "execute", "spy", "signal", "limit",
    ] {
        assert!(attempts.contains(&format!("{what} allowed")), "{attempts}");
    }
}

#[tokio::test]
async fn a_worker_cannot_take_more_memory_than_it_was_given() {
    support::use_built_executable();
    let script = Script {
        context: 1 << 20,
        fault: Some(Fault::TakeMemory),
        ..script("too much")
    };
    let settings = Settings {
        confinement: Confinement {
            mode: Mode::BestEffort,
            memory: Some(256 << 20),
        },
        ..settings()
    };
    let error = Worker::start(Spec::Fake(script), settings)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::LoadDied(_)), "{error}");
}

#[tokio::test]
async fn a_worker_that_floods_its_output_holds_nobody_up() {
    support::use_built_executable();
    let script = Script {
        fault: Some(Fault::Flood),
        ..script("said at last")
    };
    let worker = Worker::start(Spec::Fake(script), settings()).await.unwrap();
    let (text, _) = collect(worker.generate(job("hello")).await.unwrap().1).await;
    assert_eq!(text, "said at last");
}

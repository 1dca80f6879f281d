//! Every metric, with its help text, unit and buckets. A leaf: anyone may record, nothing here knows the rest.
//!
//! `docs/METRICS.md` documents them; a test compares that page and this file with a real scrape. A `model` label is only
//! ever the name of a model that exists, so that callers cannot make up time series.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::inference::Step;
use crate::inference::generate::Usage;
use crate::sandbox::Enforced;
use crate::traces::Trace;

/// Seconds: from well below the fastest answer of a tiny model to the slowest of a large one on a small machine.
const DURATION_BUCKETS: &[f64] = &[
    0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15,
    0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.48, 40.96, 81.92, 163.84, 327.68,
];

/// Seconds between two tokens.
const TOKEN_BUCKETS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,
    0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
];

/// Jobs or tokens of one engine call.
const BATCH_BUCKETS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0,
];

/// Installs the recorder of this process and describes every metric.
///
/// # Errors
/// When a recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), DURATION_BUCKETS)?
        .set_buckets_for_metric(
            Matcher::Full("llm_inter_token_latency_seconds".into()),
            TOKEN_BUCKETS,
        )?
        .set_buckets_for_metric(Matcher::Prefix("llm_batch_".into()), BATCH_BUCKETS)?
        .install_recorder()?;
    describe();
    gauge!("llm_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    // A counter that appears with its first event has not increased for who asks later: it begins at nothing.
    counter!("llm_rejected_total", "reason" => QUEUE_FULL).increment(0);
    Ok(handle)
}

fn describe() {
    let seconds = Unit::Seconds;
    describe_histogram!(
        "http_server_request_duration_seconds",
        seconds,
        "From a request's head to the end of its reply"
    );
    describe_counter!(
        "llm_requests_total",
        "Inference requests that ended, by outcome"
    );
    describe_histogram!(
        "llm_request_duration_seconds",
        seconds,
        "From an inference request's arrival to the end of its answer"
    );
    describe_histogram!(
        "llm_time_to_first_token_seconds",
        seconds,
        "From a request's arrival to the first piece of its answer"
    );
    describe_histogram!(
        "llm_inter_token_latency_seconds",
        seconds,
        "Between two pieces of an answer"
    );
    describe_histogram!(
        "llm_request_load_seconds",
        seconds,
        "From a request's arrival until its model was ready for it"
    );
    describe_histogram!(
        "llm_request_queue_seconds",
        seconds,
        "From a job's arrival at its model to its slot"
    );
    describe_histogram!(
        "llm_request_prefill_seconds",
        seconds,
        "From a job's slot to its first token"
    );
    describe_histogram!(
        "llm_request_decode_seconds",
        seconds,
        "From a job's first token to its last"
    );
    describe_counter!(
        "llm_prompt_tokens_total",
        "Prompt tokens of answered requests, computed or reused"
    );
    describe_counter!(
        "llm_cached_prompt_tokens_total",
        "Prompt tokens whose results were still in the cache"
    );
    describe_counter!(
        "llm_generated_tokens_total",
        "Tokens generated in answered requests"
    );
    describe_counter!(
        "llm_truncated_prompts_total",
        "Requests whose prompt or texts were cut to fit the context"
    );
    describe_counter!(
        "llm_rejected_total",
        "Inference requests refused because of load, by reason"
    );
    describe_gauge!(
        "llm_requests_running",
        "Jobs that hold a slot of their model"
    );
    describe_gauge!(
        "llm_requests_waiting",
        "Jobs that wait for a slot of their model"
    );
    describe_gauge!(
        "llm_requests_waiting_for_room",
        "Requests that wait for a model to find room or to be loaded otherwise"
    );
    describe_gauge!(
        "llm_slots",
        "Jobs of a loaded model that can advance together"
    );
    describe_gauge!("llm_threads", "Threads that compute with a loaded model");
    describe_gauge!(
        "llm_own_kernels",
        "1 where a loaded model's products are computed by Chaski's kernels, 0 where by its engine's"
    );
    describe_gauge!(
        "llm_flash_attention",
        "1 where a loaded model computes with flash attention"
    );
    describe_gauge!(
        "llm_cache_number_bytes",
        "Bytes of a number in the key-value cache of a loaded model, its scale left out"
    );
    describe_counter!(
        "llm_guessed_tokens_total",
        "Tokens that were guessed and verified"
    );
    describe_counter!(
        "llm_right_guesses_total",
        "Those of them that the model itself chose"
    );
    describe_histogram!("llm_batch_size", "Jobs in one engine call");
    describe_histogram!("llm_batch_tokens", "Tokens in one engine call");
    describe_histogram!("llm_step_seconds", seconds, "Time of one engine call");
    describe_gauge!("llm_models_loaded", "Models whose worker is ready");
    describe_histogram!(
        "llm_model_load_seconds",
        seconds,
        "From a worker's start to its readiness"
    );
    describe_gauge!(
        "llm_sandbox_enforced",
        "Whether this part of the sandbox held in the worker that was started last"
    );
    describe_counter!(
        "llm_workers_lost_total",
        "Worker processes that ended, hung or sent garbage while they were needed"
    );
    let bytes = Unit::Bytes;
    describe_gauge!(
        "llm_model_size_bytes",
        bytes,
        "Size of a loaded model's files"
    );
    describe_gauge!(
        "llm_worker_resident_memory_bytes",
        bytes,
        "Resident memory of a model's worker, file pages included"
    );
    describe_gauge!(
        "llm_worker_peak_resident_memory_bytes",
        bytes,
        "Largest resident memory of a model's worker so far"
    );
    describe_gauge!(
        "llm_worker_anonymous_memory_bytes",
        bytes,
        "Resident memory of a model's worker that is not file pages"
    );
    describe_gauge!(
        "llm_worker_proportional_memory_bytes",
        bytes,
        "Memory of a model's worker with shared pages divided (PSS)"
    );
    describe_gauge!(
        "llm_memory_available_bytes",
        bytes,
        "Memory that machine and control groups have left for models"
    );
    describe_gauge!(
        "llm_weights_bytes",
        bytes,
        "Weights of a loaded model, as far as its engine tells"
    );
    describe_gauge!(
        "llm_cache_bytes",
        bytes,
        "Key-value cache of the tokens that a loaded model holds"
    );
    describe_gauge!(
        "llm_cache_reserved_bytes",
        bytes,
        "What the key-value cache of a loaded model may grow to"
    );
    describe_gauge!(
        "llm_compute_bytes",
        bytes,
        "Buffers of a loaded model's computation"
    );
    describe_gauge!(
        "llm_device_memory_bytes",
        bytes,
        "What of a loaded model lies on graphics processors"
    );
    describe_gauge!(
        "llm_memory_ratio",
        "Peak resident memory of server and workers by the size of the loaded models' files"
    );
    describe_gauge!(
        "process_resident_memory_bytes",
        bytes,
        "Resident memory of the server process"
    );
    describe_gauge!(
        "process_peak_resident_memory_bytes",
        bytes,
        "Largest resident memory of the server process so far"
    );
    describe_gauge!(
        "process_proportional_memory_bytes",
        bytes,
        "Memory of the server process with shared pages divided (PSS)"
    );
    describe_gauge!(
        "process_open_fds",
        "Open file descriptors of the server process"
    );
    describe_gauge!(
        "process_max_fds",
        "File descriptors that the server process may open"
    );
    describe_gauge!(
        "process_start_time_seconds",
        seconds,
        "When the server process started, in seconds since 1970"
    );
    describe_gauge!("process_threads", "Threads of the server process");
    describe_gauge!("llm_build_info", "1, labelled with the version");
}

/// Records a finished HTTP exchange. `route` is the pattern of the router, never the path as sent.
pub fn http_request(method: &str, route: &str, status: u16, duration: Duration) {
    histogram!(
        "http_server_request_duration_seconds",
        "method" => method_label(method), "route" => route.to_owned(), "status" => status.to_string()
    )
    .record(duration);
}

/// A method as it is counted. Callers make up any they like, and every label is a series of its own for ever.
fn method_label(method: &str) -> &'static str {
    const KNOWN: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let known = KNOWN.iter().find(|known| **known == method);
    known.copied().unwrap_or("_OTHER")
}

/// The reason of a refusal because too many wait already.
const QUEUE_FULL: &str = "queue_full";

/// Records that a request was refused because too many wait already.
pub fn rejected() {
    counter!("llm_rejected_total", "reason" => QUEUE_FULL).increment(1);
}

/// Records what of the sandbox held in the worker that was started last.
pub fn worker_confined(enforced: Enforced) {
    let parts = [
        ("files", enforced.files),
        ("system_calls", enforced.system_calls),
    ];
    for (part, holds) in parts {
        gauge!("llm_sandbox_enforced", "part" => part).set(f64::from(u8::from(holds)));
    }
}

/// Records that a worker process was lost.
pub fn worker_lost(model: &str) {
    counter!("llm_workers_lost_total", "model" => model.to_owned()).increment(1);
}

/// Records a model that became ready.
pub fn model_loaded(model: &str, duration: Duration) {
    histogram!("llm_model_load_seconds", "model" => model.to_owned()).record(duration);
    // What has not happened yet is seen to happen only if it was none before.
    counter!("llm_workers_lost_total", "model" => model.to_owned()).increment(0);
    counter!("llm_truncated_prompts_total", "model" => model.to_owned()).increment(0);
}

/// How an inference request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Its answer is complete.
    Answered,
    /// It was refused for what it asked.
    Refused,
    /// It was refused because of load.
    Rejected,
    /// It failed.
    Failed,
    /// Its caller left.
    Cancelled,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Answered => "ok",
            Self::Refused => "invalid",
            Self::Rejected => "rejected",
            Self::Failed => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An inference request under way. Dropped without an outcome it counts as cancelled: its caller left.
#[derive(Debug)]
pub struct Request {
    model: String,
    operation: &'static str,
    arrived: Instant,
    last_piece: Option<Instant>,
    inter_token: Histogram,
    outcome: Outcome,
    trace: Trace,
}

impl Request {
    /// A request that arrived now. `operation` is one of `generate`, `chat`, `embed`, `classify`, `rerank`, `tokenize`.
    #[must_use]
    pub fn start(model: &str, operation: &'static str) -> Self {
        // The first failure must be an increase.
        requests(model, operation, Outcome::Failed).increment(0);
        Self {
            model: model.to_owned(),
            operation,
            arrived: Instant::now(),
            last_piece: None,
            inter_token: histogram!(
                "llm_inter_token_latency_seconds", "model" => model.to_owned(), "operation" => operation
            ),
            outcome: Outcome::Cancelled,
            trace: Trace::start(),
        }
    }

    /// One more answer to the same request: it counts as a request that arrived together with it.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            model: self.model.clone(),
            operation: self.operation,
            arrived: self.arrived,
            last_piece: None,
            inter_token: self.inter_token.clone(),
            outcome: Outcome::Cancelled,
            trace: self.trace.again(),
        }
    }

    /// Time since its arrival.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.arrived.elapsed()
    }

    /// Its model is ready for it.
    pub fn granted(&mut self) {
        self.trace.granted();
        self.histogram("llm_request_load_seconds", self.elapsed());
    }

    /// A piece of its answer has come.
    pub fn piece(&mut self) {
        let now = Instant::now();
        match self.last_piece.replace(now) {
            Some(last) => self.inter_token.record(now - last),
            None => self.histogram("llm_time_to_first_token_seconds", now - self.arrived),
        }
    }

    /// Its prompt was cut.
    pub fn truncated(&self) {
        counter!("llm_truncated_prompts_total", "model" => self.model.clone()).increment(1);
    }

    /// Its answer is complete.
    pub fn generated(&mut self, usage: &Usage) {
        self.trace.generated(usage);
        self.tokens(usage.prompt_tokens);
        counter!("llm_cached_prompt_tokens_total", "model" => self.model.clone())
            .increment(usage.cached_tokens.into());
        counter!("llm_generated_tokens_total", "model" => self.model.clone())
            .increment(usage.generated_tokens.into());
        self.histogram(
            "llm_request_queue_seconds",
            Duration::from_nanos(usage.queue_ns),
        );
        self.histogram(
            "llm_request_prefill_seconds",
            Duration::from_nanos(usage.prefill_ns),
        );
        self.histogram(
            "llm_request_decode_seconds",
            Duration::from_nanos(usage.decode_ns),
        );
        self.outcome = Outcome::Answered;
    }

    /// Its vectors or labels are complete.
    pub fn encoded(&mut self, prompt_tokens: u32, queue_ns: u64) {
        self.trace.encoded(prompt_tokens, queue_ns);
        self.tokens(prompt_tokens);
        self.histogram("llm_request_queue_seconds", Duration::from_nanos(queue_ns));
        self.outcome = Outcome::Answered;
    }

    /// It ended some other way.
    pub fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    fn tokens(&self, prompt_tokens: u32) {
        counter!("llm_prompt_tokens_total", "model" => self.model.clone())
            .increment(prompt_tokens.into());
    }

    fn histogram(&self, name: &'static str, duration: Duration) {
        histogram!(name, "model" => self.model.clone(), "operation" => self.operation)
            .record(duration);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.histogram("llm_request_duration_seconds", self.elapsed());
        requests(&self.model, self.operation, self.outcome).increment(1);
        let error = (self.outcome != Outcome::Answered).then(|| self.outcome.label());
        self.trace.end(&self.model, self.operation, error);
    }
}

/// Requests that ended so.
fn requests(model: &str, operation: &'static str, outcome: Outcome) -> Counter {
    counter!(
        "llm_requests_total",
        "model" => model.to_owned(), "operation" => operation, "status" => outcome.label()
    )
}

/// What one worker's steps are recorded with; looked up once, since steps are frequent.
#[derive(Debug)]
pub struct WorkerMetrics {
    running: Gauge,
    waiting: Gauge,
    guessed: Counter,
    right: Counter,
    batch_size: Histogram,
    batch_tokens: Histogram,
    step: Histogram,
    /// What of the two gauges is this worker's: another one may hold the same model for a while.
    last: (u32, u32),
}

impl WorkerMetrics {
    /// For the worker of this model.
    #[must_use]
    pub fn new(model: &str) -> Self {
        let model = || model.to_owned();
        Self {
            running: gauge!("llm_requests_running", "model" => model()),
            waiting: gauge!("llm_requests_waiting", "model" => model()),
            guessed: counter!("llm_guessed_tokens_total", "model" => model()),
            right: counter!("llm_right_guesses_total", "model" => model()),
            batch_size: histogram!("llm_batch_size", "model" => model()),
            batch_tokens: histogram!("llm_batch_tokens", "model" => model()),
            step: histogram!("llm_step_seconds", "model" => model()),
            last: (0, 0),
        }
    }

    fn jobs(&mut self, running: u32, waiting: u32) {
        let (last_running, last_waiting) = std::mem::replace(&mut self.last, (running, waiting));
        (self.running).increment(f64::from(running) - f64::from(last_running));
        (self.waiting).increment(f64::from(waiting) - f64::from(last_waiting));
    }

    /// Records a step.
    pub fn step(&mut self, step: &Step) {
        self.jobs(step.running, step.waiting);
        self.guessed.increment(step.guessed_tokens.into());
        self.right.increment(step.right_tokens.into());
        if step.jobs > 0 {
            self.batch_size.record(step.jobs);
            self.batch_tokens.record(
                step.prompt_tokens + step.generated_tokens + step.guessed_tokens
                    - step.right_tokens,
            );
            self.step.record(Duration::from_nanos(step.compute_ns));
        }
    }
}

impl Drop for WorkerMetrics {
    fn drop(&mut self) {
        self.jobs(0, 0);
    }
}

/// Memory of a process in bytes, as `/proc` tells it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident, file pages included.
    pub resident: u64,
    /// The largest `resident` so far.
    pub peak: u64,
    /// Resident and not backed by a file.
    pub anonymous: u64,
    /// Resident with shared pages divided among their users.
    pub proportional: u64,
}

/// A loaded model at the moment of a scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadedModel<'a> {
    /// Its name.
    pub model: &'a str,
    /// Size of its files.
    pub bytes: u64,
    /// Memory of its worker.
    pub memory: Memory,
    /// Jobs that can advance together.
    pub slots: u32,
    /// What of it is for what.
    pub parts: MemoryParts,
    /// How it is computed with.
    pub computing: Computing,
}

/// How a model is computed with, as far as its engine tells.
#[derive(Clone, Copy, Debug, Default)]
pub struct Computing {
    /// Threads.
    pub threads: u32,
    /// Products of its weights are computed by kernels of ours.
    pub own_kernels: bool,
    /// Flash attention.
    pub flash_attention: bool,
    /// Bits of a number in the key-value cache.
    pub cache_bits: u32,
}

/// What a model's memory is for, in bytes, as far as its engine tells.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryParts {
    /// Weights.
    pub weights: u64,
    /// The key-value cache of the tokens that it holds.
    pub cache: u64,
    /// What the cache may grow to.
    pub cache_reserved: u64,
    /// Buffers of the computation.
    pub compute: u64,
    /// What of all this lies on graphics processors.
    pub on_devices: u64,
}

/// The server process at the moment of a scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// Its memory.
    pub memory: Memory,
    /// Open file descriptors.
    pub open_fds: u64,
    /// File descriptors that it may open.
    pub max_fds: u64,
    /// When it started, in seconds since 1970.
    pub started: f64,
    /// Threads.
    pub threads: u64,
    /// Processor time since its start.
    pub processor_time: Duration,
}

/// What is common to all models at the moment of a scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct Room {
    /// Bytes of memory that are left for models.
    pub available: u64,
    /// Requests that wait for a model to find room.
    pub waiting: usize,
}

/// Records what is only known at a scrape. `unloaded` are the models that were reported loaded before and are no more.
pub fn scrape(process: &Process, room: &Room, loaded: &[LoadedModel<'_>], unloaded: &[String]) {
    gauge!("process_resident_memory_bytes").set(as_f64(process.memory.resident));
    gauge!("process_peak_resident_memory_bytes").set(as_f64(process.memory.peak));
    gauge!("process_proportional_memory_bytes").set(as_f64(process.memory.proportional));
    gauge!("process_open_fds").set(as_f64(process.open_fds));
    gauge!("process_max_fds").set(as_f64(process.max_fds));
    gauge!("process_start_time_seconds").set(process.started);
    gauge!("process_threads").set(as_f64(process.threads));
    let microseconds = process.processor_time.as_micros();
    let microseconds = u64::try_from(microseconds).unwrap_or(u64::MAX);
    PROCESSOR_MICROSECONDS.store(microseconds, Ordering::Relaxed);
    gauge!("llm_memory_available_bytes").set(as_f64(room.available));
    gauge!("llm_requests_waiting_for_room").set(as_f64(room.waiting as u64));
    gauge!("llm_models_loaded").set(as_f64(loaded.len() as u64));
    for model in together(loaded).values() {
        loaded_model(model);
    }
    for model in unloaded {
        loaded_model(&LoadedModel {
            model,
            ..LoadedModel::default()
        });
    }
    let bytes: u64 = loaded.iter().map(|model| model.bytes).sum();
    let peak = process.memory.peak + loaded.iter().map(|model| model.memory.peak).sum::<u64>();
    gauge!("llm_memory_ratio").set(if bytes == 0 {
        0.0
    } else {
        as_f64(peak) / as_f64(bytes)
    });
}

/// Processor time at the last scrape. The recorder's counters are whole numbers, and a second is too coarse for a rate.
static PROCESSOR_MICROSECONDS: AtomicU64 = AtomicU64::new(0);

/// The page for Prometheus: what the recorder holds, and what it cannot.
#[must_use]
pub fn page(handle: &PrometheusHandle) -> String {
    let time = Duration::from_micros(PROCESSOR_MICROSECONDS.load(Ordering::Relaxed));
    let (name, seconds) = ("process_cpu_seconds_total", time.as_secs_f64());
    let mut page = handle.render();
    page += &format!(
        "# HELP {name} Processor time of the server process\n# TYPE {name} counter\n{name} {seconds}\n"
    );
    page
}

/// Each model once. While a model is loaded anew with other options, two workers have it: their memory is told as one, their files
/// are the same.
fn together<'a>(loaded: &[LoadedModel<'a>]) -> BTreeMap<&'a str, LoadedModel<'a>> {
    let mut models: BTreeMap<&str, LoadedModel<'_>> = BTreeMap::new();
    for worker in loaded {
        let model = models.entry(worker.model).or_default();
        *model = LoadedModel {
            model: worker.model,
            bytes: model.bytes.max(worker.bytes),
            memory: Memory {
                resident: model.memory.resident + worker.memory.resident,
                peak: model.memory.peak + worker.memory.peak,
                anonymous: model.memory.anonymous + worker.memory.anonymous,
                proportional: model.memory.proportional + worker.memory.proportional,
            },
            slots: model.slots + worker.slots,
            parts: MemoryParts {
                weights: model.parts.weights + worker.parts.weights,
                cache: model.parts.cache + worker.parts.cache,
                cache_reserved: model.parts.cache_reserved + worker.parts.cache_reserved,
                compute: model.parts.compute + worker.parts.compute,
                on_devices: model.parts.on_devices + worker.parts.on_devices,
            },
            // The newer one takes the requests that come from now on.
            computing: worker.computing,
        };
    }
    models
}

fn loaded_model(loaded: &LoadedModel<'_>) {
    let memory = &loaded.memory;
    let set = |name: &'static str, value: u64| {
        gauge!(name, "model" => loaded.model.to_owned()).set(as_f64(value))
    };
    set("llm_slots", loaded.slots.into());
    set("llm_model_size_bytes", loaded.bytes);
    set("llm_worker_resident_memory_bytes", memory.resident);
    set("llm_worker_peak_resident_memory_bytes", memory.peak);
    set("llm_worker_anonymous_memory_bytes", memory.anonymous);
    set("llm_worker_proportional_memory_bytes", memory.proportional);
    set("llm_weights_bytes", loaded.parts.weights);
    set("llm_cache_bytes", loaded.parts.cache);
    set("llm_cache_reserved_bytes", loaded.parts.cache_reserved);
    set("llm_compute_bytes", loaded.parts.compute);
    set("llm_device_memory_bytes", loaded.parts.on_devices);
    set("llm_threads", loaded.computing.threads.into());
    set("llm_own_kernels", loaded.computing.own_kernels.into());
    set(
        "llm_flash_attention",
        loaded.computing.flash_attention.into(),
    );
    gauge!("llm_cache_number_bytes", "model" => loaded.model.to_owned())
        .set(f64::from(loaded.computing.cache_bits) / 8.0);
}

/// Byte counts lose nothing that matters: a double is exact up to 8 PiB.
#[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use metrics::with_local_recorder;

    use super::*;

    fn recorded(record: impl FnOnce()) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        with_local_recorder(&recorder, record);
        page(&recorder.handle())
    }

    #[track_caller]
    fn check(page: &str, line: &str) {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }

    #[test]
    fn two_workers_of_one_model_are_told_together() {
        let worker = |resident, slots| LoadedModel {
            model: "a",
            bytes: 100,
            memory: Memory {
                resident,
                ..Memory::default()
            },
            slots,
            parts: MemoryParts {
                on_devices: 3,
                ..MemoryParts::default()
            },
            computing: Computing::default(),
        };
        let process = Process {
            processor_time: Duration::from_millis(1_230),
            ..Process::default()
        };
        let page = recorded(|| {
            scrape(
                &process,
                &Room::default(),
                &[worker(7, 2), worker(5, 4)],
                &[],
            );
        });
        check(&page, "llm_worker_resident_memory_bytes{model=\"a\"} 12");
        check(&page, "llm_slots{model=\"a\"} 6");
        check(&page, "llm_device_memory_bytes{model=\"a\"} 6");
        check(&page, "llm_model_size_bytes{model=\"a\"} 100");
        check(&page, "llm_models_loaded 2");
        check(&page, "process_cpu_seconds_total 1.23");
        check(&page, "# TYPE process_cpu_seconds_total counter");
    }

    #[test]
    fn a_worker_that_leaves_takes_only_its_own_jobs_along() {
        let step = |running, waiting| Step {
            running,
            waiting,
            ..Step::default()
        };
        let page = recorded(|| {
            let (mut old, mut new) = (WorkerMetrics::new("a"), WorkerMetrics::new("a"));
            old.step(&step(2, 1));
            new.step(&step(3, 5));
            old.step(&step(1, 0));
            drop(old);
            new.step(&step(4, 2));
            std::mem::forget(new);
        });
        check(&page, "llm_requests_running{model=\"a\"} 4");
        check(&page, "llm_requests_waiting{model=\"a\"} 2");
    }
}

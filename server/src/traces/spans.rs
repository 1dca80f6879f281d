//! From what a request went through to its spans.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;

use super::export::{Destination, Exporter};
use crate::inference::generate::Usage;

tokio::task_local! {
    static CALLER: Context;
}

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Begins to send traces where `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` says; without either, none are made. Must
/// be called inside a runtime, which the sending runs on.
///
/// # Errors
/// In words, when what the variables say cannot be used.
pub fn start(variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    let is_off =
        variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let Some(destination) = Destination::of(&variable)?.filter(|_| !is_off) else {
        return Ok(());
    };
    tracing::info!(endpoint = destination.url(), "traces are sent");
    let mut resource = Resource::builder();
    let has_name = variable("OTEL_SERVICE_NAME").is_some()
        || variable("OTEL_RESOURCE_ATTRIBUTES")
            .is_some_and(|pairs| pairs.contains("service.name="));
    if !has_name {
        resource = resource.with_service_name("chaski");
    }
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = resource.with_attribute(version).build();
    // Its queue is bounded (OTEL_BSP_MAX_QUEUE_SIZE, 2,048 spans): what a slow collector does not take is dropped.
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Exporter::new(destination))
        .with_resource(resource)
        .build();
    // A second start, in tests, changes nothing.
    let _ = PROVIDER.set(provider);
    Ok(())
}

/// Sends what waits to be sent. Blocks for a few seconds at most, and not on the runtime that sends.
pub fn stop() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown()
    {
        tracing::warn!(%error, "the last traces could not be sent");
    }
}

/// The caller's part of a trace: what its `traceparent` and `tracestate` headers say.
#[derive(Clone, Debug)]
pub struct Caller(Context);

impl Caller {
    /// Reads the headers, in W3C's format; others count as none.
    #[must_use]
    pub fn of(traceparent: Option<&str>, tracestate: Option<&str>) -> Self {
        let named = [("traceparent", traceparent), ("tracestate", tracestate)];
        let headers: HashMap<String, String> = named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        Self(TraceContextPropagator::new().extract_with_context(&Context::new(), &headers))
    }

    /// Does that work in its name.
    pub async fn waits_for<W: Future>(self, work: W) -> W::Output {
        CALLER.scope(self.0, work).await
    }
}

/// A request under way.
#[derive(Debug)]
pub struct Trace {
    caller: Context,
    arrived: Instant,
    granted: Option<Instant>,
    work: Option<Work>,
}

/// What the worker told of a request, and when.
#[derive(Clone, Copy, Debug)]
struct Work {
    done: Instant,
    usage: Usage,
    generates: bool,
}

impl Trace {
    /// One that arrived now, in the name of whose request this task answers.
    #[must_use]
    pub fn start() -> Self {
        Self {
            caller: CALLER.try_with(Clone::clone).unwrap_or_default(),
            arrived: Instant::now(),
            granted: None,
            work: None,
        }
    }

    /// One that arrived together with it.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            caller: self.caller.clone(),
            arrived: self.arrived,
            granted: self.granted,
            work: None,
        }
    }

    /// Its model is ready.
    pub fn granted(&mut self) {
        self.granted = Some(Instant::now());
    }

    /// Its answer is complete.
    pub fn generated(&mut self, usage: &Usage) {
        self.work = Some(Work {
            done: Instant::now(),
            usage: *usage,
            generates: true,
        });
    }

    /// Its vectors or labels are complete.
    pub fn encoded(&mut self, prompt_tokens: u32, queue_ns: u64) {
        self.work = Some(Work {
            done: Instant::now(),
            usage: Usage {
                prompt_tokens,
                queue_ns,
                ..Usage::default()
            },
            generates: false,
        });
    }

    /// It has ended, with an error of that kind if there was one.
    pub fn end(&self, model: &str, operation: &'static str, error: Option<&'static str>) {
        if let Some(provider) = PROVIDER.get() {
            self.tell(provider, model, operation, error);
        }
    }

    fn tell(
        &self,
        provider: &SdkTracerProvider,
        model: &str,
        operation: &'static str,
        error: Option<&'static str>,
    ) {
        let tracer = provider.tracer("chaski");
        let clock = Clock::now();
        let operation = conventional(operation);
        let mut request = SpanBuilder::from_name(format!("{operation} {model}"))
            .with_kind(SpanKind::Server)
            .with_start_time(clock.at(self.arrived))
            .with_attributes(self.attributes(model, operation, error))
            .start_with_context(&tracer, &self.caller);
        // What the request was refused for is its caller's doing.
        if error == Some("error") {
            request.set_status(Status::error("the request failed"));
        }
        let within = self
            .caller
            .with_remote_span_context(request.span_context().clone());
        for (name, from, to) in self.phases() {
            SpanBuilder::from_name(name)
                .with_kind(SpanKind::Internal)
                .with_start_time(clock.at(from))
                .start_with_context(&tracer, &within)
                .end_with_timestamp(clock.at(to));
        }
        request.end_with_timestamp(clock.time);
    }

    fn attributes(
        &self,
        model: &str,
        operation: &'static str,
        error: Option<&'static str>,
    ) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", operation),
            KeyValue::new("gen_ai.provider.name", "chaski"),
            KeyValue::new("gen_ai.request.model", model.to_owned()),
        ];
        attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
        if let Some(work) = self.work {
            let usage = work.usage;
            attributes.push(KeyValue::new(
                "gen_ai.usage.input_tokens",
                i64::from(usage.prompt_tokens),
            ));
            if work.generates {
                attributes.extend([
                    KeyValue::new(
                        "gen_ai.usage.output_tokens",
                        i64::from(usage.generated_tokens),
                    ),
                    KeyValue::new(
                        "gen_ai.usage.cache_read.input_tokens",
                        i64::from(usage.cached_tokens),
                    ),
                ]);
            }
        }
        attributes
    }

    /// What happened one after another, as far as it is known. The worker told how long things took, and its last word is when the last
    /// of them ended.
    fn phases(&self) -> Vec<(&'static str, Instant, Instant)> {
        let mut phases = Vec::new();
        if let Some(granted) = self.granted {
            phases.push(("load", self.arrived, granted));
        }
        if let Some(Work {
            done,
            usage,
            generates: true,
        }) = self.work
        {
            let before = |end: Instant, nanoseconds| {
                let start = end.checked_sub(Duration::from_nanos(nanoseconds));
                start.unwrap_or(self.arrived).max(self.arrived)
            };
            let first_token = before(done, usage.decode_ns);
            let slot = before(first_token, usage.prefill_ns);
            phases.extend([
                ("queue", before(slot, usage.queue_ns), slot),
                ("prefill", slot, first_token),
                ("decode", first_token, done),
            ]);
        }
        phases
    }
}

/// The conventions' name of an operation; what they have no name for keeps ours.
fn conventional(operation: &'static str) -> &'static str {
    match operation {
        "generate" => "text_completion",
        "embed" => "embeddings",
        other => other,
    }
}

/// Puts instants, which spans are measured with, on the clock that they are told by.
struct Clock {
    instant: Instant,
    time: SystemTime,
}

impl Clock {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            time: SystemTime::now(),
        }
    }

    fn at(&self, instant: Instant) -> SystemTime {
        self.time - self.instant.saturating_duration_since(instant)
    }
}

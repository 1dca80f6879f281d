//! Sends spans as OTLP over HTTP, in its JSON form: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.
//!
//! Not by opentelemetry-otlp: the macros of its Protocol Buffers change features below bindgen, and llama.cpp would be compiled twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value as Json, json};
use tokio::runtime::Handle;

/// As long as the specification has it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where spans are sent.
#[derive(Debug)]
pub struct Destination {
    url: String,
    headers: HeaderMap,
    timeout: Duration,
}

impl Destination {
    /// What the variables of the specification say; `None` if they name no endpoint.
    pub fn of(variable: &impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        // The specific name is a whole URL, the general one its beginning.
        let whole = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let begun = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        let begun = begun.map(|url| format!("{}/v1/traces", url.trim_end_matches('/')));
        let Some(url) = whole.or(begun) else {
            return Ok(None);
        };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(format!("{url} is no http or https address for traces"));
        }
        let either = |name: &str| {
            let specific = variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
            specific.or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let protocol = either("PROTOCOL");
        if protocol
            .as_deref()
            .is_some_and(|protocol| protocol != "http/json")
        {
            tracing::warn!(
                "traces are sent as http/json, whatever OTEL_EXPORTER_OTLP_PROTOCOL says"
            );
        }
        let timeout = either("TIMEOUT").and_then(|text| text.parse().ok());
        Ok(Some(Self {
            url,
            headers: headers(&either("HEADERS").unwrap_or_default())?,
            timeout: timeout.map_or(TIMEOUT, Duration::from_millis),
        }))
    }

    /// The whole URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// `name=value,…`, with values in percent-encoding.
fn headers(list: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for pair in list
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
    {
        let parsed = pair.split_once('=').and_then(|(name, value)| {
            let name: HeaderName = name.trim().parse().ok()?;
            let mut value = HeaderValue::from_bytes(&decoded(value.trim())?).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        // The pair may hold a secret.
        let (name, value) =
            parsed.ok_or("OTEL_EXPORTER_OTLP_HEADERS must be name=value,name=value")?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(bytes)
}

/// Sends batches of spans, on the runtime where it was made.
#[derive(Debug)]
pub struct Exporter {
    destination: Destination,
    client: reqwest::Client,
    runtime: Handle,
    resource: Vec<KeyValue>,
    /// Whether the last batch could not be sent: that is told once, not every five seconds.
    has_failed: AtomicBool,
}

impl Exporter {
    /// One that sends there.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn new(destination: Destination) -> Self {
        let builder = reqwest::Client::builder().timeout(destination.timeout);
        let client = if destination.url.starts_with("http://") {
            builder
                .tls_certs_only([])
                .build()
                .expect("nothing is needed that could be missing")
        } else {
            builder.build().unwrap_or_default()
        };
        Self {
            client,
            destination,
            runtime: Handle::current(),
            resource: Vec::new(),
            has_failed: AtomicBool::new(false),
        }
    }

    fn told(&self, result: Result<(), String>) -> OTelSdkResult {
        let failed_before = self.has_failed.swap(result.is_err(), Ordering::Relaxed);
        result.map_err(|error| {
            if !failed_before {
                tracing::warn!(error, "traces cannot be sent; they are lost until they can");
            }
            OTelSdkError::InternalFailure(error)
        })
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let request = self
            .client
            .post(&self.destination.url)
            .headers(self.destination.headers.clone())
            .json(&document(&self.resource, &batch));
        // The thread that asks belongs to no runtime.
        let sending = self
            .runtime
            .spawn(async move { request.send().await?.error_for_status() });
        let sent = match sending.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the server ends".into()),
        };
        self.told(sent)
    }

    fn set_resource(&mut self, resource: &Resource) {
        let pairs = resource.iter();
        self.resource = pairs
            .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
            .collect();
    }
}

/// An `ExportTraceServiceRequest` in JSON: ids are hexadecimal, 64-bit numbers are texts, enumerations are numbers.
fn document(resource: &[KeyValue], batch: &[SpanData]) -> Json {
    // All are of one scope: nothing else in this program makes spans.
    let scope = json!({"name": "chaski", "version": env!("CARGO_PKG_VERSION")});
    json!({"resourceSpans": [{
        "resource": {"attributes": attributes(resource)},
        "scopeSpans": [{"scope": scope, "spans": batch.iter().map(span).collect::<Vec<_>>()}],
    }]})
}

fn span(data: &SpanData) -> Json {
    let context = &data.span_context;
    let mut span = json!({
        "traceId": context.trace_id().to_string(),
        "spanId": context.span_id().to_string(),
        "flags": u32::from(context.trace_flags().to_u8()),
        "name": data.name,
        "kind": match data.span_kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        },
        "startTimeUnixNano": nanoseconds(data.start_time),
        "endTimeUnixNano": nanoseconds(data.end_time),
        "attributes": attributes(&data.attributes),
        "droppedAttributesCount": data.dropped_attributes_count,
    });
    if data.parent_span_id != SpanId::INVALID {
        span["parentSpanId"] = data.parent_span_id.to_string().into();
    }
    if !context.trace_state().header().is_empty() {
        span["traceState"] = context.trace_state().header().into();
    }
    match &data.status {
        Status::Unset => {}
        Status::Ok => span["status"] = json!({"code": 1}),
        Status::Error { description } => {
            span["status"] = json!({"code": 2, "message": description})
        }
    }
    span
}

fn nanoseconds(time: SystemTime) -> String {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    since.as_nanos().to_string()
}

fn attributes(pairs: &[KeyValue]) -> Vec<Json> {
    let one = |pair: &KeyValue| json!({"key": pair.key.as_str(), "value": value(&pair.value)});
    pairs.iter().map(one).collect()
}

fn value(value: &Value) -> Json {
    let string = |text: &str| json!({"stringValue": text});
    match value {
        Value::Bool(is_so) => json!({"boolValue": is_so}),
        Value::I64(number) => json!({"intValue": number.to_string()}),
        Value::F64(number) => json!({"doubleValue": number}),
        Value::String(text) => string(text.as_str()),
        Value::Array(Array::String(texts)) => {
            let texts: Vec<_> = texts.iter().map(|text| string(text.as_str())).collect();
            json!({"arrayValue": {"values": texts}})
        }
        other => string(&other.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(pairs: &[(&str, &str)]) -> Result<Option<Destination>, String> {
        Destination::of(&|name: &str| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_destination_is_what_the_specification_says() {
        assert!(destination(&[]).unwrap().is_none());
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        let found = destination(&[general]).unwrap().unwrap();
        assert_eq!(found.url(), "http://collector:4318/v1/traces");
        assert_eq!(found.timeout, TIMEOUT);
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/take");
        let found = destination(&[general, whole, ("OTEL_EXPORTER_OTLP_TIMEOUT", "500")]);
        let found = found.unwrap().unwrap();
        assert_eq!(found.url(), "https://other/take");
        assert_eq!(found.timeout, Duration::from_millis(500));
        assert!(destination(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]).is_err());
    }

    #[test]
    fn headers_are_read_and_never_shown() {
        let headers = headers("authorization=Bearer%20s3cret, x-tenant=a").unwrap();
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["x-tenant"], "a");
        assert!(!format!("{headers:?}").contains("s3cret"));
        for wrong in ["authorization", "a b=c", "a=%zz", "a=%4", "a=%0a"] {
            let error = super::headers(wrong).unwrap_err();
            assert!(!error.contains(wrong), "{error}");
        }
    }
}

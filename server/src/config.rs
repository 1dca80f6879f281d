//! Configuration in two forms: [`Environment`] as it was typed, [`Config`] as it is meant.
//!
//! The variables are Ollama's and mean what they mean to Ollama; a value that cannot be read is logged and its default
//! taken, as Ollama does. Our own begin with `CHASKI_`. [`settings`] lists them all, a [`file`] may hold them too, and
//! [`layers`] knows which of these counts and where a value came from.

pub mod file;
mod kind;
pub mod layers;
pub mod settings;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing::warn;

use crate::duration::{self, KeepAlive};
use crate::engine::gguf::{CacheType, Preference};
use crate::engine::onnx::Computation;
use crate::keys;
use crate::prompt::GoTemplates;
use crate::sandbox::{Enforced, Mode};

/// The version that `/api/version` reports: clients compare it with the Ollama release they need.
pub const OLLAMA_VERSION: &str = "0.33.0";

/// Environment variables as they were typed. Not read from the process directly, so that tests need none.
#[derive(Clone, Debug, Default)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
        )
    }

    /// These variables.
    #[must_use]
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        )
    }

    /// The value with surrounding blanks and quotes removed; `None` if unset or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?.trim().trim_matches(['"', '\'']).trim();
        if value.is_empty() { None } else { Some(value) }
    }

    /// Adds or changes a variable.
    fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), value);
    }

    /// Removes a variable.
    fn unset(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The value as `parse` reads it; a value that cannot be read is logged and ignored.
    fn read<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = self.get(name)?;
        let parsed = parse(value);
        if parsed.is_none() {
            warn!(
                name,
                value, "environment variable cannot be read; its default is used"
            );
        }
        parsed
    }
}

/// What the server does.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on (`OLLAMA_HOST`).
    pub host: Host,
    /// The store (`OLLAMA_MODELS`).
    pub models: PathBuf,
    /// How long an idle model stays loaded unless a request says otherwise (`OLLAMA_KEEP_ALIVE`).
    pub keep_alive: KeepAlive,
    /// Tokens of context unless a model or request says otherwise (`OLLAMA_CONTEXT_LENGTH`).
    pub context: u32,
    /// Sequences of one model that advance together (`OLLAMA_NUM_PARALLEL`). `None`: as many as their memory allows.
    pub parallel: Option<u32>,
    /// Requests that may wait for a model, and for a slot of each model (`OLLAMA_MAX_QUEUE`).
    pub max_queue: usize,
    /// Models that may be loaded at a time (`OLLAMA_MAX_LOADED_MODELS`).
    pub max_loaded: usize,
    /// Bytes of memory that all models together may take (`CHASKI_MEMORY_LIMIT`, such as `6GiB`). `None`: what the system has.
    pub memory_limit: Option<u64>,
    /// How long requests for one model wait for room while others are never idle, until one of these takes no new requests
    /// (`CHASKI_PATIENCE`).
    pub patience: Duration,
    /// Longest time a model may take to load (`OLLAMA_LOAD_TIMEOUT`).
    pub load_timeout: Duration,
    /// Browser origins that may call, besides those that always may (`OLLAMA_ORIGINS`).
    pub origins: Vec<String>,
    /// Flash attention (`OLLAMA_FLASH_ATTENTION`). `None` lets the engine choose.
    pub flash_attention: Option<bool>,
    /// Whose kernels compute with quantised weights of GGUF models (`CHASKI_KERNELS`: `auto`, `own` or `llama.cpp`).
    pub kernels: Preference,
    /// Precision of key-value caches (`OLLAMA_KV_CACHE_TYPE`).
    pub cache_type: CacheType,
    /// How long key-value caches of ended requests are kept when a model has nothing to do (`CHASKI_CACHE_IDLE`).
    pub cache_idle: Duration,
    /// Whether to guess what a model will say from what was said, and verify it (`CHASKI_SPECULATION`).
    pub speculation: bool,
    /// Keep unreferenced blobs at start (`OLLAMA_NOPRUNE`).
    pub no_prune: bool,
    /// When the Go template of a model is used (`OLLAMA_GO_TEMPLATE`).
    pub go_templates: GoTemplates,
    /// The ONNX Runtime library (`ORT_DYLIB_PATH`). `None` looks in the usual places.
    pub ort_library: Option<PathBuf>,
    /// What computes ONNX models (`CHASKI_ENCODER`: `auto`, or `onnxruntime`).
    pub onnx_computation: Computation,
    /// Whether prompts that the context does not hold may be cut (`CHASKI_TRUNCATE`, unless it is `error`).
    pub cut_prompts: bool,
    /// The version to report (`CHASKI_OLLAMA_VERSION`).
    pub version: String,
    /// Longest time a worker with jobs may go without progress before it counts as hung (`CHASKI_HANG_TIMEOUT`).
    pub hang_timeout: Duration,
    /// The key that registries know this machine by (`~/.ollama/id_ed25519`).
    pub key: PathBuf,
    /// Connections that fetch parts of one blob from a registry (`OLLAMA_MAX_TRANSFER_STREAMS`).
    pub transfer_streams: usize,
    /// The Hugging Face hub (`HF_ENDPOINT`).
    pub hub: String,
    /// Who asks the hub (`HF_TOKEN`).
    pub hub_token: Option<String>,
    /// How long requests under way may take to finish after a stop signal (`CHASKI_DRAIN_TIMEOUT`).
    pub drain_timeout: Duration,
    /// How workers are locked in (`CHASKI_SANDBOX`: `required`, `best-effort`, `off`).
    pub sandbox: Mode,
    /// Who may ask (`CHASKI_KEYS`, `CHASKI_API_KEY`); everybody if there is no key.
    pub keys: keys::Source,
    /// Whether everybody on the network may ask without a key (`CHASKI_INSECURE`).
    pub insecure: bool,
    /// The certificate for TLS and those above it, as PEM (`CHASKI_TLS_CERT`).
    pub tls_certificate: Option<PathBuf>,
    /// Its private key, as PEM (`CHASKI_TLS_KEY`).
    pub tls_key: Option<PathBuf>,
    /// Which lines are logged, as filter directives (`CHASKI_LOG`, `OLLAMA_DEBUG`).
    pub log: String,
    /// Whether they are JSON objects (`CHASKI_LOG_FORMAT`).
    pub log_is_json: bool,
    /// What of the sandbox this system gives, as a worker found at start.
    pub enforced: Enforced,
}

impl Config {
    /// What the variables mean.
    #[must_use]
    pub fn from_environment(environment: &Environment) -> Self {
        let seconds = |name: &str, default: u64| {
            environment
                .read(name, duration::parse_or_seconds)
                .unwrap_or(Duration::from_secs(default))
        };
        Self {
            host: environment
                .read("OLLAMA_HOST", |value| Some(Host::parse(value)))
                .unwrap_or_default(),
            models: environment
                .get("OLLAMA_MODELS")
                .map_or_else(|| default_models(environment), PathBuf::from),
            keep_alive: environment
                .read("OLLAMA_KEEP_ALIVE", KeepAlive::parse_or_seconds)
                .unwrap_or_default(),
            context: environment
                .read("OLLAMA_CONTEXT_LENGTH", positive)
                .unwrap_or(DEFAULT_CONTEXT),
            parallel: environment
                .read("OLLAMA_NUM_PARALLEL", positive_or_zero)
                .filter(|slots| *slots > 0),
            max_queue: environment
                .read("OLLAMA_MAX_QUEUE", positive)
                .unwrap_or(512) as usize,
            max_loaded: environment
                .read("OLLAMA_MAX_LOADED_MODELS", positive_or_zero)
                .filter(|models| *models > 0)
                .unwrap_or(DEFAULT_MAX_LOADED) as usize,
            memory_limit: environment.read("CHASKI_MEMORY_LIMIT", bytes),
            // Whoever has none would ask all the time.
            patience: seconds("CHASKI_PATIENCE", 10).max(Duration::from_millis(1)),
            load_timeout: match seconds("OLLAMA_LOAD_TIMEOUT", 300) {
                Duration::ZERO => Duration::from_secs(u64::from(u32::MAX)),
                timeout => timeout,
            },
            origins: environment
                .get("OLLAMA_ORIGINS")
                .map(|list| {
                    list.split(',')
                        .map(|origin| origin.trim().to_owned())
                        .filter(|o| !o.is_empty())
                        .collect()
                })
                .unwrap_or_default(),
            flash_attention: environment.read("OLLAMA_FLASH_ATTENTION", boolean),
            kernels: environment
                .read("CHASKI_KERNELS", kernels)
                .unwrap_or_default(),
            cache_type: environment
                .read("OLLAMA_KV_CACHE_TYPE", cache_type)
                .unwrap_or_default(),
            cache_idle: seconds("CHASKI_CACHE_IDLE", 180),
            speculation: environment
                .read("CHASKI_SPECULATION", boolean)
                .unwrap_or(true),
            no_prune: environment.read("OLLAMA_NOPRUNE", boolean).unwrap_or(false),
            go_templates: match environment.read("OLLAMA_GO_TEMPLATE", boolean) {
                Some(true) => GoTemplates::Always,
                Some(false) => GoTemplates::Never,
                None => GoTemplates::Weighed,
            },
            ort_library: environment.get("ORT_DYLIB_PATH").map(PathBuf::from),
            onnx_computation: environment
                .read("CHASKI_ENCODER", computation)
                .unwrap_or_default(),
            cut_prompts: environment
                .read("CHASKI_TRUNCATE", cut_or_error)
                .unwrap_or(true),
            version: environment
                .get("CHASKI_OLLAMA_VERSION")
                .unwrap_or(OLLAMA_VERSION)
                .to_owned(),
            hang_timeout: seconds("CHASKI_HANG_TIMEOUT", 180),
            key: home(environment).join("id_ed25519"),
            transfer_streams: environment
                .read("OLLAMA_MAX_TRANSFER_STREAMS", positive)
                .unwrap_or(DEFAULT_TRANSFER_STREAMS)
                .min(MAX_TRANSFER_STREAMS) as usize,
            hub: environment
                .get("HF_ENDPOINT")
                .unwrap_or(DEFAULT_HUB)
                .to_owned(),
            hub_token: environment.get("HF_TOKEN").map(str::to_owned),
            drain_timeout: seconds("CHASKI_DRAIN_TIMEOUT", 30),
            sandbox: sandbox_mode(environment),
            keys: keys::Source {
                file: environment.get("CHASKI_KEYS").map(PathBuf::from),
                admin: environment.get("CHASKI_API_KEY").map(keys::Secret::new),
            },
            insecure: environment
                .read("CHASKI_INSECURE", boolean)
                .unwrap_or(false),
            tls_certificate: environment.get("CHASKI_TLS_CERT").map(PathBuf::from),
            tls_key: environment.get("CHASKI_TLS_KEY").map(PathBuf::from),
            log: log_filter(environment),
            log_is_json: environment
                .get("CHASKI_LOG_FORMAT")
                .is_some_and(|format| format.eq_ignore_ascii_case("json")),
            enforced: Enforced::default(),
        }
    }
}

/// Ollama's context on a machine without a GPU.
const DEFAULT_CONTEXT: u32 = 4096;

/// Small models (an embedder, a classifier, a reranker) come in sets: twice Ollama's three.
const DEFAULT_MAX_LOADED: u32 = 6;

/// As many parts of a blob as Ollama fetches at a time.
const DEFAULT_TRANSFER_STREAMS: u32 = 16;

/// More connections to one host are an attack on it.
const MAX_TRANSFER_STREAMS: u32 = 64;

const DEFAULT_HUB: &str = "https://huggingface.co";

/// Where a server listens, or where a client finds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host {
    /// Host name or address, without brackets.
    pub name: String,
    /// TCP port.
    pub port: u16,
    /// Scheme for clients.
    pub scheme: String,
    /// Path prefix for clients, without a slash at its end.
    pub path: String,
}

impl Default for Host {
    fn default() -> Self {
        Self::parse("")
    }
}

impl Host {
    /// `[scheme://]host[:port][/path]`, with Ollama's defaults: port 80 for `http://`, 443 for `https://`, else 11434;
    /// an unreadable port counts as absent.
    #[must_use]
    pub fn parse(value: &str) -> Self {
        let (scheme, rest, default_port) = match value.split_once("://") {
            Some(("https", rest)) => ("https", rest, 443),
            Some(("http", rest)) => ("http", rest, 80),
            Some((_, rest)) => ("http", rest, 11434),
            None => ("http", value, 11434),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (name, port) = match authority
            .strip_prefix('[')
            .and_then(|inner| inner.split_once(']'))
        {
            Some((address, port)) => (address, port.strip_prefix(':').unwrap_or("")),
            // More than one colon without brackets is a bare IPv6 address.
            None if authority.matches(':').count() > 1 => (authority, ""),
            None => authority.split_once(':').unwrap_or((authority, "")),
        };
        Self {
            name: if name.is_empty() {
                "127.0.0.1".into()
            } else {
                name.into()
            },
            port: port.parse().unwrap_or(default_port),
            scheme: scheme.into(),
            path: path.trim_end_matches('/').into(),
        }
    }

    /// The base URL for a client. A server's "any address" is reached through loopback.
    #[must_use]
    pub fn url(&self) -> String {
        let name = match self.name.as_str() {
            "0.0.0.0" => "127.0.0.1".to_owned(),
            "::" => "[::1]".to_owned(),
            name if name.contains(':') => format!("[{name}]"),
            name => name.to_owned(),
        };
        let slash = if self.path.is_empty() { "" } else { "/" };
        format!("{}://{name}:{}{slash}{}", self.scheme, self.port, self.path)
    }

    /// `host:port`, as one would type it.
    #[must_use]
    pub fn typed(&self) -> String {
        let name = match self.name.as_str() {
            name if name.contains(':') => format!("[{name}]"),
            name => name.to_owned(),
        };
        format!("{name}:{}", self.port)
    }

    /// The addresses to listen on.
    ///
    /// # Errors
    /// When the name cannot be resolved.
    pub async fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((self.name.as_str(), self.port))
            .await?
            .collect())
    }
}

/// What is logged: directives, or as much as Ollama's variable asks for.
fn log_filter(environment: &Environment) -> String {
    let level = || match environment.get("OLLAMA_DEBUG") {
        Some("2") => "info,chaski=trace",
        Some("1" | "true") => "info,chaski=debug",
        _ => "warn,chaski=info",
    };
    let typed = environment.get("CHASKI_LOG");
    typed.map_or_else(|| level().to_owned(), str::to_owned)
}

fn default_models(environment: &Environment) -> PathBuf {
    home(environment).join("models")
}

/// Where Ollama keeps what belongs to a user.
fn home(environment: &Environment) -> PathBuf {
    PathBuf::from(environment.get("HOME").unwrap_or("/")).join(".ollama")
}

fn positive(value: &str) -> Option<u32> {
    value.parse().ok().filter(|number| *number > 0)
}

fn positive_or_zero(value: &str) -> Option<u32> {
    value.parse().ok()
}

/// A number of bytes with or without a unit of 1,024s (`KiB`, `K`) or 1,000s (`KB`).
fn bytes(value: &str) -> Option<u64> {
    let digits =
        value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == ' ');
    let unit: u64 = match value[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// As one would type it.
fn keep_alive_text(keep_alive: KeepAlive) -> String {
    match keep_alive {
        KeepAlive::For(duration) => duration::text(duration),
        KeepAlive::Forever => "-1s".into(),
    }
}

/// Unlike other variables, one that cannot be read is not ignored: whoever writes `requird` wants more, not less.
fn sandbox_mode(environment: &Environment) -> Mode {
    match environment.get("CHASKI_SANDBOX") {
        None => Mode::default(),
        Some(typed) => Mode::parse(typed).unwrap_or_else(|| {
            warn!(
                value = typed,
                "CHASKI_SANDBOX is required, best-effort or off; taken as required"
            );
            Mode::Required
        }),
    }
}

/// The spellings Go's `strconv.ParseBool` knows.
fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn cut_or_error(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "cut" => Some(true),
        "error" => Some(false),
        _ => None,
    }
}

fn computation(value: &str) -> Option<Computation> {
    match value.to_ascii_lowercase().as_str() {
        "auto" => Some(Computation::Auto),
        "onnxruntime" => Some(Computation::Graph),
        _ => None,
    }
}

fn kernels(value: &str) -> Option<Preference> {
    match value.to_ascii_lowercase().as_str() {
        "auto" => Some(Preference::Auto),
        "own" => Some(Preference::Own),
        "llama.cpp" => Some(Preference::LlamaCpp),
        _ => None,
    }
}

fn cache_type(value: &str) -> Option<CacheType> {
    match value.to_ascii_lowercase().as_str() {
        "f16" => Some(CacheType::F16),
        "q8_0" => Some(CacheType::Q8_0),
        "q4_0" => Some(CacheType::Q4_0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_ollama_reads_them() {
        let check = |value: &str, name: &str, port: u16, url: &str| {
            let host = Host::parse(value);
            assert_eq!(
                (host.name.as_str(), host.port, host.url().as_str()),
                (name, port, url),
                "{value}"
            );
        };
        check("", "127.0.0.1", 11434, "http://127.0.0.1:11434");
        check("0.0.0.0", "0.0.0.0", 11434, "http://127.0.0.1:11434");
        check(":8080", "127.0.0.1", 8080, "http://127.0.0.1:8080");
        check(
            "example.org:99999",
            "example.org",
            11434,
            "http://example.org:11434",
        );
        check(
            "http://example.org",
            "example.org",
            80,
            "http://example.org:80",
        );
        check(
            "https://example.org/a/b/",
            "example.org",
            443,
            "https://example.org:443/a/b",
        );
        check("[::1]:7", "::1", 7, "http://[::1]:7");
        check("::", "::", 11434, "http://[::1]:11434");
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        let check = |value: &str, expected| assert_eq!(bytes(value), expected, "{value}");
        check("1", Some(1));
        check("6GiB", Some(6 << 30));
        check("6 gb", Some(6_000_000_000));
        check("12M", Some(12 << 20));
        check("", None);
        check("GiB", None);
        check("-1", None);
        check("1 parsec", None);
        check("99999999999T", None);
    }

    #[test]
    fn unreadable_values_fall_back_to_the_default() {
        let environment = Environment::of([
            ("OLLAMA_CONTEXT_LENGTH", "many"),
            ("OLLAMA_KEEP_ALIVE", "soon"),
            ("OLLAMA_NUM_PARALLEL", "0"),
            ("OLLAMA_MAX_QUEUE", " \"7\" "),
            ("OLLAMA_ORIGINS", "http://a.example, ,https://b.example"),
        ]);
        let config = Config::from_environment(&environment);
        assert_eq!(config.context, DEFAULT_CONTEXT);
        assert_eq!(config.keep_alive, KeepAlive::For(Duration::from_secs(300)));
        assert_eq!(config.parallel, None);
        assert_eq!(config.max_queue, 7);
        assert_eq!(config.origins, ["http://a.example", "https://b.example"]);
    }
}

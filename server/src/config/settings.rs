//! Every setting of the server, once: its key in a file, its variables, its option, what it may be, and what it is.
//!
//! The reader of files, `--print-config`, the JSON schema, the manual page and the table in `docs/CONFIGURATION.md` are drawn from
//! this list, and a test sees to it that no variable of ours is missing in it.

use std::path::Path;

use super::kind::Kind;
use super::{Config, keep_alive_text};
use crate::duration;
use crate::engine::gguf::{CacheType, Preference};
use crate::engine::onnx::Computation;
use crate::prompt::GoTemplates;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in a file.
    pub key: &'static str,
    /// Its variables; the first that is set counts, and the first of all is what a file's value stands for.
    pub variables: &'static [&'static str],
    /// Its option of `chaski serve`, if it has one.
    pub option: Option<&'static str>,
    /// What it is for, and what happens without it.
    pub about: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it is, as one would write it into its variable; `None` if nothing is set.
    pub current: fn(&Config) -> Option<String>,
}

impl Setting {
    /// The setting of that name.
    #[must_use]
    pub fn of_key(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    const fn new(
        key: &'static str,
        variables: &'static [&'static str],
        kind: Kind,
        current: fn(&Config) -> Option<String>,
        about: &'static str,
    ) -> Self {
        Self {
            key,
            variables,
            option: None,
            about,
            kind,
            current,
        }
    }

    const fn or_option(mut self, option: &'static str) -> Self {
        self.option = Some(option);
        self
    }
}

/// All of them, in the order in which they are told.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "host",
        &["OLLAMA_HOST"],
        Kind::Text,
        |config| Some(config.host.typed()),
        "address to listen on, as host:port",
    )
    .or_option("--host"),
    Setting::new(
        "models",
        &["OLLAMA_MODELS"],
        Kind::Path,
        |config| path(Some(&config.models)),
        "folder of the models; without it ~/.ollama/models",
    )
    .or_option("--models"),
    Setting::new(
        "keep_alive",
        &["OLLAMA_KEEP_ALIVE"],
        Kind::KeepAlive,
        |config| Some(keep_alive_text(config.keep_alive)),
        "how long an idle model stays loaded unless a request says otherwise",
    ),
    Setting::new(
        "context_length",
        &["OLLAMA_CONTEXT_LENGTH"],
        Kind::Count { least: 1 },
        |config| Some(config.context.to_string()),
        "tokens of context unless a model or request says otherwise",
    ),
    Setting::new(
        "num_parallel",
        &["OLLAMA_NUM_PARALLEL"],
        Kind::Count { least: 0 },
        |config| Some(config.parallel.unwrap_or(0).to_string()),
        "requests of one model that advance together; 0 is as many as their memory allows",
    ),
    Setting::new(
        "max_queue",
        &["OLLAMA_MAX_QUEUE"],
        Kind::Count { least: 1 },
        |config| Some(config.max_queue.to_string()),
        "requests that may wait for a model, and for a slot of each model",
    ),
    Setting::new(
        "max_loaded_models",
        &["OLLAMA_MAX_LOADED_MODELS"],
        Kind::Count { least: 0 },
        |config| Some(config.max_loaded.to_string()),
        "models that may be loaded at a time; 0 is the default",
    ),
    Setting::new(
        "memory_limit",
        &["CHASKI_MEMORY_LIMIT"],
        Kind::Bytes,
        |config| config.memory_limit.map(|bytes| bytes.to_string()),
        "memory that all models together may take, such as 6GiB; without it what the system has",
    ),
    Setting::new(
        "patience",
        &["CHASKI_PATIENCE"],
        Kind::Duration,
        |config| Some(duration::text(config.patience)),
        "how long requests wait for room while other models are never idle, until one of these gives way",
    ),
    Setting::new(
        "load_timeout",
        &["OLLAMA_LOAD_TIMEOUT"],
        Kind::Duration,
        |config| Some(duration::text(config.load_timeout)),
        "longest time a model may take to load; 0 is without end",
    ),
    Setting::new(
        "hang_timeout",
        &["CHASKI_HANG_TIMEOUT"],
        Kind::Duration,
        |config| Some(duration::text(config.hang_timeout)),
        "longest time a model with requests may go without progress before its worker is started anew",
    ),
    Setting::new(
        "drain_timeout",
        &["CHASKI_DRAIN_TIMEOUT"],
        Kind::Duration,
        |config| Some(duration::text(config.drain_timeout)),
        "how long requests under way may take to finish after a stop signal",
    ),
    Setting::new(
        "origins",
        &["OLLAMA_ORIGINS"],
        Kind::List,
        |config| (!config.origins.is_empty()).then(|| config.origins.join(",")),
        "browser origins that may call, besides those of this machine",
    ),
    Setting::new(
        "flash_attention",
        &["OLLAMA_FLASH_ATTENTION"],
        Kind::Switch,
        |config| config.flash_attention.map(|is_on| is_on.to_string()),
        "flash attention in GGUF models; without it the engine chooses",
    ),
    Setting::new(
        "kernels",
        &["CHASKI_KERNELS"],
        Kind::Choice(&["auto", "own", "llama.cpp"]),
        |config| {
            let name = match config.kernels {
                Preference::Auto => "auto",
                Preference::Own => "own",
                Preference::LlamaCpp => "llama.cpp",
            };
            Some(name.into())
        },
        "whose kernels compute with quantised weights of GGUF models",
    ),
    Setting::new(
        "kv_cache_type",
        &["OLLAMA_KV_CACHE_TYPE"],
        Kind::Choice(&["f16", "q8_0", "q4_0"]),
        |config| {
            let name = match config.cache_type {
                CacheType::F16 => "f16",
                CacheType::Q8_0 => "q8_0",
                CacheType::Q4_0 => "q4_0",
            };
            Some(name.into())
        },
        "precision of key-value caches",
    ),
    Setting::new(
        "cache_idle",
        &["CHASKI_CACHE_IDLE"],
        Kind::Duration,
        |config| Some(duration::text(config.cache_idle)),
        "how long key-value caches of ended requests are kept when a model has nothing to do",
    ),
    Setting::new(
        "speculation",
        &["CHASKI_SPECULATION"],
        Kind::Switch,
        |config| Some(config.speculation.to_string()),
        "whether to guess what a model will say from what was said, and verify it",
    ),
    Setting::new(
        "encoder",
        &["CHASKI_ENCODER"],
        Kind::Choice(&["auto", "onnxruntime"]),
        |config| {
            let name = match config.onnx_computation {
                Computation::Auto => "auto",
                Computation::Graph => "onnxruntime",
            };
            Some(name.into())
        },
        "what computes ONNX models",
    ),
    Setting::new(
        "ort_library",
        &["ORT_DYLIB_PATH"],
        Kind::Path,
        |config| path(config.ort_library.as_deref()),
        "the ONNX Runtime library; without it the usual places are looked at",
    )
    .or_option("--ort-lib"),
    Setting::new(
        "go_template",
        &["OLLAMA_GO_TEMPLATE"],
        Kind::Switch,
        |config| match config.go_templates {
            GoTemplates::Always => Some("true".into()),
            GoTemplates::Never => Some("false".into()),
            GoTemplates::Weighed => None,
        },
        "whether a model's Go template goes before its Jinja template; without it as Ollama weighs them",
    ),
    Setting::new(
        "truncate",
        &["CHASKI_TRUNCATE"],
        Kind::Choice(&["cut", "error"]),
        |config| Some(if config.cut_prompts { "cut" } else { "error" }.into()),
        "what happens to prompts that the context does not hold",
    ),
    Setting::new(
        "no_prune",
        &["OLLAMA_NOPRUNE"],
        Kind::Switch,
        |config| Some(config.no_prune.to_string()),
        "keep files that no model needs at the start",
    ),
    Setting::new(
        "max_transfer_streams",
        &["OLLAMA_MAX_TRANSFER_STREAMS"],
        Kind::Count { least: 1 },
        |config| Some(config.transfer_streams.to_string()),
        "connections that fetch parts of one file from a registry; at most 64",
    ),
    Setting::new(
        "hub",
        &["HF_ENDPOINT"],
        Kind::Text,
        |config| Some(config.hub.clone()),
        "the Hugging Face hub",
    ),
    Setting::new(
        "hub_token",
        &["HF_TOKEN"],
        Kind::Secret,
        |config| config.hub_token.clone(),
        "who asks the hub",
    ),
    Setting::new(
        "sandbox",
        &["CHASKI_SANDBOX"],
        Kind::Choice(&["required", "best-effort", "off"]),
        |config| Some(config.sandbox.name().into()),
        "how workers are locked in",
    )
    .or_option("--sandbox"),
    Setting::new(
        "keys",
        &["CHASKI_KEYS"],
        Kind::Path,
        |config| path(config.keys.file.as_deref()),
        "file of the API keys that callers have to show; `chaski key` writes it",
    )
    .or_option("--keys"),
    Setting::new(
        "api_key",
        &["CHASKI_API_KEY"],
        Kind::Secret,
        |config| (config.keys.admin.as_ref()).map(|secret| secret.reveal().to_owned()),
        "one more key, which allows everything",
    ),
    Setting::new(
        "insecure",
        &["CHASKI_INSECURE"],
        Kind::Switch,
        |config| Some(config.insecure.to_string()),
        "listen beyond this machine without keys",
    )
    .or_option("--insecure"),
    Setting::new(
        "tls_cert",
        &["CHASKI_TLS_CERT"],
        Kind::Path,
        |config| path(config.tls_certificate.as_deref()),
        "certificate for TLS, and those above it, as PEM",
    )
    .or_option("--tls-cert"),
    Setting::new(
        "tls_key",
        &["CHASKI_TLS_KEY"],
        Kind::Path,
        |config| path(config.tls_key.as_deref()),
        "private key of the certificate, as PEM",
    )
    .or_option("--tls-key"),
    Setting::new(
        "ollama_version",
        &["CHASKI_OLLAMA_VERSION"],
        Kind::Text,
        |config| Some(config.version.clone()),
        "the version of Ollama that clients are told",
    ),
    Setting::new(
        "log",
        &["CHASKI_LOG", "OLLAMA_DEBUG"],
        Kind::LogFilter,
        |config| Some(config.log.clone()),
        "which lines are logged, as filter directives such as info or chaski=debug; OLLAMA_DEBUG is 1 or 2 (more)",
    ),
    Setting::new(
        "log_format",
        &["CHASKI_LOG_FORMAT"],
        Kind::Choice(&["text", "json"]),
        |config| Some(if config.log_is_json { "json" } else { "text" }.into()),
        "lines for people, or one JSON object each",
    ),
];

fn path(path: Option<&Path>) -> Option<String> {
    path.map(|path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_this_list() {
        let code = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        let rows = SETTINGS.iter().map(|setting| {
            let names = [code(&[setting.key]), code(setting.variables)];
            let option = code(setting.option.as_slice());
            let kind = setting.kind.words();
            let about = format!("{} ({kind})", setting.about).replace('<', "&lt;");
            format!("| {} | {} | {option} | {about} |\n", names[0], names[1])
        });
        let table: String = rows.collect();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CONFIGURATION.md");
        let page = std::fs::read_to_string(path).unwrap();
        assert!(
            page.contains(&table),
            "docs/CONFIGURATION.md lacks this table:\n{table}"
        );
    }
}

//! Log lines: to standard error, for people by default, as JSON on request.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `CHASKI_LOG` takes filter directives (`info`, `chaski=debug`); `OLLAMA_DEBUG` means debug (1) or
/// trace (2); `CHASKI_LOG_FORMAT=json` writes one JSON object per line.
pub fn init() {
    let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let level = match of("OLLAMA_DEBUG").as_deref() {
        Some("2") => "info,chaski=trace",
        Some("1" | "true") => "info,chaski=debug",
        _ => "warn,chaski=info",
    };
    let filter = EnvFilter::try_new(of("CHASKI_LOG").as_deref().unwrap_or(level))
        .unwrap_or_else(|_| level.into());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A second call, in tests, changes nothing.
    let _ = match of("CHASKI_LOG_FORMAT").as_deref() {
        Some("json") => builder.json().try_init(),
        _ => builder.try_init(),
    };
}

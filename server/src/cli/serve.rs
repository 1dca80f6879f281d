//! `chaski serve`: from configuration to a listening server, and from a signal to its end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::console::Console;
use super::error::Error;
use super::on_console;
use super::place::Place;
use crate::api::{self, App, Edge};
use crate::config::layers::Layers;
use crate::config::{Config, Environment, file};
use crate::models::Models;
use crate::notify::{State, Supervisor};
use crate::sandbox::Mode;
use crate::store::{PRUNE_AGE, Store};
use crate::{builtin, metrics, telemetry, traces, worker};

/// Options of `serve`; each but `--print-config` has an environment variable with the same meaning.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// How workers are locked in: required, best-effort or off [default: best-effort] [env: CHASKI_SANDBOX]
    #[arg(long, value_name = "MODE", value_parser = sandbox_mode)]
    sandbox: Option<Mode>,
    /// File of the API keys that callers have to show; `chaski key` writes it [env: CHASKI_KEYS]. CHASKI_API_KEY is one more
    /// key, which allows everything. Without any, everybody who reaches the address may do everything
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Listen beyond this machine without keys [env: CHASKI_INSECURE]
    #[arg(long)]
    insecure: bool,
    /// Certificate for TLS, and those above it, as PEM; read again on SIGHUP [env: CHASKI_TLS_CERT]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, as PEM [env: CHASKI_TLS_KEY]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Write the settings that would count, and where each came from, and end; `schema` is the JSON schema of the file
    #[arg(long, value_name = "FORM", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "toml")]
    print_config: Option<Printed>,
}

fn sandbox_mode(typed: &str) -> Result<Mode, &'static str> {
    Mode::parse(typed).ok_or("there is required, best-effort and off")
}

/// What `--print-config` writes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Printed {
    /// A file of settings that means the same, with the source of each.
    Toml,
    /// The JSON schema of such files.
    Schema,
}

impl Args {
    fn settings(&self, environment: &Environment) -> Result<Layers, file::Error> {
        let mut layers = self.place.settings(environment)?;
        if let Some(mode) = self.sandbox {
            layers.change("--sandbox", |config| config.sandbox = mode);
        }
        if self.keys.is_some() {
            layers.change("--keys", |config| config.keys.file.clone_from(&self.keys));
        }
        if self.insecure {
            layers.change("--insecure", |config| config.insecure = true);
        }
        if self.tls_cert.is_some() {
            layers.change("--tls-cert", |config| {
                config.tls_certificate.clone_from(&self.tls_cert);
            });
            layers.change("--tls-key", |config| {
                config.tls_key.clone_from(&self.tls_key)
            });
        }
        Ok(layers)
    }
}

/// Writes settings instead of serving.
///
/// # Errors
/// When a file of settings cannot be used, or nothing can be written.
fn print(args: &Args, printed: Printed, console: &mut Console<'_>) -> Result<(), Error> {
    let layers = args.settings(&Environment::of_process())?;
    match printed {
        Printed::Toml => {
            for text in &layers.unreadable {
                writeln!(console.err, "{text}")?;
            }
            layers.print(console.out)?;
        }
        Printed::Schema => writeln!(console.out, "{:#}", file::schema())?,
    }
    Ok(())
}

/// Serves until a signal.
pub fn run(args: &Args) -> ExitCode {
    if let Some(printed) = args.print_config {
        return on_console(|console| print(args, printed, console));
    }
    let layers = match args.settings(&Environment::of_process()) {
        Ok(layers) => layers,
        Err(error) => return on_console(|_| Err(error.into())),
    };
    let config = layers.config;
    telemetry::init(&config.log, config.log_is_json);
    for text in &layers.unreadable {
        warn!("{text}");
    }
    telemetry::queue();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the system has room for a few threads");
    let result = runtime.block_on(serve(config));
    // Workers end with this process; what blocks has nothing left to say.
    runtime.shutdown_background();
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "server ended");
            ExitCode::FAILURE
        }
    };
    telemetry::flush();
    code
}

async fn serve(mut config: Config) -> io::Result<()> {
    let edge = Edge::of(&config).map_err(io::Error::other)?;
    let listener = bind(&config).await?;
    let metrics = metrics::install().map_err(io::Error::other)?;
    config.enforced = worker::try_sandbox(config.sandbox)
        .await
        .map_err(io::Error::other)?;
    metrics::worker_confined(config.enforced);
    tell_sandbox(&config);
    let config = Arc::new(config);
    traces::start(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .map_err(io::Error::other)?;
    let store = open_store(&config)?;
    if let Err(missing) = crate::engine::onnx::library::find(config.ort_library.as_deref()) {
        warn!("{missing}");
    }
    let models = Models::new(Arc::clone(&config), store.clone());
    let app = App::new(Arc::clone(&config), store, models, metrics, edge);
    let app = Arc::new(app);
    reload_on_hangup(&app);
    info!(address = %listener.local_addr()?, models = %config.models.display(), "listening");
    worker::settle();
    let supervisor = Supervisor::from_environment();
    if let Some(supervisor) = &supervisor {
        supervisor.tell(State::Ready);
        supervisor.stay_alive();
    }
    let stopping = async move {
        stop_signal().await;
        if let Some(supervisor) = supervisor {
            supervisor.tell(State::Stopping);
        }
    };
    let served = api::serve(listener, app, stopping).await;
    // What it waits for is sent by this runtime.
    let _ = tokio::task::spawn_blocking(traces::stop).await;
    served
}

fn tell_sandbox(config: &Config) {
    let (mode, enforced) = (config.sandbox.name(), config.enforced);
    if config.sandbox == Mode::Off {
        warn!("workers are not locked in: a malicious model file could do what this user can");
    } else if enforced.is_whole() {
        info!(mode, "workers are locked in");
    } else {
        warn!(
            mode,
            ?enforced,
            "workers are locked in with gaps: this kernel lacks Landlock or seccomp"
        );
    }
}

/// Reads keys and certificate anew at every SIGHUP. Where there are none the signal ends the process, as it does any other.
fn reload_on_hangup(app: &Arc<App>) {
    if !app.edge.can_reload() {
        return;
    }
    let mut hangup = signal(SignalKind::hangup()).expect("signals can be listened to");
    let app = Arc::clone(app);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match app.edge.reload() {
                Ok(()) => info!("keys and certificate are read anew"),
                Err(error) => {
                    error!(%error, "not everything could be read anew; the rest is as it was")
                }
            }
        }
    });
}

async fn bind(config: &Config) -> io::Result<TcpListener> {
    let host = &config.host;
    let explain = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "; is Ollama or another chaski running? Choose another with OLLAMA_HOST"
            }
            io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges",
            _ => "",
        };
        io::Error::new(
            error.kind(),
            format!(
                "cannot listen on {}:{}: {error}{remedy}",
                host.name, host.port
            ),
        )
    };
    let addresses = host.addresses().await.map_err(explain)?;
    keep_strangers_out(config, &addresses)?;
    TcpListener::bind(addresses.as_slice())
        .await
        .map_err(explain)
}

/// Refuses to let a whole network in by accident.
fn keep_strangers_out(config: &Config, addresses: &[SocketAddr]) -> io::Result<()> {
    let is_reached = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
    let Some(address) = addresses.iter().find(|address| is_reached(address)) else {
        return Ok(());
    };
    if config.keys.is_some() {
        if config.tls_certificate.is_none() {
            warn!(%address, "keys cross the network as they are; --tls-cert and --tls-key hide them");
        }
        return Ok(());
    }
    if config.insecure {
        warn!(%address, "everybody who reaches this address may use and change the models");
        return Ok(());
    }
    Err(io::Error::other(format!(
        "listening on {address} would let everybody on the network use and change the models. Make keys with `chaski key` and \
         name their file (--keys, CHASKI_KEYS), or set CHASKI_API_KEY. If something in front of the server knows who may ask, or \
         nobody is to be kept out, say --insecure (CHASKI_INSECURE=1)"
    )))
}

/// Opens the store, puts the built-in models in, and removes what interrupted operations left.
fn open_store(config: &Config) -> io::Result<Store> {
    let explain = |what: &str, error: &dyn std::fmt::Display| {
        io::Error::other(format!("{what} {}: {error}", config.models.display()))
    };
    let store = Store::open_with(&config.models, config.go_templates)
        .map_err(|error| explain("cannot use the models folder", &error))?;
    // A store that cannot be written still serves what it holds.
    if let Err(error) = store.seed(builtin::MODELS) {
        warn!(%error, "the built-in models could not be put into the store");
    }
    if !config.no_prune {
        match store.prune(PRUNE_AGE) {
            Ok(pruned) => info!(?pruned, "store pruned"),
            Err(error) => warn!(%error, "the store could not be pruned"),
        }
    }
    Ok(store)
}

/// Returns at the first SIGINT or SIGTERM; a second one ends the process at once.
async fn stop_signal() {
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be listened to");
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be listened to");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    info!("stopping; requests under way may finish");
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        warn!("second signal; stopping now");
        telemetry::flush();
        std::process::exit(130);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_let_in_only_with_a_key_or_on_purpose() {
        let check = |address: &str, variable: Option<(&str, &str)>, is_fine: bool| {
            let environment = variable.map(|variable| Environment::of([variable]));
            let config = Config::from_environment(&environment.unwrap_or_default());
            let addresses = ["127.0.0.1:1".parse().unwrap(), address.parse().unwrap()];
            let kept_out = keep_strangers_out(&config, &addresses);
            assert_eq!(kept_out.is_ok(), is_fine, "{address} {variable:?}");
            if let Err(error) = kept_out {
                assert!(error.to_string().contains(address), "{error}");
            }
        };
        for own in [
            "127.0.0.1:11434",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            check(own, None, true);
        }
        for reached in [
            "0.0.0.0:11434",
            "[::]:11434",
            "192.168.0.7:1",
            "[fe80::1]:1",
        ] {
            check(reached, None, false);
            check(reached, Some(("CHASKI_INSECURE", "no")), false);
            check(reached, Some(("CHASKI_INSECURE", "0")), false);
            check(reached, Some(("CHASKI_INSECURE", "1")), true);
            check(reached, Some(("CHASKI_API_KEY", "whatever it is")), true);
            check(reached, Some(("CHASKI_KEYS", "/a/file")), true);
        }
    }
}

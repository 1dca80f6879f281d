//! `chaski serve`: from configuration to a listening server, and from a signal to its end.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::config::{Config, Host};
use crate::models::Models;
use crate::sandbox::Mode;
use crate::store::{PRUNE_AGE, Store};
use crate::{api, builtin, metrics, worker};

/// Options of `serve`; each has an environment variable with the same meaning.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Address to listen on, as host:port [default: 127.0.0.1:11434] [env: OLLAMA_HOST]
    #[arg(long)]
    host: Option<String>,
    /// Folder of the models [default: ~/.ollama/models] [env: OLLAMA_MODELS]
    #[arg(long)]
    models: Option<std::path::PathBuf>,
    /// The ONNX Runtime library [default: looked for in the usual places] [env: ORT_DYLIB_PATH]
    #[arg(long)]
    ort_lib: Option<std::path::PathBuf>,
    /// How workers are locked in: required, best-effort or off [default: best-effort] [env: CHASKI_SANDBOX]
    #[arg(long, value_name = "MODE", value_parser = sandbox_mode)]
    sandbox: Option<Mode>,
}

fn sandbox_mode(typed: &str) -> Result<Mode, &'static str> {
    Mode::parse(typed).ok_or("there is required, best-effort and off")
}

/// Serves until a signal.
pub fn run(args: &Args, mut config: Config) -> ExitCode {
    if let Some(host) = &args.host {
        config.host = Host::parse(host);
    }
    if let Some(models) = &args.models {
        config.models.clone_from(models);
    }
    if args.ort_lib.is_some() {
        config.ort_library.clone_from(&args.ort_lib);
    }
    if let Some(mode) = args.sandbox {
        config.sandbox = mode;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the system has room for a few threads");
    let result = runtime.block_on(serve(config));
    // Workers end with this process; what blocks has nothing left to say.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "server ended");
            ExitCode::FAILURE
        }
    }
}

async fn serve(mut config: Config) -> io::Result<()> {
    let listener = bind(&config.host).await?;
    let metrics = metrics::install().map_err(io::Error::other)?;
    config.enforced = worker::try_sandbox(config.sandbox)
        .await
        .map_err(io::Error::other)?;
    metrics::worker_confined(config.enforced);
    tell_sandbox(&config);
    let config = Arc::new(config);
    let store = open_store(&config)?;
    if let Err(missing) = crate::engine::onnx::library::find(config.ort_library.as_deref()) {
        warn!("{missing}");
    }
    let models = Models::new(Arc::clone(&config), store.clone());
    let app = Arc::new(api::App::new(Arc::clone(&config), store, models, metrics));
    info!(address = %listener.local_addr()?, models = %config.models.display(), "listening");
    api::serve(listener, app, stop_signal()).await
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

async fn bind(host: &Host) -> io::Result<TcpListener> {
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
    TcpListener::bind(addresses.as_slice())
        .await
        .map_err(explain)
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
        std::process::exit(130);
    });
}

//! A server with known answers at known times: what it sends is scripted, so what is measured can be checked.
//!
//! It speaks the routes that `routes` asks for, and on request lacks one, fails in a chosen way, or lets a child process
//! hold memory. It is written against the API, not against the client: nothing here imports the measuring side.

mod fault;
mod memory;
mod pace;
mod replies;
mod script;
pub mod worker;

use std::{
    collections::BTreeSet,
    io::{self, Write},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    routing::{get, post},
    serve::ListenerExt,
};
use tokio::{net::TcpListener, sync::Semaphore};

use fault::Faults;
use memory::Replies;
use pace::Pace;

/// How the mock behaves.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Address to listen on; port 0 takes a free one, which is printed
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:11499")]
    listen: SocketAddr,

    /// From request to first text
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = crate::units::duration)]
    ttft: Duration,

    /// From one piece of text to the next
    #[arg(long, value_name = "DURATION", default_value = "5ms", value_parser = crate::units::duration)]
    itl: Duration,

    /// Tokens in each piece of text
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    tokens_per_chunk: u64,

    /// End the text by itself after this many tokens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    eos_at: Option<u64>,

    /// From request to vector
    #[arg(long, value_name = "DURATION", default_value = "3ms", value_parser = crate::units::duration)]
    embed_time: Duration,

    /// From request to labels
    #[arg(long, value_name = "DURATION", default_value = "2ms", value_parser = crate::units::duration)]
    classify_time: Duration,

    /// Numbers in each vector
    #[arg(long, value_name = "N", default_value_t = 16)]
    dimensions: usize,

    /// Labels of the classifier
    #[arg(long, value_name = "LABEL", value_delimiter = ',', default_values = ["positive", "neutral", "negative"])]
    labels: Vec<String>,

    /// Models it has
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values = ["tiny", "tiny-embed", "tiny-classify"])]
    models: Vec<String>,

    /// Bytes that each model's files are said to have
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20)]
    model_bytes: u64,

    /// Routes it does not have
    #[arg(long, value_name = "ROUTE", value_delimiter = ',')]
    lack: Vec<Lack>,

    /// Fail in this way, in every reply or in every Nth
    #[arg(long = "fault", value_name = "KIND[:N]")]
    faults: Vec<fault::Fault>,

    /// How long the fault `stall` waits in the middle of a reply
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = crate::units::duration)]
    stall: Duration,

    /// Requests that are worked on at once; the others wait for their turn [default: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slots: Option<u32>,

    /// Let a child process hold this much memory while a model is loaded
    #[arg(long, value_name = "MIB")]
    worker_mib: Option<usize>,

    /// How the times vary.
    #[command(flatten)]
    pace: pace::Args,

    /// Remember every reply and repeat it at once when the same prompt comes again
    #[arg(long)]
    reply_cache: bool,

    /// Write into every piece when the request arrived and when the piece was sent (Unix time in nanoseconds)
    #[arg(long)]
    stamp: bool,

    /// Tokens of context that models are said to have
    #[arg(long, value_name = "TOKENS", default_value_t = 4096)]
    context: u64,

    /// What weights models are said to have: the same word, the same weights
    #[arg(long, value_name = "WORD", default_value = "")]
    weights: String,

    /// Let the child process take this much more memory after so many requests: 300@50
    #[arg(long, value_name = "MIB@REQUESTS", requires = "worker_mib")]
    worker_grows: Option<worker::Growth>,
}

/// A route that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Lack {
    Generate,
    Embed,
    Classify,
    Chat,
    Openai,
    Tei,
}

/// What every handler sees.
#[derive(Debug, Clone)]
struct Mock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    args: Args,
    faults: Faults,
    pace: Pace,
    replies: Replies,
    worker: worker::Worker,
    slots: Option<Arc<Semaphore>>,
    /// Models asked for and not unloaded since; at most as many as there are models.
    loaded: Mutex<BTreeSet<String>>,
}

/// Serves until the process is ended. Prints `listening on http://ADDRESS` once it can be asked.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(args: Args) -> io::Result<()> {
    let worker = worker::Worker::new(args.worker_mib, args.worker_grows);
    let listener = TcpListener::bind(args.listen).await?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;
    // Without this, Nagle's algorithm and delayed acknowledgements hold small pieces back for 40 ms.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    axum::serve(listener, app(args, worker)).await
}

fn app(args: Args, worker: worker::Worker) -> Router {
    let has = |route| !args.lack.contains(&route);
    let mut app = Router::new()
        .route("/api/version", get(replies::version))
        .route("/api/tags", get(replies::tags))
        .route("/api/ps", get(replies::ps))
        .route("/api/show", post(replies::show));
    if has(Lack::Generate) {
        app = app.route("/api/generate", post(replies::generate));
    }
    if has(Lack::Embed) {
        app = app.route("/api/embed", post(replies::embed));
    }
    if has(Lack::Classify) {
        app = app.route("/classify", post(replies::classify));
    }
    if has(Lack::Chat) {
        app = app.route("/api/chat", post(replies::chat));
    }
    if has(Lack::Openai) {
        app = app
            .route("/v1/completions", post(replies::openai_completion))
            .route("/v1/chat/completions", post(replies::openai_chat))
            .route("/v1/embeddings", post(replies::openai_embed));
    }
    if has(Lack::Tei) {
        app = app
            .route("/embed", post(replies::tei_embed))
            .route("/predict", post(replies::tei_predict));
    }
    let faults = Faults::new(&args.faults);
    let slots = args
        .slots
        .map(|slots| Arc::new(Semaphore::new(slots as usize)));
    let pace = Pace::new(&args.pace);
    app.fallback(replies::page_not_found)
        .with_state(Mock(Arc::new(Shared {
            args,
            faults,
            pace,
            replies: Replies::default(),
            worker,
            slots,
            loaded: Mutex::default(),
        })))
}

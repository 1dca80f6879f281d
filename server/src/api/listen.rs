//! The accept loop, with the deadlines that `axum::serve` lacks.
//!
//! A connection has [`FIRST_HEAD_LIMIT`] to agree on TLS, where that is spoken, and to send its first request's head, may then
//! be idle or send further heads for [`IDLE_LIMIT`], and is cut when the client takes nothing of a reply for [`UNREAD_LIMIT`].
//! More than [`MAX_CONNECTIONS`] wait in the kernel's backlog until one closes.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use super::{App, router};

/// Connections that are served at a time.
pub const MAX_CONNECTIONS: usize = 4_096;

/// From accepting a connection to the end of its first request's head, TLS included.
const FIRST_HEAD_LIMIT: Duration = Duration::from_secs(10);

/// From the end of one reply to the end of the next request's head.
const IDLE_LIMIT: Duration = Duration::from_secs(90);

/// How long bytes of a reply may go unacknowledged.
const UNREAD_LIMIT: Duration = Duration::from_secs(60);

/// Bytes of a reply that the kernel takes beyond what the client has room for. Without a bound it takes megabytes of its own memory for a
/// client that does not read, and the generation learns so much later of it.
const UNSENT_BYTES: u32 = 128 * 1024;

/// Largest head of a request, and what hyper reads ahead.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long streams that outlast the drain have to say that they end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Pause after `accept` failed, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the app until `shutdown`, then lets the requests under way end, for as long as the configuration allows. Those that
/// are left then end with an error.
///
/// While it drains it goes on to answer new connections, so that a load balancer hears from `/readyz` what is going on
/// and others are told to come back.
///
/// # Errors
/// When the listener cannot be used at all.
pub async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let drain_limit = app.config.drain_timeout;
    let (drain, draining) = watch::channel(false);
    let door = Door {
        router: router(Arc::clone(&app), listener.local_addr()?),
        app: Arc::clone(&app),
        listener,
        places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        draining,
    };
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            connection = door.accept() => drop(connections.spawn(connection.serve())),
            Some(_) = connections.join_next() => {}
            () = &mut shutdown => break,
        }
    }
    app.drain();
    drain.send_replace(true);
    tracing::info!(connections = connections.len(), "draining");
    let deadline = Instant::now() + drain_limit;
    // Aborted when it goes out of scope: nobody waits for those who come this late.
    let mut late = JoinSet::new();
    loop {
        tokio::select! {
            done = connections.join_next() => if done.is_none() { return Ok(()) },
            connection = door.accept() => drop(late.spawn(connection.serve())),
            Some(_) = late.join_next() => {}
            () = sleep_until(deadline) => {
                tracing::warn!(connections = connections.len(), "cutting the connections that are left");
                app.models.dismiss();
                let told = async { while connections.join_next().await.is_some() {} };
                // Who does not read it by then is cut all the same.
                let _ = timeout(LAST_WORDS, told).await;
                return Ok(());
            }
        }
    }
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
    app: Arc<App>,
    router: Router,
    places: Arc<Semaphore>,
    draining: watch::Receiver<bool>,
}

impl Door {
    /// The next connection, once there is a place for it.
    async fn accept(&self) -> Connection {
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .expect("nobody closes the semaphore");
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    return Connection {
                        stream,
                        tls: self.app.edge.tls(),
                        router: self.router.clone(),
                        draining: self.draining.clone(),
                        _place: place,
                    };
                }
                // A peer that has gone already says nothing about the listener.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted now");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A connection and the place it takes up.
struct Connection {
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    draining: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self) {
        prepare(&self.stream);
        let deadline = Instant::now() + FIRST_HEAD_LIMIT;
        let Some(tls) = &self.tls else {
            return answer(self.stream, self.router, self.draining, deadline).await;
        };
        match timeout_at(deadline, agree(tls, self.stream)).await {
            Ok(Ok(stream)) => answer(stream, self.router, self.draining, deadline).await,
            Ok(Err(error)) => tracing::debug!(%error, "connection did not come to TLS"),
            Err(_) => tracing::debug!("connection did not come to TLS in time"),
        }
    }
}

/// Begins TLS. Whoever does not even try is told so, in a way that people and programs understand.
async fn agree(tls: &TlsAcceptor, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    /// The first byte of every connection that begins with TLS.
    const HANDSHAKE: u8 = 22;
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        stream.write_all(NOT_TLS).await?;
        stream.shutdown().await?;
        // What is not read when a socket closes may cost the client what it was told.
        let mut rest = stream.take(NOT_TLS_REST_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        return Err(io::Error::other("the client speaks no TLS"));
    }
    tls.accept(stream).await
}

/// Most that is read of who speaks no TLS where only that is spoken.
const NOT_TLS_REST_BYTES: u64 = 64 * 1024;

/// Go's words for it.
const NOT_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n\
                         Client sent an HTTP request to an HTTPS server.\n";

/// Answers the requests of a connection, the first of which must have its head sent before `deadline`.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    mut draining: watch::Receiver<bool>,
    deadline: Instant,
) {
    let first_head = Arc::new(Notify::new());
    let service = service_fn(|request: Request<Incoming>| {
        first_head.notify_one();
        let router = router.clone();
        async move { router.oneshot(request.map(Body::new)).await }
    });
    // Who comes while the server drains is answered once; a graceful shutdown would hang up before the request.
    let mut told = *draining.borrow();
    let connection = http1::Builder::new()
        .keep_alive(!told)
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_LIMIT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);

    let head_limit = async {
        if timeout_at(deadline, first_head.notified()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let mut head_limit = pin!(head_limit);
    loop {
        tokio::select! {
            // What fails here is the client's: a broken head, a closed socket. The requests have their own log.
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = &mut head_limit => {
                tracing::debug!("connection sent no request in time");
                return;
            }
            _ = draining.wait_for(|draining| *draining), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Small pieces leave at once, and a reader that has stopped reading is noticed. None of it is worth a refusal.
fn prepare(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let options = [
        socket.set_tcp_nodelay(true),
        socket.set_tcp_user_timeout(Some(UNREAD_LIMIT)),
        socket.set_tcp_notsent_lowat(UNSENT_BYTES),
    ];
    for error in options.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "socket option refused");
    }
}

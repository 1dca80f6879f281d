//! The accept loop, with the deadlines that `axum::serve` lacks.
//!
//! A connection has [`FIRST_HEAD_LIMIT`] to send its first request's head, may then be idle or send further heads for
//! [`IDLE_LIMIT`], and is cut when the client takes nothing of a reply for [`UNREAD_LIMIT`]. More than
//! [`MAX_CONNECTIONS`] wait in the kernel's backlog until one closes.

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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tower::ServiceExt;

use super::{App, router};

/// Connections that are served at a time.
pub const MAX_CONNECTIONS: usize = 4_096;

/// From accepting a connection to the end of its first request's head.
const FIRST_HEAD_LIMIT: Duration = Duration::from_secs(10);

/// From the end of one reply to the end of the next request's head.
const IDLE_LIMIT: Duration = Duration::from_secs(90);

/// How long bytes of a reply may go unacknowledged.
const UNREAD_LIMIT: Duration = Duration::from_secs(60);

/// Largest head of a request, and what hyper reads ahead.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Pause after `accept` failed, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the app until `shutdown`, then lets the requests under way end, for as long as the configuration allows.
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
                return Ok(());
            }
        }
    }
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
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
    router: Router,
    draining: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(mut self) {
        prepare(&self.stream);
        let first_head = Arc::new(Notify::new());
        let service = service_fn(|request: Request<Incoming>| {
            first_head.notify_one();
            let router = self.router.clone();
            async move { router.oneshot(request.map(Body::new)).await }
        });
        // Who comes while the server drains is answered once; a graceful shutdown would hang up before the request.
        let mut told = *self.draining.borrow();
        let connection = http1::Builder::new()
            .keep_alive(!told)
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_LIMIT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(self.stream), service);
        let mut connection = pin!(connection);

        let head_limit = async {
            if tokio::time::timeout(FIRST_HEAD_LIMIT, first_head.notified())
                .await
                .is_ok()
            {
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
                _ = self.draining.wait_for(|draining| *draining), if !told => {
                    told = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Small pieces leave at once, and a reader that has stopped reading is noticed. Neither is worth a refusal.
fn prepare(stream: &TcpStream) {
    let milliseconds =
        u32::try_from(UNREAD_LIMIT.as_millis()).expect("a minute is few milliseconds");
    let unread = rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds);
    if let (Err(error), _) | (_, Err(error)) =
        (stream.set_nodelay(true), unread.map_err(io::Error::from))
    {
        tracing::debug!(%error, "socket option refused");
    }
}

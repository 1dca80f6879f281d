//! `chaski top`: what a running server does, again and again: models, slots, queues, memory, tokens per second.
//!
//! Everything is drawn from `/metrics`, so that it shows what a dashboard would. [`scrape`] reads one reply, [`view`] makes
//! figures of two.

mod scrape;
mod view;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::scrape::Scrape;
use self::view::View;
use super::client::Client;
use super::console::Console;
use super::error::Error;
use super::format::table;

/// Options of `top`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
    interval: Duration,
    /// Look twice, show what happened in between, and end
    #[arg(long)]
    once: bool,
}

/// Oftener is work for the server, seldomer no live view.
fn interval(typed: &str) -> Result<Duration, &'static str> {
    let seconds = typed.parse::<f64>().ok();
    let seconds = seconds.filter(|seconds| (0.1..=3600.0).contains(seconds));
    let seconds = seconds.ok_or("a number of seconds from 0.1 to 3600 is needed")?;
    Ok(Duration::from_secs_f64(seconds))
}

/// The other screen of a terminal, without a cursor.
const OPEN: &str = "\x1b[?1049h\x1b[?25l";
/// As it was before.
const CLOSE: &str = "\x1b[?25h\x1b[?1049l";
/// To the first line.
const HOME: &str = "\x1b[H";
/// To the end of the line, and to the end of the screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";

/// Shows it until somebody stops it, on a terminal drawn over itself, elsewhere as lines.
///
/// # Errors
/// When the server cannot be asked at first, or, where lines are written, at any time; when nothing can be written any more.
pub async fn run(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    let mut before = look(client).await?;
    let is_drawn = console.columns.is_some() && !args.once;
    if is_drawn {
        write!(console.out, "{OPEN}")?;
        console.out.flush()?;
    }
    let watched = tokio::select! {
        watched = watch(args, client, console, &mut before, is_drawn) => watched,
        // Whoever interrupts a view has seen enough.
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    if is_drawn {
        write!(console.out, "{CLOSE}")?;
    }
    watched
}

/// One reading and its moment.
async fn look(client: &Client) -> Result<(Scrape, Instant), Error> {
    let text = client.get_text("/metrics").await?;
    Ok((Scrape::parse(&text), Instant::now()))
}

async fn watch(
    args: &Args,
    client: &Client,
    console: &mut Console<'_>,
    before: &mut (Scrape, Instant),
    is_drawn: bool,
) -> Result<(), Error> {
    loop {
        tokio::time::sleep(args.interval).await;
        match look(client).await {
            Ok(now) => {
                let lines = lines(before, &now)?;
                match console.columns {
                    Some(columns) if is_drawn => draw(console.out, &lines, columns)?,
                    _ => writeln!(console.out, "{}", lines.join("\n"))?,
                }
                *before = now;
            }
            // A server that is started anew comes back.
            Err(error) if is_drawn => {
                draw(console.out, &[format!("{error}; trying again")], usize::MAX)?;
            }
            Err(error) => return Err(error),
        }
        if args.once {
            return Ok(());
        }
        if !is_drawn {
            writeln!(console.out)?;
        }
        console.out.flush()?;
    }
}

fn lines(before: &(Scrape, Instant), now: &(Scrape, Instant)) -> Result<Vec<String>, Error> {
    let view = View {
        before: &before.0,
        now: &now.0,
        seconds: (now.1 - before.1).as_secs_f64(),
    };
    let mut lines = view
        .server(Timestamp::now().as_duration().as_secs_f64())
        .to_vec();
    lines.push(String::new());
    let mut models = Vec::new();
    table(&mut models, &view.models())?;
    let models = String::from_utf8_lossy(&models);
    lines.extend(models.lines().map(str::to_owned));
    Ok(lines)
}

/// Over what was there before, each line as far as there is room.
fn draw(out: &mut dyn Write, lines: &[String], columns: usize) -> io::Result<()> {
    write!(out, "{HOME}")?;
    for line in lines {
        let shown: String = line.chars().take(columns).collect();
        write!(out, "{shown}{CLEAR_LINE}\r\n")?;
    }
    write!(out, "{CLEAR_REST}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{Reply, ScriptedServer, ran};

    fn args(once: bool) -> Args {
        Args {
            interval: Duration::from_millis(1),
            once,
        }
    }

    #[tokio::test]
    async fn two_looks_make_one_view() {
        let first = Reply::ok("llm_slots{model=\"a\"} 2\nllm_requests_total{model=\"a\"} 1\n");
        let second = Reply::ok("llm_slots{model=\"a\"} 2\nllm_requests_total{model=\"a\"} 1\n");
        let server =
            ScriptedServer::start([("GET /metrics", first), ("GET /metrics", second)]).await;
        let ran = ran(Some(80), async |console| {
            run(&args(true), &server.client, console).await
        })
        .await;
        assert_eq!(server.routes().len(), 2);
        assert!(ran.err.is_empty(), "{}", ran.err);
        // One view is no live one: nothing is drawn over.
        assert!(!ran.out.contains('\x1b'), "{}", ran.out);
        assert!(
            ran.out.ends_with("-\n") && ran.out.contains("\na "),
            "{}",
            ran.out
        );
    }

    #[tokio::test]
    async fn lines_end_with_the_server_and_say_why() {
        let well = Reply::ok("llm_slots{model=\"a\"} 2\n");
        let gone = Reply::refused(503, "{\"error\":\"draining\"}");
        let script = [
            ("GET /metrics", well.clone()),
            ("GET /metrics", well),
            ("GET /metrics", gone),
        ];
        let server = ScriptedServer::start(script).await;
        let ran = ran(None, async |console| {
            run(&args(false), &server.client, console).await
        })
        .await;
        assert_eq!(ran.err, "Error: draining\n");
        assert_eq!(ran.out.matches("MODEL").count(), 1, "{}", ran.out);
    }

    #[test]
    fn a_drawing_covers_what_was_there_and_ends_at_the_edge() {
        let mut out = Vec::new();
        draw(&mut out, &["abcdef".into(), "g".into()], 4).unwrap();
        let drawn = String::from_utf8(out).unwrap();
        assert_eq!(drawn, "\x1b[Habcd\x1b[K\r\ng\x1b[K\r\n\x1b[J");
    }

    #[test]
    fn an_interval_is_a_time_that_makes_sense() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for nonsense in ["0", "-1", "nan", "inf", "1e9", "soon"] {
            assert!(interval(nonsense).is_err(), "{nonsense}");
        }
    }
}

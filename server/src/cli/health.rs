//! `chaski health`: whether the server takes requests, for supervisors that run a command. It needs no key.

use super::client::Client;
use super::console::Console;
use super::error::Error;

/// Says so if it does.
///
/// # Errors
/// When the server cannot be asked or is about to stop.
pub async fn run(client: &Client, console: &mut Console<'_>) -> Result<(), Error> {
    let told = client.get_text("/readyz").await?;
    writeln!(console.out, "{told}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{Reply, ScriptedServer, ran};

    #[tokio::test]
    async fn a_server_that_stops_is_not_healthy() {
        let ready = Reply::ok("ready");
        let draining = Reply::refused(503, "draining");
        let server =
            ScriptedServer::start([("GET /readyz", ready), ("GET /readyz", draining)]).await;
        let first = ran(None, async |console| run(&server.client, console).await).await;
        assert_eq!((first.out.as_str(), first.err.as_str()), ("ready\n", ""));
        let second = ran(None, async |console| run(&server.client, console).await).await;
        assert!(
            second.out.is_empty() && second.err.contains("draining"),
            "{}",
            second.err
        );
    }
}

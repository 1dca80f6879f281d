use super::Stopped;

/// The options of `compare`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Carries `compare` out.
///
/// # Errors
/// [`Stopped`] when there is no result.
pub async fn execute(_args: Args) -> Result<u8, Stopped> {
    Err(Stopped::usage(
        "`compare` comes with the next version; `loadgen --help` lists the commands",
    ))
}

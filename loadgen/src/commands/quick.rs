use super::Stopped;

/// The options of `quick`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Carries `quick` out.
///
/// # Errors
/// [`Stopped`] when there is no result.
pub async fn execute(_args: Args) -> Result<u8, Stopped> {
    Err(Stopped::usage(
        "`quick` comes with the next version; `loadgen --help` lists the commands",
    ))
}

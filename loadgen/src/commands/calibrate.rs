use super::Stopped;

/// The options of `calibrate`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Carries `calibrate` out.
///
/// # Errors
/// [`Stopped`] when there is no result.
pub async fn execute(_args: Args) -> Result<u8, Stopped> {
    Err(Stopped::usage(
        "`calibrate` comes with the next version; `loadgen --help` lists the commands",
    ))
}

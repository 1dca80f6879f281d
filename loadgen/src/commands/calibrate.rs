use super::Stopped;
use crate::{
    calibration::{self, Level},
    exit::Exit,
};

/// The options of `calibrate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Streams that are timed at each level
    #[arg(long, value_name = "N", default_value_t = 256)]
    streams: usize,

    /// Print the noise without keeping it for later reports
    #[arg(long)]
    dry_run: bool,
}

/// Measures the noise floor of this client on this machine, prints it, and keeps it for later reports.
///
/// # Errors
/// [`Stopped`] when the mock or its streams fail, or the result cannot be kept.
pub async fn execute(args: Args) -> Result<u8, Stopped> {
    let calibration = calibration::measure(args.streams)
        .await
        .map_err(|error| Stopped {
            exit: Exit::Failed,
            message: error.to_string(),
        })?;
    let machine = &calibration.machine;
    println!(
        "added by this client on {} x {}, Linux {}:",
        machine.cpus, machine.cpu, machine.kernel
    );
    println!("  streams   to the first text, ms      to a later piece, ms     pieces");
    println!("               P50        P99             P50        P99");
    for Level {
        streams,
        pieces,
        latency,
        arrival,
    } in &calibration.levels
    {
        println!(
            "  {streams:>7} {:>10.3} {:>10.3}      {:>10.3} {:>10.3} {pieces:>10}",
            latency.p50, latency.p99, arrival.p50, arrival.p99
        );
    }
    if args.dry_run {
        return Ok(Exit::Ok.code());
    }
    match calibration.store() {
        Ok(path) => println!("kept in {} for later reports", path.display()),
        Err(error) => {
            return Err(Stopped {
                exit: Exit::Failed,
                message: format!(
                    "the result cannot be kept: {error}; pass --dry-run to only print it"
                ),
            });
        }
    }
    Ok(Exit::Ok.code())
}

//! `chaski completions`: the script by which a shell completes commands and options.

use clap_complete::{Shell, generate};

use super::console::Console;
use super::error::Error;

/// Options of `completions`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Writes it.
///
/// # Errors
/// When it cannot be written.
pub fn run(
    args: &Args,
    mut program: clap::Command,
    console: &mut Console<'_>,
) -> Result<(), Error> {
    // The generator panics where it cannot write, so that it writes into memory.
    let mut script = Vec::new();
    generate(args.shell, &mut program, "chaski", &mut script);
    Ok(console.out.write_all(&script)?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::ValueEnum;

    use super::*;
    use crate::cli::testing::printed;

    #[test]
    fn every_shell_knows_every_command_and_option() {
        for shell in Shell::value_variants() {
            let args = Args { shell: *shell };
            let program = crate::cli::Args::command();
            let (result, script) = printed(|console| run(&args, program.clone(), console));
            result.unwrap();
            for command in program
                .get_subcommands()
                .filter(|command| !command.is_hide_set())
            {
                assert!(script.contains(command.get_name()), "{shell}: {command}");
                for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                    // Fish writes `-l option`.
                    assert!(script.contains(option), "{shell}: {command} --{option}");
                }
            }
            assert!(
                !script.contains("chaski__worker"),
                "{shell} shows what is hidden"
            );
        }
    }
}

//! `chaski man`: the manual, one page for each command, drawn from what the command line knows.

use std::fs;
use std::path::PathBuf;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::console::Console;
use super::error::Error;
use crate::config::settings::SETTINGS;

/// Options of `man`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder that gets the pages, such as /usr/local/share/man/man1
    folder: PathBuf,
}

/// Writes them.
///
/// # Errors
/// When the folder or a page in it cannot be written.
pub fn run(args: &Args, program: clap::Command, console: &mut Console<'_>) -> Result<(), Error> {
    fs::create_dir_all(&args.folder).map_err(Error::file(&args.folder))?;
    let pages = pages(program)?;
    for (name, page) in &pages {
        let path = args.folder.join(name);
        fs::write(&path, page).map_err(Error::file(&path))?;
    }
    let folder = args.folder.display();
    writeln!(console.out, "{} pages in {folder}", pages.len())?;
    Ok(())
}

/// The names and texts of all pages.
fn pages(program: clap::Command) -> Result<Vec<(String, Vec<u8>)>, Error> {
    // Names the commands in full, `chaski-serve`, and gives each its `--help`.
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = vec![page(program.clone(), Some(&client_environment()))?];
    for command in program
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        let more = (command.get_name() == "serve").then(settings);
        pages.push(page(command.clone(), more.as_ref())?);
    }
    Ok(pages)
}

fn page(command: clap::Command, more: Option<&Roff>) -> Result<(String, Vec<u8>), Error> {
    let is_program = command.get_subcommands().next().is_some();
    let version = concat!("chaski ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command).source(version).manual("Chaski");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if is_program {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(more) = more {
        more.to_writer(&mut text)?;
    }
    Ok((man.get_filename(), text))
}

/// What the commands that ask a server take from the environment.
fn client_environment() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["ENVIRONMENT"]);
    let variables = [
        (
            "OLLAMA_HOST",
            "the server that is asked, as [scheme://]host[:port]",
        ),
        (
            "CHASKI_API_KEY, OLLAMA_API_KEY",
            "the key that is shown to it",
        ),
        (
            "SSL_CERT_FILE",
            "certificates that are trusted instead of the system's, as PEM",
        ),
    ];
    for (variable, about) in variables {
        roff.control("TP", []);
        roff.text([bold(variable)]);
        roff.text([roman(about)]);
    }
    roff
}

/// All settings of the server.
fn settings() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SETTINGS"]);
    roff.text([roman(
        "An option goes before an environment variable, a variable before the file of --config (or CHASKI_CONFIG), which is TOML with the keys below. \
         --print-config shows what counts and where it came from.",
    )]);
    for setting in SETTINGS {
        roff.control("TP", []);
        roff.text([
            bold(setting.key),
            roman(", "),
            italic(setting.variables.join(", ")),
        ]);
        roff.text([roman(format!(
            "{}: {}",
            setting.about,
            setting.kind.words()
        ))]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::testing::printed;

    /// As a reader sees it, nearly.
    fn plain(page: &[u8]) -> String {
        let text = String::from_utf8(page.to_vec()).unwrap();
        text.replace("\\*(Aq", "'")
            .replace("\\-", "-")
            .replace("\\fB", "")
            .replace("\\fI", "")
            .replace("\\fR", "")
    }

    #[test]
    fn every_command_has_a_page_with_all_its_options() {
        let program = crate::cli::Args::command();
        let pages = pages(program.clone()).unwrap();
        let commands = program
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        let mut count = 1;
        for command in commands {
            let name = format!("chaski-{}.1", command.get_name());
            let (_, page) = pages.iter().find(|(page, _)| *page == name).expect(&name);
            let text = plain(page);
            assert!(
                text.contains(&command.get_about().unwrap().to_string()),
                "{text}"
            );
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(
                    text.contains(&format!("--{option}")),
                    "{name} lacks --{option}"
                );
            }
            let whole = plain(&pages[0].1);
            assert!(whole.contains(&name.replace(".1", "(1)")), "{whole}");
            count += 1;
        }
        assert_eq!(pages.len(), count);
        assert_eq!(pages[0].0, "chaski.1");
    }

    #[test]
    fn the_page_of_the_server_has_all_settings() {
        let pages = pages(crate::cli::Args::command()).unwrap();
        let (_, page) = pages
            .iter()
            .find(|(name, _)| name == "chaski-serve.1")
            .unwrap();
        let text = plain(page);
        for setting in SETTINGS {
            assert!(
                text.contains(setting.key) && text.contains(setting.about),
                "{}",
                setting.key
            );
        }
    }

    #[test]
    fn pages_are_written_into_a_folder_that_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let args = Args {
            folder: folder.path().join("share/man1"),
        };
        let (result, text) = printed(|console| run(&args, crate::cli::Args::command(), console));
        result.unwrap();
        let written = fs::read_dir(&args.folder).unwrap().count();
        assert!(text.starts_with(&format!("{written} pages in ")), "{text}");
    }
}

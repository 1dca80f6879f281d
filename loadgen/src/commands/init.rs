use std::{fs::OpenOptions, io::Write, path::PathBuf};

use super::Stopped;
use crate::{exit::Exit, units, workload};

/// The options of `init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write; it must not exist
    #[arg(value_name = "FILE", default_value = "workload.toml")]
    file: PathBuf,

    /// Start from this preset rather than from the file that explains every key
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,
}

/// The file with every key and what it means.
const TEMPLATE: &str = include_str!("../../presets/template.toml");

/// Writes a workload file to start from.
///
/// # Errors
/// When the file exists or cannot be written, or there is no such preset.
pub async fn execute(args: Args) -> Result<u8, Stopped> {
    let text = match &args.preset {
        None => TEMPLATE,
        Some(name) => workload::preset_text(name).ok_or_else(|| Stopped::usage(no_such(name)))?,
    };
    let file = args.file.display();
    let mut created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&args.file)
        .map_err(|error| Stopped::usage(format!("cannot write {file}: {error}")))?;
    created.write_all(text.as_bytes())?;
    println!("wrote {file}; measure it with: loadgen run {file} --target ours --target ollama");
    Ok(Exit::Ok.code())
}

fn no_such(name: &str) -> String {
    match units::nearest(name, workload::names()) {
        Some(meant) => format!("unknown preset {name:?}; did you mean {meant:?}?"),
        None => {
            let known: Vec<&str> = workload::names().collect();
            format!("unknown preset {name:?}; there is {}", known.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explained_file_is_a_workload() {
        let group = workload::parse(TEMPLATE, "template.toml", None).unwrap();
        assert_eq!(group.parts.len(), 1);
        assert_eq!(group.pace().loads.len(), 3);
    }
}

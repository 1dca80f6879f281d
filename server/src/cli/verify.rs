//! `chaski verify`: whether the files of the models on this machine are what they were when they came.

use std::path::PathBuf;

use super::console::Console;
use super::error::Error;
use super::format::human_bytes;
use crate::config::Environment;
use crate::config::layers::Layers;
use crate::store::{Depth, Entry, Name, Store};

/// Options of `verify`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The models [default: all]
    models: Vec<String>,
    /// Remove the files that are damaged, so that pulling or creating their models brings them anew
    #[arg(long)]
    repair: bool,
    /// The server's file of settings, in TOML
    #[arg(
        long,
        value_name = "FILE",
        env = "CHASKI_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
}

/// Looks at every byte and says whether all is well.
///
/// # Errors
/// When the store cannot be read, or a model is not there.
pub fn run(
    args: &Args,
    environment: &Environment,
    console: &mut Console<'_>,
) -> Result<bool, Error> {
    let config = Layers::read(environment, args.config.as_deref())?.config;
    // Opening a store makes its folders.
    if !config.models.is_dir() {
        writeln!(console.out, "No models in {}.", config.models.display())?;
        return Ok(true);
    }
    let store = Store::open(&config.models)?;
    let names: Vec<Name> = args
        .models
        .iter()
        .map(|model| model.parse())
        .collect::<Result<_, _>>()?;
    let entries: Vec<Entry> = if names.is_empty() {
        store.list()?
    } else {
        names
            .iter()
            .map(|name| store.entry(name))
            .collect::<Result<_, _>>()?
    };
    let mut verifier = store.verifier(Depth::Content);
    let mut damages = Vec::new();
    for entry in &entries {
        let (name, found) = (&entry.name, verifier.check(entry));
        if found.is_empty() {
            let size = human_bytes(entry.manifest.size());
            writeln!(console.out, "{name}: whole ({size})")?;
        }
        for damage in &found {
            let digest = damage.digest;
            writeln!(console.out, "{name}: {digest} {}", damage.fault)?;
        }
        if !found.is_empty() {
            writeln!(console.out, "{name}: {}", remedy(args.repair, name))?;
        }
        damages.extend(found);
        console.out.flush()?;
    }
    let broken = if names.is_empty() {
        store.broken_manifests()?
    } else {
        Vec::new()
    };
    for name in &broken {
        writeln!(
            console.out,
            "{name}: its manifest cannot be read; `chaski rm {name}` removes it, and pulling or creating the model makes another"
        )?;
    }
    if args.repair {
        let removed = store.remove_damaged(&damages)?;
        if removed > 0 {
            writeln!(console.out, "{removed} damaged files removed.")?;
        }
    }
    Ok(damages.is_empty() && broken.is_empty())
}

/// What the user does next.
fn remedy(repaired: bool, name: &Name) -> String {
    let again =
        format!("`chaski pull {name}` fetches it again; a model of your own is created again");
    if repaired {
        again
    } else {
        format!("`chaski verify --repair {name}` removes what is damaged, then {again}")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::builtin;
    use crate::cli::testing::printed;

    #[test]
    fn damage_is_told_removed_and_mended_by_bringing_the_model_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let seed = &builtin::MODELS[0];
        store.restore(seed).unwrap();
        let environment = Environment::of([("OLLAMA_MODELS", folder.path().to_str().unwrap())]);
        let verify = |repair| {
            let args = Args {
                models: vec![],
                repair,
                config: None,
            };
            printed(|console| run(&args, &environment, console))
        };
        let (is_well, text) = verify(false);
        assert!(
            is_well.unwrap() && text.starts_with("tiny:latest: whole ("),
            "{text}"
        );

        let entry = store.entry(&seed.name.parse().unwrap()).unwrap();
        let weights = entry
            .manifest
            .blobs()
            .max_by_key(|layer| layer.size)
            .unwrap();
        let path = store.blob_path(&weights.digest);
        let mut bytes = fs::read(&path).unwrap();
        bytes[1000] ^= 4;
        fs::write(&path, bytes).unwrap();
        let (is_well, text) = verify(false);
        assert!(!is_well.unwrap());
        assert!(
            text.contains(&format!("{} has other bytes", weights.digest)),
            "{text}"
        );
        assert!(path.exists());

        let (is_well, text) = verify(true);
        assert!(!is_well.unwrap());
        assert!(text.ends_with("1 damaged files removed.\n"), "{text}");
        assert!(!path.exists());
        store.restore(seed).unwrap();
        assert!(verify(false).0.unwrap());
    }
}

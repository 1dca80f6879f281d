//! The folder of the models, and the models in it.

use std::io;
use std::path::Path;

use rustix::fs::{Access, access};

use super::Finding;
use crate::config::Config;
use crate::models::{gibibytes, memory_available, memory_needed};
use crate::store::{Depth, Entry, Store, StoreError, Weights};

const FOLDER: &str = "models folder";
const MODELS: &str = "models";
/// Less than this does not hold a model that is of use.
const LITTLE_DISK: u64 = 1 << 30;

/// The folder, then a finding for each model that cannot run.
pub fn examine(config: &Config) -> Vec<Finding> {
    let folder = match folder(&config.models) {
        Ok(finding) => finding,
        Err(finding) => return vec![finding],
    };
    // Opening a store makes its folders.
    if !config.models.is_dir() {
        return vec![folder];
    }
    let mut findings = vec![folder];
    match Store::open_with(&config.models, config.go_templates) {
        Ok(store) => {
            findings.extend(disk(&store));
            findings.extend(models(config, &store).unwrap_or_else(|error| vec![unusable(&error)]));
        }
        Err(error) => findings.push(unusable(&error)),
    }
    findings
}

fn unusable(error: &StoreError) -> Finding {
    Finding::fault(
        FOLDER,
        error.to_string(),
        "let this user read it, or name another folder with OLLAMA_MODELS (--models)",
    )
}

/// Whether the folder is there and can be written. The error is a finding after which there is nothing to look at.
fn folder(path: &Path) -> Result<Finding, Finding> {
    let shown = path.display();
    let another = "name another folder with OLLAMA_MODELS (--models)";
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let nearest = path.ancestors().find(|folder| folder.exists());
            let may_be_made =
                nearest.is_some_and(|folder| access(folder, Access::WRITE_OK).is_ok());
            if may_be_made {
                Ok(Finding::well(FOLDER, format!("{shown} will be made")))
            } else {
                Err(Finding::fault(
                    FOLDER,
                    format!("{shown} is not there, and this user may not make it"),
                    format!("make it for this user, or {another}"),
                ))
            }
        }
        Err(error) => Err(Finding::fault(
            FOLDER,
            format!("{shown} cannot be used: {error}"),
            format!("let this user read it, or {another}"),
        )),
        Ok(metadata) if !metadata.is_dir() => Err(Finding::fault(
            FOLDER,
            format!("{shown} is not a folder"),
            another,
        )),
        Ok(_) if access(path, Access::WRITE_OK | Access::EXEC_OK).is_err() => Ok(Finding::warning(
            FOLDER,
            format!("{shown} cannot be written: no model can be pulled, created or removed"),
            format!("give it to the user that runs the server (`chown`), or {another}"),
        )),
        Ok(_) => Ok(Finding::well(FOLDER, shown.to_string())),
    }
}

fn disk(store: &Store) -> Option<Finding> {
    let free = store.free_bytes().ok()?;
    let says = format!("{} free", gibibytes(free));
    Some(if free < LITTLE_DISK {
        Finding::warning(
            "disk",
            says,
            "`chaski rm` removes models; OLLAMA_MODELS (--models) names a folder on another disk",
        )
    } else {
        Finding::well("disk", says)
    })
}

fn models(config: &Config, store: &Store) -> Result<Vec<Finding>, StoreError> {
    let entries = store.list()?;
    let mut verifier = store.verifier(Depth::Length);
    let mut findings = Vec::new();
    for entry in &entries {
        match verifier.check(entry).first() {
            Some(damage) => findings.push(Finding::fault(
                MODELS,
                format!("{}: {} {}", entry.name, damage.digest, damage.fault),
                format!("`chaski verify --repair {0}`, then `chaski pull {0}`; a model of your own is created again", entry.name),
            )),
            None => findings.extend(room(config, store, entry)),
        }
    }
    for name in store.broken_manifests()? {
        findings.push(Finding::fault(
            MODELS,
            format!("{name}: its manifest cannot be read, and until it is gone no file that is not needed is removed"),
            format!("`chaski rm {name}`, then pull or create it again"),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::well(
            MODELS,
            match entries.len() {
                0 => "none yet; those inside the program come at the first start".to_owned(),
                count => {
                    format!("{count}, with all their files (`chaski verify` reads every byte)")
                }
            },
        ));
    }
    Ok(findings)
}

/// A model that cannot be loaded even if it is alone.
fn room(config: &Config, store: &Store, entry: &Entry) -> Option<Finding> {
    let name = &entry.name;
    let model = match store.model(name) {
        Ok(model) => model,
        Err(error) => {
            return Some(Finding::fault(
                MODELS,
                format!("{name}: {error}"),
                format!("`chaski rm {name}`, then pull or create it again"),
            ));
        }
    };
    // What another program runs, or another host, is no fault of this machine's.
    if matches!(model.weights, Weights::Other) {
        return None;
    }
    let available = memory_available(config);
    match memory_needed(name, &model, config, store) {
        Ok(needed) if needed > available => Some(Finding::fault(
            MODELS,
            format!(
                "{name} needs {} of memory, and {} are there",
                gibibytes(needed),
                gibibytes(available)
            ),
            "raise CHASKI_MEMORY_LIMIT if it is set, end other programs, lower OLLAMA_CONTEXT_LENGTH, or take the model in a smaller quantisation",
        )),
        // A library that is missing has a finding of its own.
        Ok(_) | Err(_) => None,
    }
}

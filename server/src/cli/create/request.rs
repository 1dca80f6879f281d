//! From a Modelfile to the request that the server is sent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Args;
use super::files::{ModelFile, model_files};
use crate::cli::error::Error;
use crate::store::modelfile::Command;
use crate::store::{Digest, Message, Modelfile, Name, Parameters, RelativeName};

/// What a Modelfile asks for, with the files it names found and hashed.
#[derive(Default)]
pub struct Parts {
    from: Option<String>,
    files: Vec<HashedFile>,
    adapters: Vec<HashedFile>,
    texts: Texts,
}

/// A file and what it holds.
pub struct HashedFile {
    /// Where it is.
    pub path: PathBuf,
    /// What the model calls it.
    pub name: RelativeName,
    /// Of all its bytes.
    pub digest: Digest,
}

/// The body of `/api/create`.
#[derive(Serialize)]
pub struct CreateRequest<'a> {
    model: &'a str,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<&'a RelativeName, &'a Digest>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    adapters: BTreeMap<&'a RelativeName, &'a Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantize: Option<&'a str>,
    #[serde(flatten)]
    texts: &'a Texts,
}

#[derive(Default, Serialize)]
struct Texts {
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    license: Vec<String>,
    #[serde(skip_serializing_if = "Parameters::is_empty")]
    parameters: Parameters,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renderer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parser: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires: Option<String>,
}

impl Parts {
    /// Finds and hashes what the Modelfile names; its paths start from `folder`.
    ///
    /// # Errors
    /// When a file cannot be read or is no part of a model, or a line makes no sense.
    pub async fn gather(modelfile: &Modelfile, folder: &Path) -> Result<Self, Error> {
        let mut parts = Self::default();
        parts.texts.parameters = modelfile.parameters()?;
        for command in &modelfile.commands {
            let texts = &mut parts.texts;
            match command.clone() {
                Command::From(source) => parts.add_source(source, folder).await?,
                Command::Adapter(path) => {
                    let files = model_files(&expanded(&path, folder))?;
                    parts.adapters.extend(hashed(files).await?);
                }
                Command::Draft(_) => {
                    return Err(Error::Usage("draft models are not supported yet".into()));
                }
                Command::Template(text) => texts.template = Some(text),
                Command::System(text) => texts.system = Some(text),
                Command::License(text) => texts.license.push(text),
                Command::Message { role, content } => {
                    texts.messages.push(Message { role, content })
                }
                Command::Renderer(name) => texts.renderer = Some(name),
                Command::Parser(name) => texts.parser = Some(name),
                Command::Requires(version) => texts.requires = Some(version),
                // All together above.
                Command::Parameter { .. } => {}
            }
        }
        Ok(parts)
    }

    /// A `FROM`: a file or folder if there is one of that name, else another model.
    async fn add_source(&mut self, source: String, folder: &Path) -> Result<(), Error> {
        let path = expanded(&source, folder);
        if path.exists() {
            self.files.extend(hashed(model_files(&path)?).await?);
        } else if source.parse::<Name>().is_ok() {
            self.from = Some(source);
        } else {
            let text = format!("FROM {source}: there is no such file, and it is no model's name");
            return Err(Error::Usage(text));
        }
        Ok(())
    }

    /// All files that the server needs.
    pub fn uploads(&self) -> impl Iterator<Item = &HashedFile> {
        self.files.iter().chain(&self.adapters)
    }

    /// The request, once they are there.
    #[must_use]
    pub fn request<'a>(&'a self, args: &'a Args) -> CreateRequest<'a> {
        CreateRequest {
            model: &args.model,
            stream: true,
            from: self.from.as_deref(),
            files: by_name(&self.files),
            adapters: by_name(&self.adapters),
            quantize: args.quantize.as_deref(),
            texts: &self.texts,
        }
    }
}

fn by_name(files: &[HashedFile]) -> BTreeMap<&RelativeName, &Digest> {
    files
        .iter()
        .map(|file| (&file.name, &file.digest))
        .collect()
}

/// A path of a Modelfile: `~` is the user's home, and what is relative starts from the Modelfile's folder.
fn expanded(path: &str, folder: &Path) -> PathBuf {
    let home = std::env::home_dir().filter(|_| path == "~" || path.starts_with("~/"));
    match home {
        Some(home) => home.join(path[1..].trim_start_matches('/')),
        None => folder.join(path),
    }
}

/// Reads every file once, on a thread that may wait.
async fn hashed(files: Vec<ModelFile>) -> Result<Vec<HashedFile>, Error> {
    let hashing = tokio::task::spawn_blocking(move || {
        files
            .into_iter()
            .map(|ModelFile { path, name }| {
                let digest = std::fs::File::open(&path)
                    .and_then(Digest::of_reader)
                    .map_err(Error::file(&path))?;
                Ok(HashedFile { path, name, digest })
            })
            .collect()
    });
    hashing.await.expect("hashing does not panic")
}

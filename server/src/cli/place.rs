//! What `serve` and the commands that look at a server's machine have in common: where its settings come from.

use std::path::PathBuf;

use crate::config::layers::Layers;
use crate::config::{Environment, Host, file};

/// Options of both.
#[derive(clap::Args, Debug, Default)]
pub struct Place {
    /// File of settings, in TOML; variables and options go before it
    #[arg(
        long,
        value_name = "FILE",
        env = "CHASKI_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// Address to listen on, as host:port [default: 127.0.0.1:11434] [env: OLLAMA_HOST]
    #[arg(long)]
    host: Option<String>,
    /// Folder of the models [default: ~/.ollama/models] [env: OLLAMA_MODELS]
    #[arg(long)]
    models: Option<PathBuf>,
    /// The ONNX Runtime library [default: looked for in the usual places] [env: ORT_DYLIB_PATH]
    #[arg(long)]
    ort_lib: Option<PathBuf>,
}

impl Place {
    /// What file, environment and these options say.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn settings(&self, environment: &Environment) -> Result<Layers, file::Error> {
        let mut layers = Layers::read(environment, self.config.as_deref())?;
        if let Some(host) = &self.host {
            layers.change("--host", |config| config.host = Host::parse(host));
        }
        if let Some(models) = &self.models {
            layers.change("--models", |config| config.models.clone_from(models));
        }
        if self.ort_lib.is_some() {
            layers.change("--ort-lib", |config| {
                config.ort_library.clone_from(&self.ort_lib);
            });
        }
        Ok(layers)
    }
}

//! Pulling and pushing against a registry that does as it is told, right or wrong.

mod auth;
mod hub;
mod pulling;
mod pushing;
mod routes;
pub mod scripted;
mod wrong;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chaski::registry::{self, Limits, Options, Progress, Registry, Request};
use chaski::store::{Digest, Store};
use tempfile::TempDir;

use self::scripted::Scripted;

/// Blobs are cut into parts of this length, whose progress is remembered by the quarter.
pub const PART_BYTES: u64 = 256 << 10;
pub const CHUNK_BYTES: u64 = 64 << 10;

/// A store of its own and a registry client that has little patience.
pub struct Puller {
    pub store: Store,
    pub registry: Registry,
    folder: TempDir,
}

impl Puller {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open(folder.path().join("models")).unwrap();
        let mut options = Options {
            key: folder.path().join("id_ed25519"),
            version: "0.33.0".into(),
            streams: 4,
            hub: "http://127.0.0.1:1".into(),
            hub_token: None,
            no_prune: false,
            built_in: &[],
            catalogue: &[],
            limits: Limits {
                connect: Duration::from_secs(5),
                reply: Duration::from_secs(5),
                stall: Duration::from_secs(5),
                stall_bytes: 1024,
                backoff: Duration::from_millis(2),
                max_backoff: Duration::from_millis(20),
                settle: Duration::from_secs(5),
                min_part_bytes: PART_BYTES,
                max_part_bytes: PART_BYTES,
                chunk_bytes: CHUNK_BYTES,
                tick: Duration::from_millis(1),
            },
            place: registry::place,
        };
        change(&mut options);
        Self {
            registry: Registry::new(options, store.clone()),
            store,
            folder,
        }
    }

    pub async fn pull(&self, name: &str) -> Result<Vec<String>, String> {
        let transfer = self.registry.pull(request(name));
        told(transfer.map_err(|error| error.to_string())?).await
    }

    pub async fn push(&self, name: &str) -> Result<Vec<String>, String> {
        let transfer = self.registry.push(request(name));
        told(transfer.map_err(|error| error.to_string())?).await
    }

    /// The names of the files among the blobs.
    pub fn blobs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("models/blobs")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn blob_path(&self, file: &str) -> PathBuf {
        self.folder.path().join("models/blobs").join(file)
    }

    /// No model, no blob, no partial file.
    pub fn is_empty(&self) -> bool {
        self.store.list().unwrap().is_empty() && self.blobs().is_empty()
    }

    /// Every blob of every model is what its name says.
    pub fn check_whole(&self) {
        for entry in self.store.list().unwrap() {
            for layer in entry.manifest.blobs() {
                let bytes = self.store.read_blob(&layer.digest, layer.size).unwrap();
                assert_eq!(Digest::of(&bytes), layer.digest);
            }
        }
    }
}

pub fn request(name: &str) -> Request {
    Request {
        reference: name.parse().unwrap(),
        insecure: false,
        credentials: None,
    }
}

/// All statuses, each once for as long as it stays the same; or the error.
pub async fn told(mut transfer: registry::Transfer) -> Result<Vec<String>, String> {
    let mut lines: Vec<String> = Vec::new();
    while let Some(progress) = transfer.next().await {
        let progress: Progress = progress.map_err(|error| error.to_string())?;
        let line = progress.to_string();
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    Ok(lines)
}

/// Bytes that differ everywhere, so that nothing can be taken for anything else.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A model of one large layer and a small one.
pub struct Model {
    pub weights: Digest,
    pub config: Digest,
    pub license: Digest,
    pub manifest: String,
}

/// Puts a model into the registry as `library/model/latest`. Its weights are `length` bytes of noise.
pub fn publish(registry: &Scripted, length: usize) -> Model {
    let weights = registry.add_blob(noise(7, length));
    let config = "{\"model_format\":\"gguf\",\"model_family\":\"llama\"}";
    let layers = [
        ("model", weights, length),
        ("license", registry.add_blob("MIT"), 3),
    ];
    let layers: Vec<String> = layers
        .iter()
        .map(|(kind, digest, size)| {
            format!("{{\"mediaType\":\"application/vnd.ollama.image.{kind}\",\"digest\":\"{digest}\",\"size\":{size}}}")
        })
        .collect();
    let model = Model {
        weights,
        config: registry.add_blob(config),
        license: Digest::of(b"MIT"),
        // Spaces and a field that nobody knows: the bytes are the identity and must survive.
        manifest: String::new(),
    };
    let manifest = format!(
        "{{ \"schemaVersion\": 2, \"mediaType\": \"application/vnd.docker.distribution.manifest.v2+json\", \"new\": 1, \
         \"config\": {{\"mediaType\":\"application/vnd.docker.container.image.v1+json\",\"digest\":\"{}\",\"size\":{}}}, \
         \"layers\": [{}] }}",
        model.config,
        config.len(),
        layers.join(",")
    );
    registry.add_manifest("library/model/latest", manifest.clone());
    Model { manifest, ..model }
}

//! The set of models: finding, listing, committing, copying and deleting manifests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::lock::Lock;
use super::{Digest, Layer, Manifest, Name, Store, StoreError, durable};

/// A manifest of thousands of layers is well below this; a longer file is not a manifest.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// A model as its manifest tells it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name in the case it has on the disk.
    pub name: Name,
    /// The digest of the manifest file: the model's identity.
    pub id: Digest,
    /// When the manifest was written.
    pub modified: SystemTime,
    /// The manifest itself.
    pub manifest: Manifest,
}

/// All manifests, and the names of those that could not be read.
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
    /// Those that cannot be read. Each may refer to any blob.
    pub(super) broken: Vec<Name>,
}

impl Store {
    /// Every readable model, newest first. Broken manifests and foreign files are logged or passed over.
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.listing()?.entries;
        entries.sort_by(|a, b| {
            b.modified
                .cmp(&a.modified)
                .then_with(|| a.name.cmp(&b.name))
        });
        Ok(entries)
    }

    /// The model of that name, whatever the case of its letters.
    pub fn entry(&self, name: &Name) -> Result<Entry, StoreError> {
        let existing = self
            .existing(name)?
            .ok_or_else(|| StoreError::NotFound(name.clone()))?;
        read_entry(&self.manifest_path(&existing), existing)
    }

    /// Gives `name` this manifest, once every blob it needs is here at its full length. Blobs that only a replaced model
    /// needed are deleted.
    pub fn commit(&self, name: &Name, manifest: &Manifest) -> Result<Digest, StoreError> {
        self.commit_locked(&self.lock()?, name, manifest)
    }

    /// As [`Store::commit`], in the very bytes that a registry sent, whose digest is the model's identity there too. Blobs
    /// that only a replaced model needed are deleted if `prunes`.
    pub fn commit_bytes(
        &self,
        name: &Name,
        bytes: &[u8],
        prunes: bool,
    ) -> Result<Digest, StoreError> {
        let lock = self.lock()?;
        let manifest = parse_manifest(name, bytes)?;
        self.replace_manifest(&lock, name, (&manifest, bytes), prunes)
    }

    /// The bytes of a model's manifest, whatever the case of its name's letters.
    pub fn manifest_bytes(&self, name: &Name) -> Result<Vec<u8>, StoreError> {
        let existing = self
            .existing(name)?
            .ok_or_else(|| StoreError::NotFound(name.clone()))?;
        read_manifest(&self.manifest_path(&existing))
    }

    /// Makes `destination` the same model as `source`, bit by bit.
    pub fn copy(&self, source: &Name, destination: &Name) -> Result<(), StoreError> {
        let lock = self.lock()?;
        let existing = self
            .existing(source)?
            .ok_or_else(|| StoreError::NotFound(source.clone()))?;
        let bytes = read_manifest(&self.manifest_path(&existing))?;
        // Parsed only to refuse to spread a broken manifest.
        parse_manifest(&existing, &bytes)?;
        self.write_manifest(&lock, destination, &bytes)
    }

    /// The name as it is spelt on the disk, if there is such a model.
    pub(super) fn existing(&self, name: &Name) -> Result<Option<Name>, StoreError> {
        if self.manifest_path(name).is_file() {
            return Ok(Some(name.clone()));
        }
        let mut folder = self.manifests_folder();
        for part in name.parts() {
            match spelling(&folder, part)? {
                Some(found) => folder.push(found),
                None => return Ok(None),
            }
        }
        Ok(if folder.is_file() {
            self.name_of(&folder)
        } else {
            None
        })
    }

    pub(super) fn commit_locked(
        &self,
        lock: &Lock,
        name: &Name,
        manifest: &Manifest,
    ) -> Result<Digest, StoreError> {
        self.replace_manifest(lock, name, (manifest, &manifest.to_bytes()), true)
    }

    fn replace_manifest(
        &self,
        lock: &Lock,
        name: &Name,
        (manifest, bytes): (&Manifest, &[u8]),
        prunes: bool,
    ) -> Result<Digest, StoreError> {
        manifest
            .blobs()
            .try_for_each(|layer| self.check_blob(layer))?;
        let replaced = self
            .entry(name)
            .map_or(Vec::new(), |entry| entry.manifest.digests().collect());
        self.write_manifest(lock, name, bytes)?;
        if prunes && let Err(error) = self.collect(lock, replaced) {
            // The new model is there all the same, and pruning will find what is left.
            tracing::warn!(model.name = %name, ?error, "could not delete blobs of the model that was replaced");
        }
        Ok(Digest::of(bytes))
    }

    /// The layer's blob is here, at the length that the manifest says.
    pub(super) fn check_blob(&self, layer: &Layer) -> Result<(), StoreError> {
        let size = self
            .open_blob(&layer.digest)?
            .metadata()
            .map_err(StoreError::io("measuring a blob"))?
            .len();
        if size == layer.size {
            return Ok(());
        }
        Err(StoreError::broken(format!(
            "blob {} is {size} bytes long, not {}",
            layer.digest, layer.size
        )))
    }

    /// Forgets a name; its blobs stay until they are collected.
    pub(super) fn remove_manifest(&self, _lock: &Lock, existing: &Name) -> Result<(), StoreError> {
        let path = self.manifest_path(existing);
        durable::remove(&path).map_err(StoreError::io("deleting a manifest"))?;
        // Empty folders would only slow down later listings; those in use refuse to go.
        for folder in path.ancestors().skip(1).take(3) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn listing(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing {
            entries: Vec::new(),
            broken: Vec::new(),
        };
        let root = self.manifests_folder();
        for host in subfolders(&root)? {
            for namespace in subfolders(&host)? {
                for model in subfolders(&namespace)? {
                    for tag in children(&model)? {
                        // What is not spelt like a model cannot be one: a desktop's index file, an editor's backup.
                        let Some(name) = self.name_of(&tag) else {
                            continue;
                        };
                        match read_entry(&tag, name.clone()) {
                            Ok(entry) => listing.entries.push(entry),
                            Err(StoreError::NotFound(_)) => {}
                            Err(error) => {
                                tracing::warn!(model.name = %name, ?error, "skipping a manifest that cannot be read");
                                listing.broken.push(name);
                            }
                        }
                    }
                }
            }
        }
        Ok(listing)
    }

    fn write_manifest(&self, _lock: &Lock, name: &Name, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.manifest_path(&self.spelling_on_disk(name)?);
        let folder = path
            .parent()
            .expect("a manifest is inside the folder of its model");
        durable::create_folders(folder).map_err(StoreError::io("creating a manifest's folder"))?;
        durable::replace(&path, bytes, &self.manifests_folder())
            .map_err(StoreError::io("writing a manifest"))
    }

    /// The name with every part that exists in the case it already has.
    fn spelling_on_disk(&self, name: &Name) -> Result<Name, StoreError> {
        let mut folder = self.manifests_folder();
        let mut spellings = Vec::with_capacity(4);
        for part in name.parts() {
            let found = spelling(&folder, part)?.unwrap_or_else(|| part.to_owned());
            folder.push(&found);
            spellings.push(found);
        }
        let parts = [0, 1, 2, 3].map(|index: usize| spellings[index].as_str());
        Ok(Name::from_parts(parts).expect("the case of letters does not make a name invalid"))
    }

    /// Reads a name back from a manifest's path.
    fn name_of(&self, path: &Path) -> Option<Name> {
        let relative = path.strip_prefix(self.manifests_folder()).ok()?;
        let parts: Vec<&str> = relative
            .iter()
            .map(|part| part.to_str())
            .collect::<Option<_>>()?;
        Name::from_parts(parts.try_into().ok()?)
    }
}

/// The name in `folder` that equals `part` but for case; an exact match first.
fn spelling(folder: &Path, part: &str) -> Result<Option<String>, StoreError> {
    if folder.join(part).exists() {
        return Ok(Some(part.to_owned()));
    }
    let mut names: Vec<String> = children(folder)?
        .iter()
        .filter_map(|path| path.file_name()?.to_str())
        .filter(|name| name.eq_ignore_ascii_case(part))
        .map(str::to_owned)
        .collect();
    // The folder's order is arbitrary; which of several spellings is meant must not be.
    names.sort();
    Ok(names.into_iter().next())
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = children(folder)?;
    paths.retain(|path| path.is_dir());
    Ok(paths)
}

/// What is in a folder; nothing if it has vanished meanwhile.
fn children(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listed =
        fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    match listed {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        other => other.map_err(StoreError::io("listing the models folder")),
    }
}

fn read_entry(path: &Path, name: Name) -> Result<Entry, StoreError> {
    let not_found = |error: StoreError| match error {
        StoreError::Io { ref source, .. } if source.kind() == io::ErrorKind::NotFound => {
            StoreError::NotFound(name.clone())
        }
        other => other,
    };
    let modified = path
        .metadata()
        .and_then(|metadata| metadata.modified())
        .map_err(StoreError::io("reading a manifest"))
        .map_err(not_found)?;
    let bytes = read_manifest(path).map_err(not_found)?;
    let manifest = parse_manifest(&name, &bytes)?;
    Ok(Entry {
        name,
        id: Digest::of(&bytes),
        modified,
        manifest,
    })
}

fn read_manifest(path: &Path) -> Result<Vec<u8>, StoreError> {
    durable::read_bounded(path, MAX_MANIFEST_BYTES).map_err(StoreError::io("reading a manifest"))
}

fn parse_manifest(name: &Name, bytes: &[u8]) -> Result<Manifest, StoreError> {
    Manifest::parse(bytes)
        .map_err(|error| StoreError::BrokenModel(format!("manifest of '{name}': {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TestStore, make, name};

    fn names(store: &Store) -> Vec<String> {
        let mut names: Vec<_> = store
            .list()
            .unwrap()
            .iter()
            .map(|entry| entry.name.to_string())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn names_are_found_without_minding_their_case() {
        let store = TestStore::new();
        make(&store, "Me/Tiny:Q8", "one");
        assert_eq!(
            store.entry(&name("me/tiny:q8")).unwrap().name.to_string(),
            "Me/Tiny:Q8"
        );
        make(&store, "ME/tiny:q8", "two");
        make(&store, "me/TINY:other", "three");
        assert_eq!(names(&store), ["Me/Tiny:Q8", "Me/Tiny:other"]);
        assert_eq!(
            store.model(&name("me/tiny:q8")).unwrap().system.as_deref(),
            Some("two")
        );
        store.copy(&name("me/tiny:q8"), &name("copy")).unwrap();
        store.delete(&name("ME/TINY:Q8")).unwrap();
        assert_eq!(names(&store), ["Me/Tiny:other", "copy:latest"]);
    }

    #[test]
    fn the_newest_model_comes_first() {
        let store = TestStore::new();
        for (index, text) in ["a", "b", "c"].iter().enumerate() {
            make(&store, text, text);
            let hours = std::time::Duration::from_secs(3600 * (index as u64 + 1));
            let path = store.manifest_path(&name(text));
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + hours).unwrap();
        }
        let order: Vec<_> = store
            .list()
            .unwrap()
            .iter()
            .map(|entry| entry.name.to_string())
            .collect();
        assert_eq!(order, ["c:latest", "b:latest", "a:latest"]);
    }

    #[test]
    fn a_manifest_is_ollamas_to_the_last_byte() {
        let store = TestStore::new();
        let id = make(&store, "tiny", "Be brief.");
        let bytes = fs::read(
            store
                .root()
                .join("manifests/registry.ollama.ai/library/tiny/latest"),
        )
        .unwrap();
        assert_eq!(id, Digest::of(&bytes));
        let entry = store.entry(&name("tiny")).unwrap();
        let [model, system] = entry.manifest.layers.as_slice() else {
            panic!()
        };
        let config = &entry.manifest.config;
        let expected = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\
             \"config\":{{\"mediaType\":\"application/vnd.docker.container.image.v1+json\",\"digest\":\"{}\",\"size\":{}}},\
             \"layers\":[{{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"{}\",\"size\":{}}},\
             {{\"mediaType\":\"application/vnd.ollama.image.system\",\"digest\":\"{}\",\"size\":9}}]}}\n",
            config.digest, config.size, model.digest, model.size, system.digest
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        let config = String::from_utf8(store.read_blob(&config.digest, 1000).unwrap()).unwrap();
        assert_eq!(
            config,
            "{\"model_format\":\"gguf\",\"model_family\":\"llama\",\"model_families\":[\"llama\"],\
             \"model_type\":\"128\",\"file_type\":\"Q8_0\",\"context_length\":128,\"embedding_length\":32,\
             \"architecture\":\"amd64\",\"os\":\"linux\"}"
        );
    }

    #[test]
    fn no_manifest_is_committed_before_its_blobs_are_whole() {
        let store = TestStore::new();
        make(&store, "tiny", "x");
        let manifest = store.entry(&name("tiny")).unwrap().manifest;
        let model = store.blob_path(&manifest.layers[0].digest);
        fs::write(&model, "short").unwrap();
        assert!(matches!(
            store.commit(&name("new"), &manifest),
            Err(StoreError::BrokenModel(_))
        ));
        fs::remove_file(&model).unwrap();
        assert!(matches!(
            store.commit(&name("new"), &manifest),
            Err(StoreError::BlobNotFound(_))
        ));
        assert_eq!(names(&store), ["tiny:latest"]);
        assert!(matches!(
            store.copy(&name("absent"), &name("x")),
            Err(StoreError::NotFound(_))
        ));
    }

    #[test]
    fn junk_in_the_place_of_models_is_survived() {
        let store = TestStore::new();
        make(&store, "tiny", "x");
        let library = store.root().join("manifests/registry.ollama.ai/library");
        std::os::unix::fs::symlink(&library, library.join("tiny/loop")).unwrap();
        std::os::unix::fs::symlink(library.join("nowhere"), library.join("dangling")).unwrap();
        fs::create_dir_all(library.join("pipes")).unwrap();
        let fifo = library.join("pipes/fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        use std::os::unix::ffi::OsStrExt;
        fs::write(
            library
                .join("tiny")
                .join(std::ffi::OsStr::from_bytes(b"\xff\xfe")),
            "x",
        )
        .unwrap();
        let huge = fs::File::create(library.join("tiny/huge")).unwrap();
        huge.set_len(1 << 30).unwrap();
        assert_eq!(names(&store), ["tiny:latest"]);
        assert!(matches!(
            store.entry(&name("tiny:huge")),
            Err(StoreError::Io { .. })
        ));
        assert!(matches!(
            store.entry(&name("pipes:fifo")),
            Err(StoreError::NotFound(_))
        ));
        assert!(matches!(
            store.entry(&name("tiny:loop")),
            Err(StoreError::NotFound(_))
        ));
    }
}

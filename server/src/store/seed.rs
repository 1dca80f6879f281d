//! The models inside the binary, put into the store at the first start.
//!
//! A marker file remembers what was put there, so that a model the user deleted stays deleted, one the user replaced
//! stays as it is, and only one nobody touched is updated when the binary brings a newer one. Who wants one back asks for it
//! by name.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lock::Lock;
use super::{CreateModel, Digest, Manifest, Name, Parameters, Store, StoreError, durable};

const MARKER_FILE: &str = ".chaski.seeded.json";
const MAX_MARKER_BYTES: u64 = 1 << 20;

/// A model inside the binary.
#[derive(Clone, Copy, Debug)]
pub struct SeedModel<'a> {
    /// What it is to be called.
    pub name: &'a str,
    /// Its files by relative name: one `.gguf`, or an ONNX graph and what is beside it.
    pub files: &'a [(&'a str, &'a [u8])],
    /// The system message.
    pub system: Option<&'a str>,
    /// Parameters as in a Modelfile.
    pub parameters: &'a [(&'a str, &'a str)],
    /// The licence's text.
    pub license: Option<&'a str>,
}

/// What became of a seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seeded {
    /// It was never here before.
    Created,
    /// An older one that nobody had touched was replaced.
    Updated,
    /// It is here already, or the user has done otherwise.
    Left,
}

/// What was put into the store under one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Mark {
    /// The model's identity.
    manifest: Digest,
    /// What it was made of: the same in two binaries if the model is.
    source: Digest,
}

type Marks = BTreeMap<String, Mark>;

impl Store {
    /// Puts the built-in models into the store, where the user has not decided otherwise.
    pub fn seed(&self, models: &[SeedModel<'_>]) -> Result<Vec<Seeded>, StoreError> {
        let lock = self.lock()?;
        let mut marks = self.read_marks()?;
        models
            .iter()
            .map(|model| self.seed_one(&lock, model, &mut marks))
            .collect()
    }

    /// Puts a built-in model into the store, whatever is there under its name.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn restore(&self, model: &SeedModel<'_>) -> Result<(), StoreError> {
        let lock = self.lock()?;
        let mut marks = self.read_marks()?;
        let name: Name = model.name.parse()?;
        let manifest = self.manifest_of_seed(&lock, &name, model)?;
        self.commit_locked(&lock, &name, &manifest)?;
        marks.insert(name.full(), model.mark(&manifest));
        self.write_marks(&lock, &marks)
    }

    fn seed_one(
        &self,
        lock: &Lock,
        model: &SeedModel<'_>,
        marks: &mut Marks,
    ) -> Result<Seeded, StoreError> {
        let name: Name = model.name.parse()?;
        let source = model.source();
        let mark = marks.get(&name.full()).copied();
        // A broken manifest is the user's to repair, as much as a changed one.
        let current = match self.entry(&name) {
            Ok(entry) => Some(entry.id),
            Err(StoreError::NotFound(_)) => None,
            Err(_) => return Ok(Seeded::Left),
        };
        let seeded = match (mark, current) {
            (None, None) => Seeded::Created,
            (Some(mark), Some(current)) if mark.manifest == current && mark.source != source => {
                Seeded::Updated
            }
            // Here but not marked: the user's own, or ours and the power failed before it was marked. Marking what ours
            // would be tells the two apart from now on.
            (None, Some(_)) => Seeded::Left,
            _ => return Ok(Seeded::Left),
        };
        let manifest = self.manifest_of_seed(lock, &name, model)?;
        if seeded != Seeded::Left {
            self.commit_locked(lock, &name, &manifest)?;
        }
        marks.insert(name.full(), model.mark(&manifest));
        self.write_marks(lock, marks)?;
        Ok(seeded)
    }

    /// What the model is made of, all of which is then in the store.
    fn manifest_of_seed(
        &self,
        lock: &Lock,
        name: &Name,
        model: &SeedModel<'_>,
    ) -> Result<Manifest, StoreError> {
        let mut request = CreateModel::new(name.clone());
        for (file, bytes) in model.files {
            request
                .files
                .insert(file.parse()?, self.import_bytes(lock, bytes)?.digest);
        }
        let mut parameters = Parameters::default();
        for (name, value) in model.parameters {
            parameters.add(name, value)?;
        }
        request.parameters = parameters;
        request.system = model.system.map(str::to_owned);
        request.licenses = model.license.map(str::to_owned).into_iter().collect();
        self.assemble(lock, &request, &mut |_| {})
    }

    fn read_marks(&self) -> Result<Marks, StoreError> {
        match durable::read_bounded(&self.marker_path(), MAX_MARKER_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                StoreError::broken(format!(
                    "the record of built-in models, {MARKER_FILE}: {error}"
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Marks::new()),
            Err(error) => Err(StoreError::io("reading the record of built-in models")(
                error,
            )),
        }
    }

    fn write_marks(&self, _lock: &Lock, marks: &Marks) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec_pretty(marks).expect("marks are plain data");
        durable::replace(&self.marker_path(), &bytes, self.root())
            .map_err(StoreError::io("writing the record of built-in models"))
    }

    fn marker_path(&self) -> PathBuf {
        self.root().join(MARKER_FILE)
    }
}

impl SeedModel<'_> {
    fn mark(&self, manifest: &Manifest) -> Mark {
        Mark {
            manifest: Digest::of(&manifest.to_bytes()),
            source: self.source(),
        }
    }

    /// A digest that changes when anything about the seed does.
    fn source(&self) -> Digest {
        let files: Vec<_> = self
            .files
            .iter()
            .map(|(name, bytes)| (name, Digest::of(bytes)))
            .collect();
        let all = (self.name, files, self.system, self.parameters, self.license);
        Digest::of(&serde_json::to_vec(&all).expect("a seed is plain data"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{GgufBuilder, TestStore, name};

    fn check(store: &Store, gguf: &[u8], license: &str, expected: Seeded) {
        let files = [("tiny.gguf", gguf)];
        let parameters = [("temperature", "0"), ("stop", "<|end|>")];
        let tiny = SeedModel {
            name: "tiny",
            files: &files,
            system: None,
            parameters: &parameters,
            license: Some(license),
        };
        assert_eq!(store.seed(&[tiny]).unwrap(), [expected]);
    }

    #[test]
    fn a_seed_comes_once_and_is_updated_while_nobody_touches_it() {
        let store = TestStore::new();
        let (old, new) = (
            GgufBuilder::llama().build(),
            [GgufBuilder::llama().build(), vec![0; 32]].concat(),
        );
        check(&store, &old, "MIT", Seeded::Created);
        let first = store.model(&name("tiny")).unwrap();
        assert_eq!(first.parameters.to_string().lines().count(), 2);
        check(&store, &old, "MIT", Seeded::Left);
        assert_eq!(store.model(&name("tiny")).unwrap().modified, first.modified);
        check(&store, &new, "MIT", Seeded::Updated);
        let second = store.model(&name("tiny")).unwrap();
        assert_ne!(second.id, first.id);
        check(&store, &new, "Apache", Seeded::Updated);
        assert_eq!(store.model(&name("tiny")).unwrap().licenses, ["Apache"]);
        store.delete(&name("tiny")).unwrap();
        check(&store, &old, "MIT", Seeded::Left);
        check(&store, &new, "MIT", Seeded::Left);
        assert!(store.list().unwrap().is_empty());
    }

    #[test]
    fn a_seed_that_is_asked_for_comes_back_and_is_updated_again() {
        let store = TestStore::new();
        let gguf = GgufBuilder::llama().build();
        let files = [("tiny.gguf", gguf.as_slice())];
        let tiny = SeedModel {
            name: "tiny",
            files: &files,
            system: None,
            parameters: &[("temperature", "0"), ("stop", "<|end|>")],
            license: Some("MIT"),
        };
        check(&store, &gguf, "MIT", Seeded::Created);
        let first = store.model(&name("tiny")).unwrap();
        store.delete(&name("tiny")).unwrap();
        for _ in 0..2 {
            store.restore(&tiny).unwrap();
            assert_eq!(store.model(&name("tiny")).unwrap().id, first.id);
        }
        check(&store, &gguf, "MIT", Seeded::Left);
        check(&store, &gguf, "Apache", Seeded::Updated);
    }

    #[test]
    fn what_the_user_made_is_left_alone() {
        let store = TestStore::new();
        let gguf = GgufBuilder::llama().build();
        let mut request = CreateModel::new(name("tiny"));
        request.files.insert(
            "m.gguf".parse().unwrap(),
            store.import(&gguf[..], None).unwrap().digest,
        );
        request.system = Some("mine".to_owned());
        let id = store.create(&request, &mut |_| {}).unwrap();
        for license in ["MIT", "Apache"] {
            check(&store, &gguf, license, Seeded::Left);
        }
        assert_eq!(store.model(&name("tiny")).unwrap().id, id);
        store.delete(&name("tiny")).unwrap();
        check(&store, &gguf, "MIT", Seeded::Left);
    }

    #[test]
    fn a_seed_whose_mark_was_lost_with_the_power_is_ours_again() {
        let store = TestStore::new();
        let gguf = GgufBuilder::llama().build();
        check(&store, &gguf, "MIT", Seeded::Created);
        std::fs::remove_file(store.marker_path()).unwrap();
        check(&store, &gguf, "MIT", Seeded::Left);
        check(&store, &gguf, "Apache", Seeded::Updated);
    }
}

//! Whether the files of the models are still what they were: a disk that fails and a file that was cut or changed by hand are
//! found before an engine meets them.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use super::{Digest, Entry, Layer, Name, Store, StoreError, durable};

/// How closely a file is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// That it is there, at its length: milliseconds for a whole store.
    Length,
    /// Every byte of it: as long as the disk needs to read it.
    Content,
}

/// What is wrong with a blob.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It was cut, or something was appended.
    #[error("has {found} bytes, not {expected}")]
    Length {
        /// Bytes of the file.
        found: u64,
        /// What the manifest says.
        expected: u64,
    },
    /// Its bytes are others.
    #[error("has other bytes than it had")]
    Content,
    /// The system cannot read it.
    #[error("cannot be read: {0}")]
    Unreadable(io::ErrorKind),
}

/// A blob that is not as a manifest says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// Which.
    pub digest: Digest,
    /// What is wrong.
    pub fault: Fault,
    /// The file that was looked at; another one may take its place at any time.
    file: Option<Identity>,
}

/// What tells a file from another one of the same name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Identity {
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

/// Looks at models one after another, and at a blob that they share once.
#[derive(Debug)]
pub struct Verifier<'a> {
    store: &'a Store,
    depth: Depth,
    seen: HashMap<Digest, Option<Damage>>,
}

impl Store {
    /// Begins to look at models.
    #[must_use]
    pub fn verifier(&self, depth: Depth) -> Verifier<'_> {
        Verifier {
            store: self,
            depth,
            seen: HashMap::new(),
        }
    }

    /// The names of the models whose manifests cannot be read.
    ///
    /// # Errors
    /// When the folders cannot be listed.
    pub fn broken_manifests(&self) -> Result<Vec<Name>, StoreError> {
        Ok(self.listing()?.broken)
    }

    /// Removes damaged blobs, so that pulling, pushing or creating a model brings them anew. A file that took the damaged one's place
    /// meanwhile stays. Returns how many were removed.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove_damaged(&self, damages: &[Damage]) -> Result<usize, StoreError> {
        let _lock = self.lock()?;
        let mut removed = 0;
        for damage in damages {
            let path = self.blob_path(&damage.digest);
            let now = path.symlink_metadata().ok();
            if damage.file.is_some() && damage.file == now.as_ref().map(Identity::of) {
                durable::remove(&path).map_err(StoreError::io("deleting a damaged blob"))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl Verifier<'_> {
    /// What of a model's blobs is damaged.
    pub fn check(&mut self, entry: &Entry) -> Vec<Damage> {
        let layers = entry.manifest.blobs();
        layers.filter_map(|layer| self.check_layer(layer)).collect()
    }

    fn check_layer(&mut self, layer: &Layer) -> Option<Damage> {
        match self.seen.entry(layer.digest) {
            Slot::Occupied(known) => known.get().clone(),
            Slot::Vacant(unknown) => unknown
                .insert(look(self.store, layer, self.depth).err())
                .clone(),
        }
    }
}

fn look(store: &Store, layer: &Layer, depth: Depth) -> Result<(), Damage> {
    let path = store.blob_path(&layer.digest);
    let mut damage = Damage {
        digest: layer.digest,
        fault: Fault::Missing,
        file: path.symlink_metadata().as_ref().ok().map(Identity::of),
    };
    let unreadable = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing,
        kind => Fault::Unreadable(kind),
    };
    let found = durable::open_regular(&path).and_then(|file| {
        let length = file.metadata()?.len();
        Ok((file, length))
    });
    let (file, length) = match found {
        Ok(found) => found,
        Err(error) => {
            damage.fault = unreadable(&error);
            return Err(damage);
        }
    };
    if length != layer.size {
        damage.fault = Fault::Length {
            found: length,
            expected: layer.size,
        };
        return Err(damage);
    }
    if depth == Depth::Length {
        return Ok(());
    }
    damage.fault = match Digest::of_reader(file) {
        Ok(digest) if digest == layer.digest => return Ok(()),
        Ok(_) => Fault::Content,
        Err(error) => unreadable(&error),
    };
    Err(damage)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::testing::{TestStore, make, name};

    fn faults(store: &Store, depth: Depth) -> Vec<Damage> {
        let entry = store.entry(&name("tiny")).unwrap();
        store.verifier(depth).check(&entry)
    }

    fn weights(store: &Store) -> Layer {
        let entry = store.entry(&name("tiny")).unwrap();
        let largest = entry.manifest.blobs().max_by_key(|layer| layer.size);
        largest.unwrap().clone()
    }

    #[test]
    fn every_kind_of_damage_is_told() {
        let store = TestStore::new();
        make(&store, "tiny", "x");
        assert_eq!(faults(&store, Depth::Content), []);
        let layer = weights(&store);
        let path = store.blob_path(&layer.digest);
        let good = fs::read(&path).unwrap();
        let check = |depth, expected: Option<Fault>| {
            let found = faults(&store, depth);
            let found: Vec<_> = found.iter().map(|d| (d.digest, d.fault.clone())).collect();
            let expected: Vec<_> = expected.into_iter().map(|f| (layer.digest, f)).collect();
            assert_eq!(found, expected);
        };

        let mut changed = good.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&path, &changed).unwrap();
        check(Depth::Length, None);
        check(Depth::Content, Some(Fault::Content));

        fs::write(&path, &good[1..]).unwrap();
        let cut = Fault::Length {
            found: layer.size - 1,
            expected: layer.size,
        };
        check(Depth::Length, Some(cut.clone()));
        check(Depth::Content, Some(cut));

        fs::remove_file(&path).unwrap();
        check(Depth::Length, Some(Fault::Missing));
        fs::create_dir(&path).unwrap();
        assert!(matches!(
            faults(&store, Depth::Length)[..],
            [Damage {
                fault: Fault::Unreadable(_),
                ..
            }]
        ));
    }

    #[test]
    fn only_the_damaged_file_is_removed() {
        let store = TestStore::new();
        make(&store, "tiny", "x");
        let layer = weights(&store);
        let path = store.blob_path(&layer.digest);
        let good = fs::read(&path).unwrap();
        fs::write(&path, b"broken").unwrap();
        let damages = faults(&store, Depth::Content);

        // It was sent again meanwhile.
        store.import(&good[..], Some(layer.digest)).unwrap();
        assert_eq!(store.remove_damaged(&damages).unwrap(), 0);
        assert_eq!(faults(&store, Depth::Content), []);

        fs::write(&path, b"broken").unwrap();
        let damages = faults(&store, Depth::Content);
        assert_eq!(store.remove_damaged(&damages).unwrap(), 1);
        assert!(!store.has_blob(&layer.digest).unwrap());
        assert_eq!(store.remove_damaged(&damages).unwrap(), 0);
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_named() {
        let store = TestStore::new();
        make(&store, "tiny", "x");
        fs::write(store.manifest_path(&name("tiny")), b"{").unwrap();
        assert_eq!(store.broken_manifests().unwrap(), [name("tiny")]);
    }
}

//! Deleting models, and the blobs and partial files that nobody needs any more.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::blobs::{PARTIAL_PREFIX, PARTIAL_SUFFIX};
use super::lock::Lock;
use super::{Digest, Name, Store, StoreError, durable};

/// How long a blob may wait for the manifest that will name it, and a partial file for its next byte.
pub const PRUNE_AGE: Duration = Duration::from_secs(60 * 60);

/// A pull that was stopped in the evening goes on the next morning, and after the weekend: a week for an hour.
const PARTIAL_AGE_FACTOR: u32 = 24 * 7;

/// What [`Store::prune`] removed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Pruned {
    /// Files removed.
    pub files: usize,
    /// Their length in bytes.
    pub bytes: u64,
}

impl Store {
    /// Deletes a model, and at once every blob that only it needed.
    ///
    /// The manifest goes first, so a crash in between leaves blobs for [`Store::prune`], never a model without blobs.
    pub fn delete(&self, name: &Name) -> Result<(), StoreError> {
        let lock = self.lock()?;
        let existing = self
            .existing(name)?
            .ok_or_else(|| StoreError::NotFound(name.clone()))?;
        // A broken manifest can be deleted too; which blobs it needed is then prune's business.
        let needed = self
            .entry(&existing)
            .map_or(Vec::new(), |entry| entry.manifest.digests().collect());
        self.remove_manifest(&lock, &existing)?;
        self.collect(&lock, needed)
    }

    /// Removes those of the blobs that no model needs: what was made on the way to something else.
    pub fn discard(&self, blobs: Vec<Digest>) -> Result<(), StoreError> {
        let lock = self.lock()?;
        self.collect(&lock, blobs)
    }

    /// Removes those of the blobs that no model needs any more.
    pub(super) fn collect(&self, lock: &Lock, candidates: Vec<Digest>) -> Result<(), StoreError> {
        let Some(referenced) = self.referenced(lock)? else {
            return Ok(());
        };
        let unneeded: HashSet<_> = candidates
            .into_iter()
            .filter(|digest| !referenced.contains(digest))
            .collect();
        for digest in unneeded {
            if self.has_blob(&digest)? {
                durable::remove(&self.blob_path(&digest))
                    .map_err(StoreError::io("deleting a blob"))?;
            }
        }
        Ok(())
    }

    /// Removes unneeded blobs and partial files that have not changed for `age`; [`PRUNE_AGE`] is right outside tests.
    ///
    /// Files the store does not recognise stay. While some manifest cannot be read, so do all blobs.
    pub fn prune(&self, age: Duration) -> Result<Pruned, StoreError> {
        let lock = self.lock()?;
        let referenced = self.referenced(&lock)?;
        let is_unneeded = |file: &str| {
            Digest::from_file_name(file).is_some_and(|digest| {
                referenced
                    .as_ref()
                    .is_some_and(|referenced| !referenced.contains(&digest))
            })
        };
        let blobs = self.blobs_folder();
        let mut pruned = remove_old(&blobs, age, is_unneeded)?;
        pruned.add(remove_old(&blobs, age, is_incoming)?);
        // Of parts that are complete nothing changes any more: their age is that of the bytes they belong to.
        let is_left = |file: &str| {
            partial_of(file).is_some_and(|bytes| file != bytes && !blobs.join(bytes).exists())
        };
        let partial_age = age.saturating_mul(PARTIAL_AGE_FACTOR);
        let is_bytes = |file: &str| partial_of(file) == Some(file);
        pruned.add(remove_old(&blobs, partial_age, is_bytes)?);
        pruned.add(remove_old(&blobs, age, is_left)?);
        for folder in [self.manifests_folder(), self.root().to_owned()] {
            let leftover = remove_old(&folder, age, |file| {
                file.starts_with(durable::TEMPORARY_PREFIX)
            })?;
            pruned.add(leftover);
        }
        Ok(pruned)
    }

    /// Every blob some manifest needs, or `None` when a manifest cannot be read and so might need any.
    fn referenced(&self, _lock: &Lock) -> Result<Option<HashSet<Digest>>, StoreError> {
        let listing = self.listing()?;
        if !listing.broken.is_empty() {
            tracing::warn!(
                "keeping all blobs, because a manifest that cannot be read may need them"
            );
            return Ok(None);
        }
        Ok(Some(
            listing
                .entries
                .iter()
                .flat_map(|entry| entry.manifest.digests())
                .collect(),
        ))
    }
}

impl Pruned {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// A blob that was being received and cannot be gone on with.
fn is_incoming(file: &str) -> bool {
    file.starts_with(PARTIAL_PREFIX) && file.ends_with(PARTIAL_SUFFIX)
}

/// The file of the bytes that an interrupted pull left, ours or Ollama's: `sha256-<64 hex>-partial` itself, or that of the
/// part `…-partial-<number>`.
fn partial_of(file: &str) -> Option<&str> {
    let (blob, number) = file.split_once(PARTIAL_SUFFIX)?;
    let is_number = number.is_empty()
        || number
            .strip_prefix('-')
            .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    Digest::from_file_name(blob).filter(|_| is_number)?;
    Some(&file[..blob.len() + PARTIAL_SUFFIX.len()])
}

fn remove_old(
    folder: &Path,
    age: Duration,
    is_unneeded: impl Fn(&str) -> bool,
) -> Result<Pruned, StoreError> {
    let now = SystemTime::now();
    let mut pruned = Pruned::default();
    for entry in fs::read_dir(folder).map_err(StoreError::io("listing the models folder"))? {
        let entry = entry.map_err(StoreError::io("listing the models folder"))?;
        // What vanishes or cannot be looked at is not ours to remove.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let is_old = metadata
            .modified()
            // A time in the future is a clock that was set back: not old.
            .is_ok_and(|modified| {
                now.duration_since(modified)
                    .is_ok_and(|elapsed| elapsed >= age)
            });
        let is_named = entry.file_name().to_str().is_some_and(&is_unneeded);
        if metadata.is_file() && is_old && is_named {
            match fs::remove_file(entry.path()) {
                // Another program, Ollama say, was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                removed => removed.map_err(StoreError::io("pruning a file"))?,
            }
            pruned.files += 1;
            pruned.bytes += metadata.len();
        }
    }
    Ok(pruned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TestStore, file_names, make, name};
    use crate::store::{CreateModel, Manifest};

    const NOW: Duration = Duration::ZERO;

    fn check_whole(store: &Store) {
        let entries = store.list().unwrap();
        for blob in entries.iter().flat_map(|entry| entry.manifest.blobs()) {
            assert_eq!(
                Digest::of(&store.read_blob(&blob.digest, blob.size).unwrap()),
                blob.digest
            );
        }
        let mut needed: Vec<_> = entries
            .iter()
            .flat_map(|entry| entry.manifest.digests())
            .collect();
        needed.sort();
        needed.dedup();
        let needed: Vec<_> = needed.iter().map(Digest::file_name).collect();
        assert_eq!(file_names(&store.blobs_folder()), needed);
    }

    #[test]
    fn the_last_of_many_copies_takes_the_blobs_along() {
        let store = TestStore::new();
        make(&store, "tiny", "x");
        for copy in 0..20 {
            store
                .copy(&name("tiny"), &name(&format!("copy{copy}")))
                .unwrap();
        }
        store.delete(&name("tiny")).unwrap();
        for copy in (0..20).rev() {
            check_whole(&store);
            store.model(&name(&format!("copy{copy}"))).unwrap();
            store.delete(&name(&format!("copy{copy}"))).unwrap();
        }
        assert_eq!(file_names(&store.blobs_folder()), [""; 0]);
        assert_eq!(file_names(&store.manifests_folder()), [""; 0]);
        assert!(matches!(
            store.delete(&name("tiny")),
            Err(StoreError::NotFound(_))
        ));
    }

    #[test]
    fn replacing_a_model_deletes_what_only_the_old_one_needed() {
        let store = TestStore::new();
        make(&store, "tiny", "one");
        make(&store, "tiny", "two");
        check_whole(&store);
        assert!(!store.has_blob(&Digest::of(b"one")).unwrap());
    }

    #[test]
    fn pruning_spares_what_is_needed_young_or_not_ours() {
        let store = TestStore::new();
        make(&store, "tiny", "x");
        let lonely = store.import(&b"lonely"[..], None).unwrap().digest;
        let blobs = store.blobs_folder();
        let foreign = [
            "notes.txt",
            "sha256-short",
            "incoming-x",
            "a-partial",
            "sha256-x-partial",
        ];
        let leftover = [
            "incoming-x-partial".to_owned(),
            format!("{}-partial", lonely.file_name()),
            format!("{}-partial-12", lonely.file_name()),
        ];
        for file in foreign
            .iter()
            .copied()
            .chain(leftover.iter().map(String::as_str))
        {
            fs::write(blobs.join(file), "123").unwrap();
        }
        fs::write(store.manifests_folder().join(".incoming-x"), "12").unwrap();
        assert_eq!(store.prune(PRUNE_AGE).unwrap(), Pruned::default());
        assert_eq!(
            store.prune(NOW).unwrap(),
            Pruned {
                files: 5,
                bytes: 6 + 9 + 2
            }
        );
        assert!(foreign.iter().all(|file| blobs.join(file).exists()));
        store.model(&name("tiny")).unwrap();
        for file in foreign {
            fs::remove_file(blobs.join(file)).unwrap();
        }
        check_whole(&store);
    }

    #[test]
    fn age_decides_what_is_pruned() {
        let store = TestStore::new();
        let digest = store.import(&b"lonely"[..], None).unwrap().digest;
        let age = |age: Duration| {
            let file = fs::File::options()
                .write(true)
                .open(store.blob_path(&digest))
                .unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        age(PRUNE_AGE - Duration::from_secs(60));
        assert_eq!(store.prune(PRUNE_AGE).unwrap().files, 0);
        age(PRUNE_AGE);
        // Sent once more, the blob is as good as new.
        store.import(&b"lonely"[..], None).unwrap();
        assert_eq!(store.prune(PRUNE_AGE).unwrap().files, 0);
        age(PRUNE_AGE);
        assert_eq!(store.prune(PRUNE_AGE).unwrap().files, 1);
    }

    #[test]
    fn the_parts_of_a_pull_go_with_its_bytes() {
        let store = TestStore::new();
        let digest = Digest::of(b"pulled");
        let part = store.partial_blob(digest, 20, 10).unwrap();
        part.record(0, 10).unwrap();
        drop(part);
        let blobs = store.blobs_folder();
        let before = file_names(&blobs);
        let age = |file: &str, age: Duration| {
            let file = fs::File::options()
                .write(true)
                .open(blobs.join(file))
                .unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        let week = PRUNE_AGE * PARTIAL_AGE_FACTOR;
        for part in &before[1..] {
            age(part, week * 2);
        }
        age(&before[0], week - Duration::from_secs(60));
        assert_eq!(store.prune(PRUNE_AGE).unwrap().files, 0);
        assert_eq!(file_names(&blobs), before);
        age(&before[0], week);
        assert_eq!(store.prune(PRUNE_AGE).unwrap().files, 3);
    }

    #[test]
    fn nothing_is_collected_while_a_manifest_cannot_be_read() {
        let store = TestStore::new();
        make(&store, "tiny", "x");
        make(&store, "broken", "y");
        fs::write(store.manifest_path(&name("broken")), "{").unwrap();
        let before = file_names(&store.blobs_folder());
        store.delete(&name("tiny")).unwrap();
        assert_eq!(store.prune(NOW).unwrap(), Pruned::default());
        assert_eq!(file_names(&store.blobs_folder()), before);
        store.delete(&name("broken")).unwrap();
        assert_eq!(store.prune(NOW).unwrap().files, before.len());
    }

    #[test]
    fn a_hostile_manifest_deletes_nothing_outside() {
        let store = TestStore::new();
        make(&store, "tiny", "x");
        let path = store.manifest_path(&name("evil"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let secret = store.root().join("secret");
        fs::write(&secret, "x").unwrap();
        let text =
            String::from_utf8(store.entry(&name("tiny")).unwrap().manifest.to_bytes()).unwrap();
        let digest = store
            .entry(&name("tiny"))
            .unwrap()
            .manifest
            .config
            .digest
            .to_string();
        fs::write(&path, text.replace(&digest, "sha256:../../secret")).unwrap();
        store.delete(&name("evil")).unwrap();
        assert!(secret.exists());
        check_whole(&store);
    }

    /// Threads make, copy, replace, delete and prune under few names; another handle stands for another process.
    #[test]
    fn whatever_happens_at_once_every_model_left_is_whole() {
        let store = TestStore::new();
        let other = Store::open(store.root()).unwrap();
        let base = make(&store, "base", "base");
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let store = if thread % 2 == 0 { &*store } else { &other };
                scope.spawn(move || {
                    for round in 0..25_usize {
                        let own = name(&format!("model{}", (thread + round) % 3));
                        let mut request = CreateModel::new(own.clone());
                        request.from = Some(name("base"));
                        request.system = Some(format!("text {}", round % 5));
                        store.create(&request, &mut |_| {}).unwrap();
                        match (thread + round) % 4 {
                            0 => ignore_absent(store.delete(&own)),
                            1 => ignore_absent(store.copy(&own, &name("model0"))),
                            2 => drop(store.prune(NOW).unwrap()),
                            _ => assert!(
                                store.models().unwrap().iter().any(|model| model.id == base)
                            ),
                        }
                    }
                });
            }
        });
        store.prune(NOW).unwrap();
        check_whole(&store);
        let manifests: Vec<Manifest> = store
            .list()
            .unwrap()
            .into_iter()
            .map(|entry| entry.manifest)
            .collect();
        assert_eq!(store.models().unwrap().len(), manifests.len());
    }

    fn ignore_absent(result: Result<(), StoreError>) {
        assert!(
            matches!(result, Ok(()) | Err(StoreError::NotFound(_))),
            "{result:?}"
        );
    }
}

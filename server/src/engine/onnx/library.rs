//! Where the ONNX Runtime library is.
//!
//! The server process looks for the file and never loads it; a worker is told the path and loads it before anything else.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::Environment;

use crate::inference::Error;

/// The version that the build tools fetch and that the tests run on.
const VERSION: &str = "1.32.0";

/// Folders in which a system keeps libraries, for the processor this was built for.
const SYSTEM_FOLDERS: &[&str] = &[
    "/usr/local/lib",
    "/usr/lib",
    "/lib",
    "/usr/lib64",
    "/lib64",
    #[cfg(target_arch = "x86_64")]
    "/usr/lib/x86_64-linux-gnu",
    #[cfg(target_arch = "aarch64")]
    "/usr/lib/aarch64-linux-gnu",
];

/// The library was not found.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Missing {
    /// The file that was named explicitly does not exist.
    #[error("the ONNX Runtime library {} does not exist; correct --ort-lib (ORT_DYLIB_PATH), or leave it out and run `make setup`", .0.display())]
    Named(PathBuf),
    /// It is at none of the places where it is looked for.
    #[error("ONNX models need the ONNX Runtime library (libonnxruntime.so.{VERSION}), which is not in {}; `make setup` fetches it, --ort-lib (ORT_DYLIB_PATH) names another", folders(.0))]
    Nowhere(Vec<PathBuf>),
}

/// Finds the library: `explicit` if given, else beside the executable (`lib/`, `../lib/`), in the source tree the
/// executable was built in (`.tools/lib/`), in the user's cache, where the system keeps libraries.
///
/// # Errors
/// [`Missing`], which says where it was looked for and what to do.
pub fn find(explicit: Option<&Path>) -> Result<PathBuf, Missing> {
    if let Some(path) = explicit {
        return path
            .is_file()
            .then(|| path.to_owned())
            .ok_or_else(|| Missing::Named(path.to_owned()));
    }
    let places = Places {
        executable: env::current_exe().ok(),
        cache: env::var_os("XDG_CACHE_HOME")
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from)
            .or_else(|| env::home_dir().map(|home| home.join(".cache"))),
        library_path: env::var_os("LD_LIBRARY_PATH")
            .map(|folders| env::split_paths(&folders).collect())
            .unwrap_or_default(),
    };
    let candidates = places.candidates();
    match candidates.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(Missing::Nowhere(candidates)),
    }
}

/// What the look-up depends on.
#[derive(Debug, Default)]
struct Places {
    executable: Option<PathBuf>,
    cache: Option<PathBuf>,
    library_path: Vec<PathBuf>,
}

impl Places {
    /// Every file that would do, best first.
    fn candidates(&self) -> Vec<PathBuf> {
        let pinned = format!("libonnxruntime.so.{VERSION}");
        let mut candidates = Vec::new();
        if let Some(folder) = self.executable.as_deref().and_then(Path::parent) {
            candidates.push(folder.join("lib").join(&pinned));
            if let Some(above) = folder.parent() {
                candidates.push(above.join("lib").join(&pinned));
            }
            // target/release/chaski and target/release/deps/chaski-0123456789abcdef have the checkout among their ancestors.
            let ancestors = folder.ancestors().map(|a| a.join(".tools/lib"));
            candidates.extend(ancestors.filter(|a| a.is_dir()).map(|a| a.join(&pinned)));
        }
        if let Some(cache) = &self.cache {
            candidates.push(cache.join("chaski/ort").join(VERSION).join(&pinned));
        }
        let system = SYSTEM_FOLDERS.iter().map(PathBuf::from);
        let folders = self.library_path.iter().cloned().chain(system);
        candidates.extend(folders.map(|folder| folder.join("libonnxruntime.so.1")));
        candidates
    }
}

fn folders(candidates: &[PathBuf]) -> String {
    let folders: Vec<String> = candidates
        .iter()
        .filter_map(|path| path.parent())
        .map(|folder| folder.display().to_string())
        .collect();
    folders.join(", ")
}

/// Most libraries that one may have brought along.
const MOST_RELATIVES: usize = 64;

/// The library and those that lie beside it, which it may need. Beside the file that a link leads to, too: a library is mostly
/// named through links to its current version.
pub(super) fn family(library: &Path) -> Vec<PathBuf> {
    let true_place = library.canonicalize().ok();
    let places = [Some(library), true_place.as_deref()];
    let folders = places.into_iter().flatten().filter_map(Path::parent);
    let beside = folders
        .filter_map(|folder| folder.read_dir().ok())
        .flat_map(|entries| entries.filter_map(|entry| entry.ok().map(|entry| entry.path())))
        .filter(|path| is_library(path))
        .take(MOST_RELATIVES);
    [library.to_owned()].into_iter().chain(beside).collect()
}

/// As libraries are named: `libonnxruntime.so`, `libonnxruntime.so.1.32.0`.
fn is_library(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| {
        name.starts_with("lib") && (name.ends_with(".so") || name.contains(".so."))
    })
}

/// Loads the library, once per process, and checks that its version is one that this program can use.
///
/// # Errors
/// [`Error::LoadFailed`] if it cannot be loaded or is too old.
pub(super) fn load(library: &Path) -> Result<Environment, Error> {
    // ONNX Runtime allows one environment per process, and `ort` keeps only a weak reference to it.
    static LOADED: Mutex<Option<Environment>> = Mutex::new(None);
    let mut loaded = LOADED
        .lock()
        .map_err(|_| Error::LoadFailed("loading ONNX Runtime panicked before".into()))?;
    if let Some(environment) = &*loaded {
        return Ok(environment.clone());
    }
    // This is the first call of `ort`: any other would make it look for a library of its own, and panic without one.
    let builder = ort::init_from(library).map_err(|error| {
        Error::LoadFailed(format!("the ONNX Runtime library cannot be used: {error}"))
    })?;
    let environment = builder
        .with_telemetry(false)
        .build()
        .map_err(|error| Error::LoadFailed(format!("ONNX Runtime did not start: {error}")))?;
    environment.set_log_level(ort::logging::LogLevel::Error);
    Ok(loaded.insert(environment).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_brings_its_own_kind_along_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let names = ["libort.so.1.2", "libproviders.so", "notes.txt", "secret.so"];
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let link = elsewhere.path().join("libort.so");
        std::os::unix::fs::symlink(folder.path().join("libort.so.1.2"), &link).unwrap();
        let mut family = family(&link);
        family.sort();
        family.dedup();
        let mut expected = vec![
            link,
            folder.path().join("libort.so.1.2"),
            folder.path().join("libproviders.so"),
        ];
        expected.sort();
        assert_eq!(family, expected);
        let nowhere = Path::new("/nowhere/libort.so");
        assert_eq!(super::family(nowhere), [nowhere]);
    }

    #[test]
    fn an_explicit_path_is_taken_or_refused_but_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("mine.so");
        assert_eq!(find(Some(&library)), Err(Missing::Named(library.clone())));
        std::fs::write(&library, "").unwrap();
        assert_eq!(find(Some(&library)), Ok(library));
    }

    #[test]
    fn the_executables_own_folder_comes_before_the_cache_and_the_system() {
        let places = Places {
            executable: Some("/opt/chaski/bin/chaski".into()),
            cache: Some("/home/u/.cache".into()),
            library_path: vec!["/somewhere".into()],
        };
        let candidates = places.candidates();
        let first: Vec<&str> = candidates
            .iter()
            .filter_map(|path| path.to_str())
            .take(5)
            .collect();
        assert_eq!(
            first,
            [
                "/opt/chaski/bin/lib/libonnxruntime.so.1.32.0",
                "/opt/chaski/lib/libonnxruntime.so.1.32.0",
                "/home/u/.cache/chaski/ort/1.32.0/libonnxruntime.so.1.32.0",
                "/somewhere/libonnxruntime.so.1",
                "/usr/local/lib/libonnxruntime.so.1",
            ]
        );
    }

    #[test]
    fn a_build_in_a_checkout_finds_the_checkouts_tools() {
        let checkout = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(checkout.path().join(".tools/lib")).unwrap();
        let places = Places {
            executable: Some(checkout.path().join("target/release/deps/chaski-0123")),
            ..Places::default()
        };
        let wanted = checkout.path().join(".tools/lib/libonnxruntime.so.1.32.0");
        assert!(places.candidates().contains(&wanted));
    }

    #[test]
    fn what_is_missing_is_said_in_one_line_with_the_remedy() {
        let text = Missing::Nowhere(vec!["/a/x.so".into(), "/b/x.so".into()]).to_string();
        assert!(
            text.contains("/a, /b") && text.contains("make setup"),
            "{text}"
        );
        assert!(!text.contains('\n'));
    }

    #[test]
    fn what_is_no_library_is_a_load_error() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libonnxruntime.so.1.32.0");
        std::fs::write(&library, "not a library").unwrap();
        // Another test of this process may have loaded the real one already; then this path is not looked at.
        if let Err(error) = load(&library) {
            assert!(matches!(error, Error::LoadFailed(text) if text.contains("cannot be used")));
        }
    }
}

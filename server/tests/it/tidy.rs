//! The rules of the house that a compiler does not know: which way imports point, and who may name what.

use std::fs;
use std::path::{Path, PathBuf};

/// What a folder or file below `src` must not name in its code.
const RULES: &[(&str, &[&str])] = &[
    (
        "api",
        &[
            "crate::engine::gguf",
            "crate::worker",
            "crate::cli",
            "llama_cpp",
            "ort::",
        ],
    ),
    (
        "prompt",
        &[
            "crate::api",
            "crate::store",
            "crate::models",
            "crate::worker",
            "crate::engine",
            "axum",
        ],
    ),
    (
        "store",
        &[
            "crate::api",
            "crate::models",
            "crate::registry",
            "crate::worker",
            "crate::engine",
            "crate::inference",
            "axum",
            "reqwest",
            "tokio",
        ],
    ),
    (
        "registry",
        &[
            "crate::api",
            "crate::cli",
            "crate::prompt",
            "crate::models",
            "crate::worker",
            "crate::engine",
            "crate::inference",
            "axum",
        ],
    ),
    (
        "models",
        &[
            "crate::api",
            "crate::cli",
            "crate::prompt",
            "axum",
            "serde_json",
        ],
    ),
    (
        "making.rs",
        &[
            "crate::api",
            "crate::cli",
            "crate::prompt",
            "crate::models",
            "axum",
            "serde_json",
        ],
    ),
    (
        "convert",
        &[
            "crate::api",
            "crate::cli",
            "crate::prompt",
            "crate::models",
            "crate::worker",
            "crate::engine",
            "crate::inference",
            "axum",
            "tokio",
        ],
    ),
    (
        "worker",
        &[
            "crate::api",
            "crate::cli",
            "crate::prompt",
            "crate::store",
            "crate::models",
            "axum",
            "serde_json",
        ],
    ),
    (
        "inference",
        &[
            "crate::api",
            "crate::engine",
            "crate::worker",
            "crate::store",
            "crate::models",
            "serde_json",
            "tokio",
        ],
    ),
    (
        "engine",
        &[
            "crate::api",
            "crate::cli",
            "crate::prompt",
            "crate::store",
            "crate::models",
            "crate::worker",
            "axum",
        ],
    ),
    (
        "sandbox",
        &[
            "crate::api",
            "crate::config",
            "crate::engine",
            "crate::inference",
            "crate::models",
            "crate::store",
            "crate::worker",
            "tokio",
        ],
    ),
    ("keys.rs", &["crate::", "axum", "reqwest", "tokio"]),
    (
        "metrics.rs",
        &[
            "crate::api",
            "crate::worker",
            "crate::models",
            "crate::store",
            "crate::engine",
        ],
    ),
];

/// Who may name an inference library.
const LIBRARIES: &[(&str, &str)] = &[("llama_cpp", "engine/gguf"), ("ort::", "engine/onnx")];

/// The only modules where unsafe code is allowed.
const UNSAFE: &[&str] = &[
    "worker/ffi.rs",
    "engine/gguf/ffi",
    "engine/gguf/kernels",
    "engine/encoder/simd",
    "engine/mapping.rs",
    "engine/tiles.rs",
];

#[test]
fn imports_point_one_way() {
    let mut faults = Vec::new();
    for (file, text) in sources() {
        for (place, forbidden) in RULES.iter().filter(|(place, _)| file.starts_with(place)) {
            for (number, line) in code_lines(&text) {
                for name in forbidden.iter().filter(|name| names(line, name)) {
                    faults.push(format!(
                        "{}:{number}: {place} must not know {name}",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn inference_libraries_are_named_in_their_engine_only() {
    let mut faults = Vec::new();
    for (file, text) in sources() {
        for (library, place) in LIBRARIES
            .iter()
            .filter(|(_, place)| !file.starts_with(place))
        {
            let found = code_lines(&text).filter(|(_, line)| names(line, library));
            faults.extend(found.map(|(number, _)| {
                format!("{}:{number}: {library} outside {place}", file.display())
            }));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn unsafe_code_is_where_it_is_allowed() {
    let mut seen = 0;
    for (file, text) in sources() {
        let unsafe_here = code_lines(&text)
            .any(|(_, line)| line.contains("unsafe {") || line.contains("unsafe fn"));
        if unsafe_here {
            assert!(
                UNSAFE.iter().any(|allowed| file.starts_with(allowed)),
                "unsafe code in {}",
                file.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 0, "the search finds what it looks for");
}

#[test]
fn every_folder_says_what_it_is_for() {
    for (file, text) in sources() {
        assert!(
            text.starts_with("//! "),
            "{} begins without a description",
            file.display()
        );
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    assert!(files.len() > 50, "the sources are found");
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if is_product_code(&path) {
            files.push((
                path.strip_prefix(root).unwrap().to_owned(),
                fs::read_to_string(&path).unwrap(),
            ));
        }
    }
}

/// Files of tests may name whatever they like.
fn is_product_code(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.ends_with(".rs")
        && name != "tests.rs"
        && name != "testing.rs"
        && !name.ends_with("_tests.rs")
}

/// Lines of code with their numbers; comments and the tests at a file's end may name whatever they like.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .take_while(|line| *line != "mod tests {")
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a line names a path, as a whole word: `sort::` is not `ort::`.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

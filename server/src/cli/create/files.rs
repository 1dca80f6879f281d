//! Which files make a model: GGUF files, an ONNX graph with what it needs beside it, or a Hugging Face folder.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::store::RelativeName;
use crate::store::onnx::{Onnx, preferred};

/// More files than any model folder has; a folder with more was given by mistake.
const MAX_VISITED_FILES: usize = 10_000;

/// Exporters put graphs one folder down (`onnx/`), and sentence models their settings (`1_Pooling/`).
const MAX_DEPTH: usize = 3;

/// A file of a model.
#[derive(Debug, Eq, PartialEq)]
pub struct ModelFile {
    /// Where it is.
    pub path: PathBuf,
    /// What the model calls it.
    pub name: RelativeName,
}

/// The files of the model or adapter at `path`: a GGUF file, an ONNX graph, safetensors, or a folder with any of them.
///
/// # Errors
/// When they cannot be read, are not enough or too many, or lead out of the folder.
pub fn model_files(path: &Path) -> Result<Vec<ModelFile>, Error> {
    if path.is_dir() {
        return Folder::read(path)?.files();
    }
    if has_extension(path, "safetensors") {
        // Tensors alone are no model: what they are stands beside them.
        return Folder::read(path.parent().unwrap_or(Path::new("")))?.with_tensors();
    }
    if !has_extension(path, "onnx") {
        return Ok(vec![lone_file(path)?]);
    }
    // A graph without a folder of its own, or in the subfolder of one.
    let beside = path.parent().unwrap_or(Path::new(""));
    let above = beside.parent().unwrap_or(beside);
    let has_settings = |folder: &&Path| folder.join("config.json").is_file();
    let Some(root) = [beside, above].into_iter().find(has_settings) else {
        return Folder::read(beside)?.with_graph(&relative_name(beside, path)?);
    };
    Folder::read(root)?.with_graph(&relative_name(root, path)?)
}

/// A folder's files by their names in it, in order.
struct Folder {
    root: PathBuf,
    names: Vec<RelativeName>,
}

impl Folder {
    fn read(root: &Path) -> Result<Self, Error> {
        let mut folder = Self {
            // An empty path is the current folder, which has to be called so.
            root: if root.as_os_str().is_empty() {
                ".".into()
            } else {
                root.to_owned()
            },
            names: Vec::new(),
        };
        let mut visited = 0;
        folder.visit(&folder.root.clone(), 0, &mut visited)?;
        folder.names.sort();
        Ok(folder)
    }

    fn visit(&mut self, path: &Path, depth: usize, visited: &mut usize) -> Result<(), Error> {
        for entry in fs::read_dir(path).map_err(Error::file(path))? {
            let entry = entry.map_err(Error::file(path))?;
            *visited += 1;
            if *visited > MAX_VISITED_FILES {
                let text = format!(
                    "{}: more than {MAX_VISITED_FILES} files",
                    self.root.display()
                );
                return Err(Error::Usage(text));
            }
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let path = entry.path();
            // A folder that is a link could lead anywhere, even back.
            let is_folder = entry.file_type().map_err(Error::file(&path))?.is_dir();
            if is_hidden {
                continue;
            }
            if is_folder && depth < MAX_DEPTH {
                self.visit(&path, depth + 1, visited)?;
            } else if let Ok(name) = relative_name(&self.root, &path)
                && path.is_file()
            {
                // What has no name that a model could use is none of its files.
                self.names.push(name);
            }
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<ModelFile>, Error> {
        let with = |extension: &str| -> Vec<&RelativeName> {
            let names = self.names.iter();
            names
                .filter(|name| has_extension(Path::new(name.as_str()), extension))
                .collect()
        };
        let graphs = with("onnx");
        let names: Vec<&str> = graphs.iter().map(|name| name.as_str()).collect();
        let preferred = preferred(&names);
        let meant = graphs.iter().find(|name| Some(name.as_str()) == preferred);
        match (graphs.as_slice(), meant) {
            (_, Some(graph)) => self.with_graph(graph),
            ([], None) if !with("safetensors").is_empty() => self.with_tensors(),
            ([], None) => match with("gguf").as_slice() {
                [] => Err(Error::Usage(format!(
                    "no ONNX, safetensors or GGUF files found in {}",
                    self.root.display()
                ))),
                found => found.iter().map(|name| self.file(name)).collect(),
            },
            (_, None) => {
                let text = format!(
                    "several ONNX graphs, give the one to run: {}",
                    names.join(", ")
                );
                Err(Error::Usage(text))
            }
        }
    }

    /// The tensors at the top, and what tells how they are used.
    fn with_tensors(&self) -> Result<Vec<ModelFile>, Error> {
        let names = self.names.iter().filter(|name| {
            let is_tensors = has_extension(Path::new(name.as_str()), "safetensors");
            (is_tensors && !name.as_str().contains('/')) || is_setting(name)
        });
        names.map(|name| self.file(name)).collect()
    }

    /// The graph, the data it keeps in other files, and what tells how its text is made.
    fn with_graph(&self, graph: &RelativeName) -> Result<Vec<ModelFile>, Error> {
        let path = self.root.join(graph.to_path());
        let input = File::open(&path).map_err(Error::file(&path))?;
        let onnx = Onnx::read(BufReader::new(input))?;
        let mut names = vec![graph.clone()];
        for data in &onnx.external {
            names.push(graph.sibling(data.location.as_str())?);
        }
        let beside = |name: &&RelativeName| is_setting(name) || is_layer(name);
        names.extend(self.names.iter().filter(beside).cloned());
        names.sort();
        names.dedup();
        names.iter().map(|name| self.file(name)).collect()
    }

    /// A file of the folder, which must not be a link to somewhere else: it will be readable by whoever gets the model.
    fn file(&self, name: &RelativeName) -> Result<ModelFile, Error> {
        let path = self.root.join(name.to_path());
        let real = path.canonicalize().map_err(Error::file(&path))?;
        let root = self.root.canonicalize().map_err(Error::file(&self.root))?;
        if !real.starts_with(&root) {
            let text = format!(
                "insecure path: {name} is a link out of {}",
                self.root.display()
            );
            return Err(Error::Usage(text));
        }
        Ok(ModelFile {
            path: real,
            name: name.clone(),
        })
    }
}

/// A GGUF file may be anywhere and be called anything.
fn lone_file(path: &Path) -> Result<ModelFile, Error> {
    let path = path.canonicalize().map_err(Error::file(path))?;
    let name = path
        .file_name()
        .and_then(OsStr::to_str)
        .and_then(|name| name.parse().ok());
    let fallback = || "model.gguf".parse().expect("the name is plain");
    Ok(ModelFile {
        name: name.unwrap_or_else(fallback),
        path,
    })
}

/// Tokenizer, configuration and vocabulary, by the names that the usual libraries write.
fn is_setting(name: &RelativeName) -> bool {
    let file = name.as_str().rsplit('/').next().unwrap_or_default();
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        "json" | "model" => true,
        "txt" => file.starts_with("vocab") || file.starts_with("merges"),
        "jinja" => file == "chat_template.jinja",
        _ => false,
    }
}

/// Weights of a sentence model's layer, such as `2_Dense`, or of a head beside the graph.
fn is_layer(name: &RelativeName) -> bool {
    let Some((folder, "model.safetensors")) = name.as_str().rsplit_once('/') else {
        return false;
    };
    folder.starts_with("heads/") || folder.starts_with(|first: char| first.is_ascii_digit())
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

fn relative_name(root: &Path, path: &Path) -> Result<RelativeName, Error> {
    let relative = path.strip_prefix(root).ok().and_then(Path::to_str);
    Ok(relative.unwrap_or_default().parse()?)
}

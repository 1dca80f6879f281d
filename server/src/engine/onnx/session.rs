//! One ONNX Runtime session: what it takes, what it gives, and how it is run.

use std::io;
use std::path::{Path, PathBuf};

use ort::session::SessionInputValue;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, Tensor, TensorElementType, ValueType};

use super::folder::Folder;
use super::{graph, library};
use crate::engine::mapping::Mapping;
use crate::inference::Error;
use crate::inference::encode::Tokenized;

/// A graph in memory.
pub(super) struct Session {
    session: ort::session::Session,
    inputs: Vec<Input>,
    /// Padding token.
    padding: u32,
    /// Position of the first token.
    first_position: u32,
}

/// How a graph is opened.
pub(super) struct Options<'a> {
    pub library: &'a Path,
    pub graph: &'a Path,
    /// Its name in the folder.
    pub graph_name: &'a str,
    pub folder: Folder<'a>,
    pub threads: usize,
    pub padding: u32,
    pub first_position: u32,
}

/// An input of the graph.
#[derive(Debug)]
struct Input {
    name: String,
    role: Role,
    integers: Integers,
}

/// What an input is for, known by the names that every exporter uses.
#[derive(Clone, Copy, Debug)]
enum Role {
    Ids,
    Mask,
    TypeIds,
    Positions,
}

#[derive(Clone, Copy, Debug)]
enum Integers {
    Int32,
    Int64,
}

/// What the graph gave: numbers and their shape.
pub(super) struct Values {
    pub shape: Vec<usize>,
    pub numbers: Vec<f32>,
}

impl Session {
    /// Opens a graph.
    ///
    /// # Errors
    /// [`Error::LoadFailed`] if the library or the graph cannot be used.
    pub fn open(options: &Options<'_>) -> Result<Self, Error> {
        let environment = library::load(options.library)?;
        let failed = |error: ort::Error| {
            Error::LoadFailed(format!("ONNX Runtime cannot load the graph: {error}"))
        };
        let builder = ort::session::Session::builder(&environment).map_err(failed)?;
        let mut builder = configure(builder, options.threads).map_err(failed)?;
        let session = match relocated(options)? {
            None => builder.commit_from_file(options.graph),
            Some(relocated) => builder
                .with_config_entry(
                    "session.model_external_initializers_file_folder_path",
                    relocated.folder.to_string_lossy(),
                )
                .map_err(|error| failed(error.into()))?
                .commit_from_memory(&relocated.graph),
        }
        .map_err(failed)?;
        let inputs = session
            .inputs()
            .iter()
            .map(Input::new)
            .collect::<Result<Vec<_>, _>>()?;
        if !inputs.iter().any(|input| matches!(input.role, Role::Ids)) {
            return Err(Error::LoadFailed(
                "the graph has no input 'input_ids'".into(),
            ));
        }
        Ok(Self {
            session,
            inputs,
            padding: options.padding,
            first_position: options.first_position,
        })
    }

    /// The graph's outputs that are tensors of 32-bit floats: name, and dimensions (-1: not fixed).
    pub fn outputs(&self) -> impl Iterator<Item = (&str, &[i64])> {
        self.session.outputs().iter().filter_map(|output| {
            let ValueType::Tensor {
                ty: TensorElementType::Float32,
                shape,
                ..
            } = output.dtype()
            else {
                return None;
            };
            Some((output.name(), &shape[..]))
        })
    }

    /// Runs the graph on texts, padded to the longest of them, and gives one of its outputs.
    ///
    /// # Errors
    /// [`Error::Engine`] with what ONNX Runtime says.
    pub fn run(&mut self, batch: &[&Tokenized], output: &str) -> Result<Values, Error> {
        let width = batch.iter().map(|text| text.ids.len()).max().unwrap_or(0);
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let rows = batch.iter().map(|text| self.row(input.role, text));
            let value = input.tensor(rows, batch.len(), width).map_err(failed)?;
            inputs.push((input.name.as_str(), value));
        }
        let outputs = self.session.run(inputs).map_err(failed)?;
        let value = outputs
            .get(output)
            .ok_or_else(|| Error::Engine(format!("the graph gave no output '{output}'")))?;
        let (shape, numbers) = value.try_extract_tensor::<f32>().map_err(failed)?;
        Ok(Values {
            shape: shape
                .iter()
                .map(|&size| usize::try_from(size).unwrap_or(0))
                .collect(),
            numbers: numbers.to_vec(),
        })
    }

    /// A text's values of an input, and what fills up the row behind them.
    fn row<'a>(
        &self,
        role: Role,
        text: &'a Tokenized,
    ) -> (Box<dyn Iterator<Item = u32> + 'a>, u32) {
        let length = text.ids.len();
        match role {
            Role::Ids => (Box::new(text.ids.iter().copied()), self.padding),
            Role::Mask => (Box::new(std::iter::repeat_n(1, length)), 0),
            Role::TypeIds => (Box::new(text.type_ids.iter().copied()), 0),
            Role::Positions => (Box::new((self.first_position..).take(length)), 0),
        }
    }
}

impl Input {
    fn new(outlet: &Outlet) -> Result<Self, Error> {
        let name = outlet.name().to_owned();
        let role = match name.as_str() {
            "input_ids" => Role::Ids,
            "attention_mask" => Role::Mask,
            "token_type_ids" => Role::TypeIds,
            "position_ids" => Role::Positions,
            _ => {
                return Err(Error::LoadFailed(format!(
                    "the graph takes an input '{name}', which is not one of a text encoder"
                )));
            }
        };
        let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
            return Err(Error::LoadFailed(format!(
                "the graph's input '{name}' is not a tensor"
            )));
        };
        let integers = match ty {
            TensorElementType::Int32 => Integers::Int32,
            TensorElementType::Int64 => Integers::Int64,
            other => {
                return Err(Error::LoadFailed(format!(
                    "the graph's input '{name}' is of type {other}, not int32 or int64"
                )));
            }
        };
        if let [_, length] = shape[..]
            && length >= 0
        {
            return Err(Error::LoadFailed(format!(
                "the graph takes texts of exactly {length} tokens; export it with a dynamic sequence length"
            )));
        }
        Ok(Self {
            name,
            role,
            integers,
        })
    }

    /// A tensor `[texts, width]` of the rows.
    fn tensor<'a>(
        &self,
        rows: impl Iterator<Item = (Box<dyn Iterator<Item = u32> + 'a>, u32)>,
        texts: usize,
        width: usize,
    ) -> ort::Result<SessionInputValue<'static>> {
        let numbers =
            rows.flat_map(|(row, filler)| row.chain(std::iter::repeat(filler)).take(width));
        Ok(match self.integers {
            Integers::Int64 => {
                let numbers: Vec<i64> = numbers.map(i64::from).collect();
                Tensor::from_array(([texts, width], numbers))?.into()
            }
            Integers::Int32 => {
                // Vocabularies and lengths are far smaller than 2^31.
                let numbers: Vec<i32> = numbers.map(|number| number as i32).collect();
                Tensor::from_array(([texts, width], numbers))?.into()
            }
        })
    }
}

/// Options that were measured on all-MiniLM-L6-v2.
fn configure(builder: SessionBuilder, threads: usize) -> ort::Result<SessionBuilder> {
    Ok(builder
        .with_optimization_level(GraphOptimizationLevel::Level3)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        // A pattern is kept for every shape that was seen, and texts come in every length.
        .with_memory_pattern(false)?
        // The fused operator is scalar on processors: 70 us for 32 x 384 numbers, against 13 us for the two it replaces.
        .with_disabled_optimizers("SkipLayerNormFusion")?)
}

/// A graph whose tensors name the files that hold them truly.
struct Relocated {
    graph: Vec<u8>,
    folder: PathBuf,
}

/// Rewrites a graph so that its weights are parts of files, its own or others, which ONNX Runtime maps: `None` if it has none
/// that are worth it.
fn relocated(options: &Options<'_>) -> Result<Option<Relocated>, Error> {
    // Mapped, because most of it is weights, which are only counted here.
    let model = match Mapping::open(options.graph) {
        Ok(model) => model,
        // What an empty file lacks, the runtime tells.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => {
            let text = format!("the graph cannot be read: {error}");
            return Err(Error::LoadFailed(text));
        }
    };
    let (folder, own) = place(options.graph)
        .ok_or_else(|| Error::LoadFailed("the graph lies at an unusable path".into()))?;
    let graph = graph::relocate(&model, own, &mut |name| {
        let beside = match options.graph_name.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}"),
            None => name.to_owned(),
        };
        let path = options.folder.path(&beside).ok_or_else(|| {
            Error::LoadFailed(format!(
                "the graph keeps weights in '{name}', which is missing"
            ))
        })?;
        let (parent, file) = place(path)
            .ok_or_else(|| Error::LoadFailed(format!("'{name}' lies at an unusable path")))?;
        if parent != folder {
            return Err(Error::LoadFailed(
                "the graph and its weights lie in several folders; one is expected".into(),
            ));
        }
        Ok(file.to_owned())
    })?;
    Ok(graph.map(|graph| Relocated {
        graph,
        folder: folder.to_owned(),
    }))
}

/// A file's folder and its name in it.
fn place(path: &Path) -> Option<(&Path, &str)> {
    Some((path.parent()?, path.file_name()?.to_str()?))
}

fn failed(error: ort::Error) -> Error {
    Error::Engine(error.to_string())
}

//! A bounded reader of ONNX files: what the graph takes and gives, and whether the runtime may be shown the file.
//!
//! It walks the protobuf wire format of `ModelProto`
//! (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>) without decoding weights: lengths stay inside their
//! message and the file, graphs nest only so deep, and a tensor must have the data that its shape claims, either inside
//! or at a relative location that the caller has to check against the files it holds.

mod operators;
mod tensor;
mod variant;
mod wire;

#[cfg(test)]
pub(super) mod tests;

use std::io::{Read, Seek};

use self::operators::{Operator, Operators};
pub use self::tensor::ExternalData;
use self::tensor::{Weights, read_tensor};
pub use self::variant::{preferred, stem};
use self::wire::{Field, Wire};
use super::StoreError;

const MAX_GRAPH_DEPTH: usize = 16;
const MAX_VALUES: usize = 1024;
const MAX_OPSETS: usize = 256;
const MAX_NAME_BYTES: u64 = 4096;

/// What a graph's file says about it.
#[derive(Clone, Default, Debug)]
pub struct Onnx {
    /// The version of the file format.
    pub ir_version: u64,
    /// Operator sets by domain; the empty domain is ONNX's own.
    pub opsets: Vec<(String, u64)>,
    /// The graph's inputs by name.
    pub inputs: Vec<String>,
    /// The graph's outputs by name.
    pub outputs: Vec<String>,
    /// The data that is kept in other files, each location checked to be relative.
    pub external: Vec<ExternalData>,
    /// How many numbers the initializers hold together.
    pub parameter_count: u64,
    /// How most of these numbers are encoded, like `F32` or `INT8`.
    pub weight_type: &'static str,
}

impl Onnx {
    /// Reads and checks a whole file; data kept in other files is listed in [`Onnx::external`].
    pub fn read(input: impl Read + Seek) -> Result<Self, StoreError> {
        let mut wire = Wire::new(input)?;
        let mut model = Walk::default();
        let mut has_graph = false;
        let end = wire.length();
        wire.message(end, |wire, field| match field.number {
            1 => {
                model.onnx.ir_version = field.number_value("IR version")?;
                Ok(())
            }
            7 if has_graph => Err(broken("it has two graphs")),
            7 => {
                has_graph = true;
                model.graph(wire, field, 0)
            }
            8 => model.opset(wire, field),
            20 => model.training(wire, field),
            25 => model.function(wire, field),
            _ => Ok(()),
        })?;
        let Walk {
            mut onnx,
            weights,
            operators,
        } = model;
        if onnx.ir_version == 0 || !has_graph {
            return Err(broken(
                "it has no graph; is the file truncated or no ONNX model at all?",
            ));
        }
        if onnx.opsets.is_empty() {
            return Err(broken("it imports no operator set; is the file truncated?"));
        }
        if onnx.outputs.is_empty() {
            return Err(broken("its graph has no output"));
        }
        operators.check()?;
        onnx.parameter_count = weights.count();
        onnx.weight_type = weights.most_common_type();
        onnx.external = weights.external;
        Ok(onnx)
    }

    /// Whether the graph takes token ids, and so needs a tokenizer beside it.
    pub fn takes_text(&self) -> bool {
        self.inputs.iter().any(|input| input == "input_ids")
    }
}

/// What has been seen so far.
#[derive(Default)]
struct Walk {
    onnx: Onnx,
    weights: Weights,
    operators: Operators,
}

impl Walk {
    /// `GraphProto`. Only the outermost graph's inputs and outputs are the model's.
    fn graph<R: Read + Seek>(
        &mut self,
        wire: &mut Wire<R>,
        graph: Field,
        depth: usize,
    ) -> Result<(), StoreError> {
        if depth > MAX_GRAPH_DEPTH {
            return Err(broken(format!(
                "its graphs nest deeper than {MAX_GRAPH_DEPTH}"
            )));
        }
        wire.message(graph.end_of_message("graph")?, |wire, field| {
            match field.number {
                1 => self.node(wire, field, depth),
                5 => self.weights.add_initializer(read_tensor(wire, field)?),
                11 if depth == 0 => add_value(wire, field, &mut self.onnx.inputs),
                12 if depth == 0 => add_value(wire, field, &mut self.onnx.outputs),
                15 => self.sparse_tensor(wire, field),
                _ => Ok(()),
            }
        })
    }

    /// `NodeProto`: an operator, whose attributes can hold tensors and graphs.
    fn node<R: Read + Seek>(
        &mut self,
        wire: &mut Wire<R>,
        node: Field,
        depth: usize,
    ) -> Result<(), StoreError> {
        let mut operator = Operator::default();
        wire.message(node.end_of_message("node")?, |wire, field| {
            match field.number {
                4 => operator.name = wire.text(field, MAX_NAME_BYTES, "name of an operator")?,
                5 => wire.message(
                    field.end_of_message("attribute")?,
                    |wire, field| match field.number {
                        5 | 10 => self.weights.add_constant(read_tensor(wire, field)?),
                        6 | 11 => self.graph(wire, field, depth + 1),
                        22 | 23 => self.sparse_tensor(wire, field),
                        _ => Ok(()),
                    },
                )?,
                7 => operator.domain = wire.text(field, MAX_NAME_BYTES, "operator domain")?,
                _ => {}
            }
            Ok(())
        })?;
        self.operators.note_use(operator)
    }

    /// `SparseTensorProto`: its values and indices are tensors; its dimensions do not take memory here.
    fn sparse_tensor<R: Read + Seek>(
        &mut self,
        wire: &mut Wire<R>,
        sparse: Field,
    ) -> Result<(), StoreError> {
        wire.message(
            sparse.end_of_message("sparse tensor")?,
            |wire, field| match field.number {
                1 => self.weights.add_initializer(read_tensor(wire, field)?),
                2 => self.weights.add_constant(read_tensor(wire, field)?),
                _ => Ok(()),
            },
        )
    }

    /// `FunctionProto`: nodes that the graph may call.
    fn function<R: Read + Seek>(
        &mut self,
        wire: &mut Wire<R>,
        function: Field,
    ) -> Result<(), StoreError> {
        let mut named = Operator::default();
        wire.message(function.end_of_message("function")?, |wire, field| {
            match field.number {
                1 => named.name = wire.text(field, MAX_NAME_BYTES, "name of a function")?,
                7 => self.node(wire, field, 0)?,
                10 => named.domain = wire.text(field, MAX_NAME_BYTES, "domain of a function")?,
                _ => {}
            }
            Ok(())
        })?;
        self.operators.note_function(named)
    }

    /// `TrainingInfoProto`: two more graphs, not run here but parsed by the runtime.
    fn training<R: Read + Seek>(
        &mut self,
        wire: &mut Wire<R>,
        training: Field,
    ) -> Result<(), StoreError> {
        wire.message(
            training.end_of_message("training information")?,
            |wire, field| match field.number {
                1 | 2 => self.graph(wire, field, 1),
                _ => Ok(()),
            },
        )
    }

    /// `OperatorSetIdProto`.
    fn opset<R: Read + Seek>(
        &mut self,
        wire: &mut Wire<R>,
        opset: Field,
    ) -> Result<(), StoreError> {
        let mut domain = String::new();
        let mut version = 0;
        wire.message(opset.end_of_message("operator set")?, |wire, field| {
            match field.number {
                1 => domain = wire.text(field, MAX_NAME_BYTES, "operator domain")?,
                2 => version = field.number_value("operator set version")?,
                _ => {}
            }
            Ok(())
        })?;
        push_bounded(
            &mut self.onnx.opsets,
            (domain, version),
            MAX_OPSETS,
            "operator sets",
        )
    }
}

/// The name of a `ValueInfoProto`.
fn add_value<R: Read + Seek>(
    wire: &mut Wire<R>,
    value: Field,
    values: &mut Vec<String>,
) -> Result<(), StoreError> {
    let mut name = String::new();
    wire.message(value.end_of_message("input or output")?, |wire, field| {
        if field.number == 1 {
            name = wire.text(field, MAX_NAME_BYTES, "name of an input or output")?;
        }
        Ok(())
    })?;
    push_bounded(values, name, MAX_VALUES, "inputs or outputs")
}

fn push_bounded<T>(list: &mut Vec<T>, item: T, limit: usize, what: &str) -> Result<(), StoreError> {
    if list.len() == limit {
        return Err(broken(format!("it has more than {limit} {what}")));
    }
    list.push(item);
    Ok(())
}

fn broken(text: impl AsRef<str>) -> StoreError {
    StoreError::broken(format!("invalid ONNX file: {}", text.as_ref()))
}

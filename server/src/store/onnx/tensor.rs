//! `TensorProto`: shape, element type and where the data is.

use std::io::{Read, Seek};

use super::wire::{Field, Wire};
use super::{StoreError, broken, push_bounded};
use crate::store::RelativeName;

const MAX_DIMENSIONS: usize = 64;
const MAX_EXTERNAL: usize = 65_536;
const MAX_TENSOR_NAME_BYTES: u64 = 4096;
const MAX_LOCATION_BYTES: u64 = 1024;
/// `TensorProto.DataType` has fewer kinds than this.
const TYPES: usize = 32;

/// Tensor data in another file of the model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExternalData {
    /// The file, relative to the folder of the graph.
    pub location: RelativeName,
    /// Where in that file the data begins, in bytes.
    pub offset: u64,
    /// How long the data is, in bytes.
    pub bytes: u64,
}

/// A tensor that has been checked.
pub(super) struct Tensor {
    elements: u64,
    data_type: ElementType,
    external: Option<ExternalData>,
}

/// What all tensors together hold.
#[derive(Default)]
pub(super) struct Weights {
    pub(super) external: Vec<ExternalData>,
    elements_by_type: [u64; TYPES],
}

#[derive(Clone, Copy)]
struct ElementType {
    id: usize,
    name: &'static str,
    /// Bits of one element in `raw_data` and external files; `None` for texts, which cannot be there.
    bits: Option<u64>,
}

/// The fields of a `TensorProto` as they come.
#[derive(Default)]
struct Draft {
    name: String,
    dimensions: Vec<u64>,
    data_type: u64,
    raw_bytes: Option<u64>,
    /// At most how many elements the typed fields (`float_data` and its like) hold.
    typed_values: u64,
    is_external: bool,
    location: Option<String>,
    offset: u64,
    length: Option<u64>,
}

impl Weights {
    /// Counts a tensor whose numbers are parameters of the model.
    pub(super) fn add_initializer(&mut self, tensor: Tensor) -> Result<(), StoreError> {
        let sum = &mut self.elements_by_type[tensor.data_type.id];
        *sum = sum.saturating_add(tensor.elements);
        self.add_constant(tensor)
    }

    /// Notes where a tensor's data is, without counting it.
    pub(super) fn add_constant(&mut self, tensor: Tensor) -> Result<(), StoreError> {
        match tensor.external {
            Some(external) => push_bounded(
                &mut self.external,
                external,
                MAX_EXTERNAL,
                "tensors in other files",
            ),
            None => Ok(()),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.elements_by_type
            .iter()
            .fold(0, |sum, &count| sum.saturating_add(count))
    }

    pub(super) fn most_common_type(&self) -> &'static str {
        let most = (0..TYPES).max_by_key(|&id| self.elements_by_type[id]);
        most.filter(|&id| self.elements_by_type[id] > 0)
            .and_then(ElementType::from_id)
            .map_or("unknown", |t| t.name)
    }
}

/// Reads a tensor and checks that its data is as long as its shape demands.
pub(super) fn read_tensor<R: Read + Seek>(
    wire: &mut Wire<R>,
    tensor: Field,
) -> Result<Tensor, StoreError> {
    let mut draft = Draft::default();
    wire.message(tensor.end_of_message("tensor")?, |wire, field| {
        draft.take(wire, field)
    })?;
    draft.check()
}

impl Draft {
    fn take<R: Read + Seek>(&mut self, wire: &mut Wire<R>, field: Field) -> Result<(), StoreError> {
        match field.number {
            1 => {
                let dimensions = &mut self.dimensions;
                return wire.numbers(field, |number| {
                    push_bounded(dimensions, number, MAX_DIMENSIONS, "dimensions")
                });
            }
            2 => self.data_type = field.number_value("tensor type")?,
            4..=7 | 10 | 11 => {
                self.typed_values = self
                    .typed_values
                    .saturating_add(field.values_at_most().max(1))
            }
            8 => self.name = wire.text(field, MAX_TENSOR_NAME_BYTES, "tensor name")?,
            9 if self.raw_bytes.is_some() => {
                return Err(broken(format!("tensor '{}' has data twice", self.name)));
            }
            9 => self.raw_bytes = Some(field.length("tensor's data")?),
            13 => return self.take_external(wire, field),
            14 => self.is_external = field.number_value("tensor's data location")? == 1,
            _ => {}
        }
        Ok(())
    }

    /// One key and value of `external_data`.
    fn take_external<R: Read + Seek>(
        &mut self,
        wire: &mut Wire<R>,
        entry: Field,
    ) -> Result<(), StoreError> {
        let (mut key, mut value) = (String::new(), String::new());
        wire.message(
            entry.end_of_message("external data entry")?,
            |wire, field| {
                match field.number {
                    1 => key = wire.text(field, MAX_LOCATION_BYTES, "key of external data")?,
                    2 => value = wire.text(field, MAX_LOCATION_BYTES, "value of external data")?,
                    _ => {}
                }
                Ok(())
            },
        )?;
        let number = || {
            value
                .parse()
                .map_err(|_| broken(format!("'{key}' of external data is not a number")))
        };
        match key.as_str() {
            "offset" => self.offset = number()?,
            "length" => self.length = Some(number()?),
            "location" => self.location = Some(value),
            _ => {}
        }
        Ok(())
    }

    fn check(self) -> Result<Tensor, StoreError> {
        let name = &self.name;
        let data_type = usize::try_from(self.data_type)
            .ok()
            .and_then(ElementType::from_id)
            .ok_or_else(|| {
                broken(format!(
                    "tensor '{name}' has unknown type {}",
                    self.data_type
                ))
            })?;
        let impossible = || {
            broken(format!(
                "tensor '{name}' cannot have the shape {:?}",
                self.dimensions
            ))
        };
        let elements = self
            .dimensions
            .iter()
            .try_fold(1_u64, |product, &dimension| product.checked_mul(dimension))
            .filter(|&elements| elements <= i64::MAX.unsigned_abs())
            .ok_or_else(impossible)?;
        let bytes = match data_type.bits {
            Some(bits) => Some(
                elements
                    .checked_mul(bits)
                    .ok_or_else(impossible)?
                    .div_ceil(8),
            ),
            None => None,
        };
        let mismatch = || {
            broken(format!(
                "tensor '{name}' does not have the data its shape {:?} needs",
                self.dimensions
            ))
        };
        let external = if self.is_external {
            let bytes = bytes
                .filter(|&bytes| self.length.is_none_or(|length| length == bytes))
                .ok_or_else(mismatch)?;
            let location = self.location.as_deref().unwrap_or_default();
            let location = location.parse().map_err(|_| {
                broken(format!(
                    "tensor '{name}' is in a file outside the model: {location:?}"
                ))
            })?;
            Some(ExternalData {
                location,
                offset: self.offset,
                bytes,
            })
        } else {
            let is_whole = match self.raw_bytes {
                Some(raw_bytes) => bytes == Some(raw_bytes),
                // Four two-bit elements share a value; all others have more bits.
                None => elements <= self.typed_values.saturating_mul(4),
            };
            is_whole.then_some(()).ok_or_else(mismatch)?;
            None
        };
        Ok(Tensor {
            elements,
            data_type,
            external,
        })
    }
}

impl ElementType {
    /// `TensorProto.DataType`; 0 is "undefined", which no tensor may be.
    fn from_id(id: usize) -> Option<Self> {
        let (name, bits) = match id {
            1 => ("F32", 32),
            2 => ("UINT8", 8),
            3 => ("INT8", 8),
            4 => ("UINT16", 16),
            5 => ("INT16", 16),
            6 => ("INT32", 32),
            7 => ("INT64", 64),
            8 => {
                return Some(Self {
                    id,
                    name: "STRING",
                    bits: None,
                });
            }
            9 => ("BOOL", 8),
            10 => ("F16", 16),
            11 => ("F64", 64),
            12 => ("UINT32", 32),
            13 => ("UINT64", 64),
            14 => ("COMPLEX64", 64),
            15 => ("COMPLEX128", 128),
            16 => ("BF16", 16),
            17..=20 | 24 => ("F8", 8),
            21 => ("UINT4", 4),
            22 => ("INT4", 4),
            23 => ("F4", 4),
            25 => ("UINT2", 2),
            26 => ("INT2", 2),
            _ => return None,
        };
        Some(Self {
            id,
            name,
            bits: Some(bits),
        })
    }
}

//! Where a graph keeps its weights: the few fields of the ONNX format that hold them or name other files.
//!
//! A graph may keep tensors in other files, by names relative to its own folder. Models are stored under the digests of
//! their files, so these names exist only in the model's description; [`relocate`] writes the true names into the graph.
//! A name that the description does not know is refused, so a graph cannot make the runtime open any other file.
//!
//! Weights inside the graph are named likewise, as parts of the graph's own file: ONNX Runtime maps what lies in a file, and
//! copies what it reads from a graph, so that it would hold them twice.
//!
//! Fields are those of `onnx.proto` (onnx/onnx 1.19); the encoding is that of Protocol Buffers:
//! <https://protobuf.dev/programming-guides/encoding/>.

use crate::inference::Error;

/// Subgraphs in subgraphs; real models have a handful of levels, at four messages a level.
const MOST_DEPTH: u32 = 64;

/// Fields of a tensor.
const RAW_DATA: u64 = 9;
const EXTERNAL_DATA: u64 = 13;
const DATA_LOCATION: u64 = 14;

/// What the last of them says of a tensor in another file.
const EXTERNAL: u64 = 1;

/// Weights from this size on are worth a mapping; what shapes are computed from is smaller, and stays where the runtime's
/// analysis looks for it.
const MAPPED_BYTES: usize = 4096;

/// A message of the format through which the way to the tensors leads.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
    ExternalData,
}

impl Message {
    /// The message in this field, if the way to the tensors leads through it.
    fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) => Self::Graph,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) => Self::Tensor,
            (Self::Graph, 15) => Self::SparseTensor,
            (Self::Function, 11) | (Self::Node, 5) => Self::Attribute,
            (Self::Attribute, 5 | 10) => Self::Tensor,
            (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::SparseTensor, 1 | 2) => Self::Tensor,
            (Self::Tensor, 13) => Self::ExternalData,
            _ => return None,
        })
    }
}

/// Copies a serialised model that is the whole content of the file `own`, with every file name that its tensors give
/// replaced by what `locate` makes of it, and its larger weights replaced by their place in `own`. `None` if it has neither.
///
/// # Errors
/// [`Error::LoadFailed`] if this is no ONNX model, and what `locate` returns.
pub(super) fn relocate(
    model: &[u8],
    own: &str,
    locate: &mut dyn FnMut(&str) -> Result<String, Error>,
) -> Result<Option<Vec<u8>>, Error> {
    let mut rewriting = Rewriting {
        model,
        own,
        locate,
        found: false,
    };
    let mut output = Vec::new();
    rewriting.message(Message::Model, model, &mut output, Place::default())?;
    Ok(rewriting.found.then_some(output))
}

/// Where in the graph a message is.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    depth: u32,
    /// Whether it is within a node: the runtime wants the values of those there.
    in_node: bool,
}

struct Rewriting<'a> {
    model: &'a [u8],
    own: &'a str,
    locate: &'a mut dyn FnMut(&str) -> Result<String, Error>,
    /// Whether anything was replaced.
    found: bool,
}

impl Rewriting<'_> {
    fn message(
        &mut self,
        message: Message,
        mut input: &[u8],
        output: &mut Vec<u8>,
        place: Place,
    ) -> Result<(), Error> {
        if place.depth > MOST_DEPTH {
            return Err(malformed("is nested too deeply"));
        }
        if let Message::ExternalData = message {
            return self.external_data(input, output);
        }
        while !input.is_empty() {
            let whole = input;
            let field = take_field(&mut input)?;
            match (field.bytes, message.field(field.number)) {
                (Some(bytes), Some(inner)) => {
                    let place = Place {
                        depth: place.depth + 1,
                        in_node: place.in_node || matches!(inner, Message::Node),
                    };
                    let mut rewritten = Vec::new();
                    self.message(inner, bytes, &mut rewritten, place)?;
                    put_bytes(output, field.number, &rewritten);
                }
                (Some(bytes), None)
                    if matches!(message, Message::Tensor)
                        && field.number == RAW_DATA
                        && bytes.len() >= MAPPED_BYTES
                        && !place.in_node =>
                {
                    self.map(bytes, output);
                }
                _ => output.extend_from_slice(&whole[..whole.len() - input.len()]),
            }
        }
        Ok(())
    }

    /// Names the place of weights that lie in the graph's own file.
    fn map(&mut self, weights: &[u8], output: &mut Vec<u8>) {
        let offset = weights.as_ptr().addr() - self.model.as_ptr().addr();
        for (key, value) in [
            ("location", self.own.to_owned()),
            ("offset", offset.to_string()),
            ("length", weights.len().to_string()),
        ] {
            put_bytes(
                output,
                EXTERNAL_DATA,
                &entry(key.as_bytes(), value.as_bytes()),
            );
        }
        put_varint(output, DATA_LOCATION << 3);
        put_varint(output, EXTERNAL);
        self.found = true;
    }

    /// An entry of a tensor's external data: a key (field 1) and its value (field 2).
    fn external_data(&mut self, mut input: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
        let (mut key, mut value) = (&[][..], &[][..]);
        while !input.is_empty() {
            let field = take_field(&mut input)?;
            match (field.number, field.bytes) {
                (1, Some(bytes)) => key = bytes,
                (2, Some(bytes)) => value = bytes,
                _ => {}
            }
        }
        let located;
        if key == b"location" {
            let name = std::str::from_utf8(value).map_err(|_| malformed("has a bad file name"))?;
            located = (self.locate)(name)?;
            value = located.as_bytes();
            self.found = true;
        }
        output.extend(entry(key, value));
        Ok(())
    }
}

fn entry(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut entry = Vec::new();
    put_bytes(&mut entry, 1, key);
    put_bytes(&mut entry, 2, value);
    entry
}

/// A field of a message; `bytes` if it is length-delimited, as messages and strings are.
struct Field<'a> {
    number: u64,
    bytes: Option<&'a [u8]>,
}

fn take_field<'a>(input: &mut &'a [u8]) -> Result<Field<'a>, Error> {
    let tag = take_varint(input)?;
    let number = tag >> 3;
    let bytes = match tag & 7 {
        0 => {
            take_varint(input)?;
            None
        }
        1 => {
            take(input, 8)?;
            None
        }
        2 => {
            let length = take_varint(input)?;
            Some(take(input, length)?)
        }
        5 => {
            take(input, 4)?;
            None
        }
        _ => return Err(malformed("has a field of unknown type")),
    };
    Ok(Field { number, bytes })
}

fn take<'a>(input: &mut &'a [u8], length: u64) -> Result<&'a [u8], Error> {
    let (taken, rest) = usize::try_from(length)
        .ok()
        .and_then(|length| input.split_at_checked(length))
        .ok_or_else(|| malformed("ends in the middle of a field"))?;
    *input = rest;
    Ok(taken)
}

fn take_varint(input: &mut &[u8]) -> Result<u64, Error> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(input, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("has a number of more than 64 bits"))
}

fn put_bytes(output: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(output, number << 3 | 2);
    put_varint(output, bytes.len() as u64);
    output.extend_from_slice(bytes);
}

fn put_varint(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

fn malformed(what: &str) -> Error {
    Error::LoadFailed(format!(
        "the ONNX graph {what}; the file is damaged or not ONNX"
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Moves the weights of a graph into bytes for another file, so that tests need no second model.
    pub fn externalize(model: &[u8], location: &str) -> (Vec<u8>, Vec<u8>) {
        fn copy(
            message: Message,
            mut input: &[u8],
            location: &str,
            weights: &mut Vec<u8>,
        ) -> Vec<u8> {
            let mut output = Vec::new();
            while !input.is_empty() {
                let whole = input;
                let field = take_field(&mut input).unwrap();
                match (message, field.number, field.bytes) {
                    (Message::Model, 7, Some(graph)) => {
                        put_bytes(
                            &mut output,
                            7,
                            &copy(Message::Graph, graph, location, weights),
                        );
                    }
                    (Message::Graph, 5, Some(tensor)) => {
                        put_bytes(
                            &mut output,
                            5,
                            &copy(Message::Tensor, tensor, location, weights),
                        );
                    }
                    // Raw data of more than a few numbers; what shapes are computed from stays in the graph.
                    (Message::Tensor, 9, Some(data)) if data.len() >= 256 => {
                        weights.resize(weights.len().next_multiple_of(4096), 0);
                        for (key, value) in [
                            ("location", location.to_owned()),
                            ("offset", weights.len().to_string()),
                            ("length", data.len().to_string()),
                        ] {
                            let mut entry = Vec::new();
                            put_bytes(&mut entry, 1, key.as_bytes());
                            put_bytes(&mut entry, 2, value.as_bytes());
                            put_bytes(&mut output, 13, &entry);
                        }
                        // data_location: EXTERNAL
                        output.extend([14 << 3, 1]);
                        weights.extend_from_slice(data);
                    }
                    _ => output.extend_from_slice(&whole[..whole.len() - input.len()]),
                }
            }
            output
        }
        let mut weights = Vec::new();
        let graph = copy(Message::Model, model, location, &mut weights);
        (graph, weights)
    }

    fn message(fields: &[(u64, &[u8])]) -> Vec<u8> {
        let mut output = Vec::new();
        for (number, bytes) in fields {
            put_bytes(&mut output, *number, bytes);
        }
        output
    }

    /// A model with one external tensor, wrapped in `levels` subgraphs, beside fields of every wire type.
    fn model(location: &str, levels: u32) -> Vec<u8> {
        let entry = message(&[(1, b"location"), (2, location.as_bytes())]);
        let offset = message(&[(1, b"offset"), (2, b"4096")]);
        let tensor = message(&[(8, b"weights"), (13, &entry), (13, &offset)]);
        let mut graph = message(&[(2, b"main"), (5, &tensor)]);
        for _ in 0..levels {
            let attribute = message(&[(1, b"body"), (6, &graph)]);
            graph = message(&[(1, &message(&[(4, b"Loop"), (5, &attribute)]))]);
        }
        let mut model = vec![1 << 3, 0x8a, 0x01, 2 << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8];
        model.extend([3 << 3 | 5, 1, 2, 3, 4]);
        model.extend(message(&[(7, &graph)]));
        model
    }

    fn blob(name: &str) -> Result<String, Error> {
        Ok(format!(
            "sha256-{name}-of-a-length-that-changes-every-enclosing-length-{}",
            "0".repeat(90)
        ))
    }

    #[test]
    fn a_name_is_replaced_at_every_level_and_nothing_else_changes() {
        for levels in [0, 1, 3] {
            let relocated = relocate(&model("model.onnx_data", levels), "own", &mut blob).unwrap();
            assert_eq!(
                relocated,
                Some(model(&blob("model.onnx_data").unwrap(), levels))
            );
        }
    }

    #[test]
    fn a_graph_that_names_no_files_is_left_alone() {
        let tensor = message(&[(8, b"weights"), (9, &[0; 64])]);
        let graph = message(&[(7, &message(&[(5, &tensor)]))]);
        assert_eq!(relocate(&graph, "own", &mut blob).unwrap(), None);
    }

    #[test]
    fn weights_are_replaced_by_their_place_except_in_nodes() {
        let weights: Vec<u8> = (0..MAPPED_BYTES).map(|n| (n % 251) as u8).collect();
        let tensor = message(&[(8, b"weights"), (9, &weights)]);
        let constant = message(&[
            (4, b"Constant"),
            (5, &message(&[(1, b"value"), (5, &tensor)])),
        ]);
        let graph = message(&[(7, &message(&[(1, &constant), (5, &tensor)]))]);
        let relocated = relocate(&graph, "own", &mut blob).unwrap().unwrap();
        assert!(relocated.len() < graph.len() - MAPPED_BYTES / 2);
        assert!(relocated.len() > MAPPED_BYTES);
        let key = b"offset\x12";
        let at = relocated.windows(key.len()).position(|bytes| bytes == key);
        let at = at.unwrap() + key.len();
        let length = usize::from(relocated[at]);
        let offset = std::str::from_utf8(&relocated[at + 1..=at + length]).unwrap();
        let offset: usize = offset.parse().unwrap();
        assert_eq!(graph[offset..offset + MAPPED_BYTES], weights);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let mut refuse = |name: &str| Err(Error::LoadFailed(name.to_owned()));
        assert_eq!(
            relocate(&model("../../etc/passwd", 0), "own", &mut refuse),
            Err(Error::LoadFailed("../../etc/passwd".into()))
        );
    }

    #[test]
    fn endless_nesting_is_refused() {
        assert!(relocate(&model("x", 100), "own", &mut blob).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = relocate(&bytes, "own", &mut blob);
        }

        #[test]
        fn no_cut_makes_it_panic(cut in 0usize..200) {
            let model = model("model.onnx_data", 2);
            let _ = relocate(&model[..cut.min(model.len())], "own", &mut blob);
        }
    }
}

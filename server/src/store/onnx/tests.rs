use std::io::Cursor;

use proptest::prelude::*;

use super::*;

/// A field with a length: a message, text or bytes.
pub(in crate::store) fn message(number: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = varint(number << 3 | 2);
    bytes.extend(varint(content.len() as u64));
    bytes.extend(content);
    bytes
}

fn number(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn tensor(dimensions: &[u64], data_type: u64, raw: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = message(
        1,
        &dimensions
            .iter()
            .flat_map(|&dimension| varint(dimension))
            .collect::<Vec<_>>(),
    );
    bytes.extend(number(2, data_type));
    bytes.extend(message(8, b"w"));
    bytes.extend(raw.map(|raw| message(9, raw)).unwrap_or_default());
    bytes
}

fn external(dimensions: &[u64], location: &str, length: &str) -> Vec<u8> {
    let entry = |key: &str, value: &str| {
        message(
            13,
            &[message(1, key.as_bytes()), message(2, value.as_bytes())].concat(),
        )
    };
    [
        tensor(dimensions, 1, None),
        entry("location", location),
        entry("offset", "64"),
        entry("length", length),
        number(14, 1),
    ]
    .concat()
}

/// A model whose graph has the given fields besides an input and an output.
pub(in crate::store) fn model(input: &str, graph: &[u8]) -> Vec<u8> {
    let value = |field, name: &str| message(field, &message(1, name.as_bytes()));
    let graph = [graph, &value(11, input), &value(12, "vectors")].concat();
    [number(1, 8), message(7, &graph), message(8, &number(2, 17))].concat()
}

/// A model with six F32 weights inside and three in `model.onnx_data`.
pub(in crate::store) fn text_model() -> Vec<u8> {
    let inner = message(5, &tensor(&[2, 3], 1, Some(&[0; 24])));
    let outer = message(5, &external(&[3], "model.onnx_data", "12"));
    model("input_ids", &[inner, outer].concat())
}

fn read(bytes: &[u8]) -> Result<Onnx, StoreError> {
    Onnx::read(Cursor::new(bytes))
}

fn check_refused(bytes: &[u8], expected: &str) {
    let error = read(bytes).unwrap_err().to_string();
    assert!(error.contains(expected), "{error:?} lacks {expected:?}");
}

#[test]
fn a_model_is_described() {
    let onnx = read(&text_model()).unwrap();
    assert_eq!(
        (onnx.ir_version, onnx.opsets.clone()),
        (8, vec![(String::new(), 17)])
    );
    assert_eq!(
        (onnx.inputs.clone(), onnx.outputs.clone()),
        (vec!["input_ids".to_owned()], vec!["vectors".to_owned()])
    );
    assert_eq!((onnx.parameter_count, onnx.weight_type), (9, "F32"));
    let location = "model.onnx_data".parse().unwrap();
    assert_eq!(
        onnx.external,
        [ExternalData {
            location,
            offset: 64,
            bytes: 12
        }]
    );
    assert!(onnx.takes_text());
    assert!(!read(&model("pixels", &[])).unwrap().takes_text());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = text_model();
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).unwrap_err();
        assert!(
            matches!(error, StoreError::BrokenModel(_)),
            "{length}: {error:?}"
        );
    }
}

#[test]
fn data_outside_the_model_is_refused_wherever_it_hides() {
    for location in [
        "../../etc/passwd",
        "a/../../x",
        "/etc/passwd",
        "C:\\x",
        "",
        "file://x",
        "*/_ORT_MEM_ADDR_/*",
    ] {
        let bad = external(&[3], location, "12");
        check_refused(&model("x", &message(5, &bad)), "outside the model");
        let in_node = message(1, &message(5, &message(5, &bad)));
        check_refused(&model("x", &in_node), "outside the model");
        let in_subgraph = message(1, &message(5, &message(6, &message(5, &bad))));
        check_refused(&model("x", &in_subgraph), "outside the model");
        check_refused(
            &model("x", &message(15, &message(2, &bad))),
            "outside the model",
        );
        let in_function = message(25, &message(7, &message(5, &message(5, &bad))));
        check_refused(
            &[model("x", &[]), in_function].concat(),
            "outside the model",
        );
        let in_training = message(20, &message(1, &message(5, &bad)));
        check_refused(
            &[model("x", &[]), in_training].concat(),
            "outside the model",
        );
    }
}

#[test]
fn tensors_whose_data_does_not_fit_their_shape_are_refused() {
    let with = |tensor: Vec<u8>| model("x", &message(5, &tensor));
    check_refused(
        &with(tensor(&[2, 3], 1, Some(&[0; 23]))),
        "does not have the data",
    );
    check_refused(
        &with(tensor(&[1 << 30, 1 << 30], 1, Some(&[0; 4]))),
        "cannot have the shape",
    );
    check_refused(
        &with(tensor(&[1 << 20, 1 << 20], 1, Some(&[0; 4]))),
        "does not have the data",
    );
    check_refused(&with(tensor(&[1 << 40], 1, None)), "does not have the data");
    check_refused(
        &with(tensor(&[u64::MAX], 1, Some(&[]))),
        "cannot have the shape",
    );
    check_refused(&with(tensor(&[1], 0, Some(&[0]))), "unknown type 0");
    check_refused(&with(tensor(&[1], 99, Some(&[0]))), "unknown type 99");
    check_refused(
        &with(tensor(&[1; 65], 1, Some(&[0; 4]))),
        "more than 64 dimensions",
    );
    check_refused(
        &with(external(&[3], "data", "13")),
        "does not have the data",
    );
    check_refused(
        &with(external(&[3], "data", "many")),
        "'length' of external data is not a number",
    );
    let packed_floats = [tensor(&[2], 1, None), message(4, &[0; 8])].concat();
    assert_eq!(read(&with(packed_floats)).unwrap().parameter_count, 2);
    assert_eq!(
        read(&with(tensor(&[3], 22, Some(&[0; 2]))))
            .unwrap()
            .weight_type,
        "INT4"
    );
}

/// A node that names an operator.
fn node(domain: &str, name: &str) -> Vec<u8> {
    [message(4, name.as_bytes()), message(7, domain.as_bytes())].concat()
}

#[test]
fn operators_that_no_encoder_needs_are_refused_by_name_wherever_they_hide() {
    for (domain, name) in [
        ("", "StringNormalizer"),
        ("", "RandomNormal"),
        ("", "NonMaxSuppression"),
        ("", ""),
        ("ai.onnx", "ImageDecoder"),
        ("ai.onnx.ml", "ArrayFeatureExtractor"),
        ("ai.onnx.ml", "SVMClassifier"),
        ("ai.onnx.training", "Gradient"),
        ("com.microsoft", "Tokenizer"),
        ("com.microsoft.extensions", "MatMul"),
        ("evil", "MatMul"),
    ] {
        let bad = node(domain, name);
        let expected = format!("it uses the operator '{name}'");
        check_refused(&model("x", &message(1, &bad)), &expected);
        let in_subgraph = node("", "If");
        let in_subgraph = [in_subgraph, message(5, &message(6, &message(1, &bad)))].concat();
        check_refused(&model("x", &message(1, &in_subgraph)), &expected);
        let in_function = message(25, &message(7, &bad));
        check_refused(&[model("x", &[]), in_function].concat(), &expected);
        let in_training = message(20, &message(1, &message(1, &bad)));
        check_refused(&[model("x", &[]), in_training].concat(), &expected);
    }
}

#[test]
fn operators_of_encoders_and_functions_of_the_models_own_are_let_through() {
    let of = |nodes: &[Vec<u8>]| {
        let nodes = nodes.iter().flat_map(|node| message(1, node));
        model("x", &nodes.collect::<Vec<_>>())
    };
    let usual = [
        node("", "MatMul"),
        node("ai.onnx", "Softmax"),
        node("com.microsoft", "SkipLayerNormalization"),
    ];
    read(&of(&usual)).unwrap();
    let called = of(&[node("pkg.torch", "attention")]);
    check_refused(&called, "'attention' of 'pkg.torch'");
    let function = [
        message(1, b"attention"),
        message(7, &node("", "MatMul")),
        message(10, b"pkg.torch"),
    ];
    read(&[called, message(25, &function.concat())].concat()).unwrap();
}

#[test]
fn what_is_no_onnx_is_named() {
    check_refused(b"", "it has no graph");
    check_refused(b"GGUF\x03\0\0\0", "invalid ONNX file");
    check_refused(&number(1, 8), "it has no graph");
    check_refused(
        &[number(1, 8), message(7, &[])].concat(),
        "imports no operator set",
    );
    check_refused(
        &[number(1, 8), message(7, &[]), message(8, &[])].concat(),
        "no output",
    );
    check_refused(&[model("x", &[]), message(7, &[])].concat(), "two graphs");
    let mut nested = Vec::new();
    for _ in 0..1000 {
        nested = message(1, &message(5, &message(6, &nested)));
    }
    check_refused(&model("x", &nested), "nest deeper");
}

proptest! {
    #[test]
    fn mutants_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = text_model();
        for (index, byte) in changes {
            let position = index.index(bytes.len());
            bytes[position] = byte;
        }
        let _ = read(&bytes);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = read(&bytes);
    }
}

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::store::testing::{GgufBuilder, Kv};

fn read(bytes: &[u8]) -> Result<Gguf, StoreError> {
    Gguf::read(Cursor::new(bytes), Arrays::Skip)
}

fn check_refused(bytes: &[u8], expected: &str) {
    let error = read(bytes).unwrap_err().to_string();
    assert!(error.contains(expected), "{error:?} lacks {expected:?}");
}

#[test]
fn a_header_is_read_whole() {
    let bytes = GgufBuilder::llama()
        .with("x.bias", Kv::F32(0.1))
        .with("x.shift", Kv::I32(-3))
        .build();
    let gguf = Gguf::read(Cursor::new(&bytes), Arrays::Keep).unwrap();
    assert_eq!(gguf.version, 3);
    assert_eq!(gguf.architecture(), "llama");
    assert_eq!(gguf.chat_template(), Some("{{ messages[0].content }}"));
    assert_eq!(gguf.file_type(), "Q8_0");
    assert_eq!(
        gguf.of_architecture("context_length"),
        Some(&Value::Unsigned(128))
    );
    assert_eq!(gguf.metadata["x.bias"], Value::Float32(0.1));
    assert_eq!(gguf.metadata["x.shift"], Value::Signed(-3));
    let Value::Array {
        length: 3,
        values: Some(values),
    } = &gguf.metadata["tokenizer.ggml.tokens"]
    else {
        panic!()
    };
    assert_eq!(values[1], Value::Text("b".to_owned()));
    let tensor = &gguf.tensors[0];
    assert_eq!(
        (tensor.name.as_str(), &tensor.shape[..], tensor.bytes),
        ("token_embd.weight", &[32, 3][..], 3 * 34)
    );
    assert_eq!(gguf.parameter_count(), 96 + 32);
    let skipped = read(&bytes).unwrap();
    assert_eq!(
        skipped.metadata["tokenizer.ggml.tokens"],
        Value::Array {
            length: 3,
            values: None
        }
    );
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = GgufBuilder::llama().build();
    read(&bytes).unwrap();
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).unwrap_err();
        assert!(
            matches!(error, StoreError::BrokenModel(_)),
            "{length}: {error:?}"
        );
    }
}

#[test]
fn lying_numbers_anywhere_are_refused_or_harmless() {
    let bytes = GgufBuilder::llama().build();
    for lie in [0, 1_u64 << 31, 1 << 32, 1 << 63, u64::MAX] {
        for position in 0..bytes.len() - 8 {
            let mut mutated = bytes.clone();
            mutated[position..position + 8].copy_from_slice(&lie.to_le_bytes());
            // Some land in text or data; none may panic or ask for memory beyond the file.
            if let Ok(gguf) = Gguf::read(Cursor::new(&mutated), Arrays::Keep) {
                let held: u64 = gguf.tensors.iter().map(|tensor| tensor.bytes).sum();
                assert!(held <= 2 * bytes.len() as u64);
            }
        }
    }
}

#[test]
fn what_is_no_gguf_is_named() {
    check_refused(b"", "does not begin with");
    check_refused(b"PK\x03\x04....", "does not begin with");
    check_refused(b"GGUF", "ends at byte 4 inside version");
    check_refused(b"GGUF\x01\0\0\0", "version 1 is not supported");
    check_refused(b"GGUF\0\0\0\x03", "big-endian");
}

#[test]
fn metadata_that_would_mislead_the_loader_is_refused_by_key() {
    let with = |key: &str, value: Kv| GgufBuilder::llama().with(key, value).build();
    for value in [
        Kv::U32(0),
        Kv::U32(513),
        Kv::I32(-1),
        Kv::F32(f32::NAN),
        Kv::Text("2"),
    ] {
        check_refused(
            &with("llama.block_count", value),
            "'llama.block_count' must be a whole number from 1 to 512",
        );
    }
    check_refused(
        &with("llama.expert_count", Kv::U32(1_000_000)),
        "'llama.expert_count'",
    );
    check_refused(
        &with("llama.embedding_length", Kv::U32(0)),
        "'llama.embedding_length'",
    );
    for alignment in [0, 3, 1 << 31] {
        check_refused(
            &with("general.alignment", Kv::U32(alignment)),
            "'general.alignment'",
        );
    }
    check_refused(
        &with("general.alignment", Kv::Text("32")),
        "'general.alignment'",
    );
    check_refused(
        &with("general.architecture", Kv::U32(1)),
        "'general.architecture'",
    );
    check_refused(
        &with("odd", Kv::Raw(7, vec![2])),
        "key 'odd' is the truth value 2",
    );
    check_refused(
        &with("odd", Kv::Raw(13, vec![])),
        "key 'odd' has unknown type 13",
    );
    check_refused(
        &with(
            "odd",
            Kv::Raw(9, [9_u32.to_le_bytes().as_slice(), &[0; 8]].concat()),
        ),
        "array of arrays",
    );
    check_refused(&GgufBuilder::default().build(), "'general.architecture'");
    let twice = GgufBuilder::llama().repeat("general.architecture").build();
    check_refused(&twice, "key 'general.architecture' appears twice");
}

#[test]
fn tensors_outside_the_file_or_the_arithmetic_are_refused() {
    let with = |shape: &[u64], kind, offset| {
        GgufBuilder::llama()
            .tensor("t", shape, kind, offset)
            .build()
    };
    check_refused(
        &with(&[1 << 24], 0, 0),
        "tensor 't' ends beyond the end of the file",
    );
    check_refused(
        &with(&[32], 0, u64::MAX - 31),
        "tensor 't' ends beyond the end of the file",
    );
    check_refused(&with(&[32], 0, 7), "tensor 't' is not aligned to 32 bytes");
    check_refused(&with(&[32], 4, 0), "tensor 't' has unknown type 4");
    check_refused(&with(&[32], u32::MAX, 0), "unknown type");
    check_refused(&with(&[1; 5], 0, 0), "tensor 't' has 5 dimensions");
    check_refused(&with(&[0], 0, 0), "cannot have the shape [0]");
    check_refused(&with(&[33], 8, 0), "type Q8_0 cannot have the shape [33]");
    let twice = GgufBuilder::llama()
        .tensor("t", &[8], 0, 0)
        .tensor("t", &[8], 0, 32)
        .build();
    check_refused(&twice, "tensor 't' appears twice");
}

#[test]
fn no_shape_wraps_around() {
    for kind in (0..64).filter_map(TensorType::from_id) {
        for shape in [
            vec![1 << 32, 1 << 32],
            vec![1 << 63, 2],
            vec![1 << 62, 1 << 62, 4],
            vec![256, 1 << 56],
            vec![u64::MAX],
            vec![256, u64::MAX / 256 + 1],
            vec![1 << 16; 4],
            vec![1 << 31, 1 << 31, 4, 256],
        ] {
            assert_eq!(kind.bytes(&shape), None, "{kind} {shape:?}");
        }
        assert!(kind.bytes(&[256, 3]).is_some(), "{kind}");
    }
}

#[test]
fn what_llama_cpp_asserts_of_metadata_is_checked_before() {
    let with = |entries: &[(&str, Kv)]| {
        let start = GgufBuilder::llama();
        let all = entries
            .iter()
            .fold(start, |built, (key, value)| built.with(key, value.clone()));
        all.build()
    };
    let counts = |experts, used, groups, used_groups| {
        with(&[
            ("llama.expert_count", Kv::U32(experts)),
            ("llama.expert_used_count", Kv::U32(used)),
            ("llama.expert_group_count", Kv::U32(groups)),
            ("llama.expert_group_used_count", Kv::U32(used_groups)),
        ])
    };
    let windows = |blocks, pattern| {
        with(&[
            ("general.architecture", Kv::Text("gemma-embedding")),
            ("gemma-embedding.block_count", Kv::U32(blocks)),
            (
                "gemma-embedding.attention.sliding_window_pattern",
                Kv::U32(pattern),
            ),
        ])
    };
    for allowed in [
        windows(6, 6),
        windows(2, 2),
        counts(0, 0, 0, 0),
        counts(8, 2, 0, 0),
        counts(8, 8, 1, 0),
        counts(8, 2, 4, 3),
        with(&[("llama.rope.scaling.type", Kv::Text("yarn"))]),
        with(&[("llama.nextn_predict_layers", Kv::U32(1))]),
        with(&[("llama.attention.layer_norm_rms_epsilon", Kv::F32(0.0))]),
        with(&[
            ("llama.attention.head_count", Kv::U32(4)),
            ("llama.rope.dimension_count", Kv::U32(8)),
        ]),
        with(&[
            ("llama.attention.head_count", Kv::U32(4)),
            ("llama.attention.key_length", Kv::U32(16)),
            ("llama.rope.dimension_count", Kv::U32(16)),
        ]),
        with(&[("tokenizer.ggml.tokens", Kv::Texts(&["", "", "a", "\0b"]))]),
    ] {
        read(&allowed).unwrap();
    }
    for (refused, why) in [
        (windows(5, 6), "sliding_window_pattern' must be such that"),
        (windows(6, 1), "sliding_window_pattern' must be such that"),
        (windows(6, 0), "sliding_window_pattern' must be such that"),
        (counts(0, 1, 0, 0), "'llama.expert_used_count'"),
        (counts(8, 0, 0, 0), "'llama.expert_used_count'"),
        (counts(8, 9, 0, 0), "'llama.expert_used_count'"),
        (counts(0, 0, 1, 0), "'llama.expert_group_count'"),
        (counts(8, 2, 8, 2), "'llama.expert_group_count'"),
        (counts(8, 2, 3, 2), "'llama.expert_group_count'"),
        (counts(8, 2, 4, 0), "'llama.expert_group_used_count'"),
        (counts(8, 2, 4, 4), "'llama.expert_group_used_count'"),
        (
            with(&[("llama.rope.scaling.type", Kv::Text("x"))]),
            "'llama.rope.scaling.type'",
        ),
        (
            with(&[("llama.pooling_type", Kv::U32(63))]),
            "'llama.pooling_type'",
        ),
        (
            with(&[("llama.nextn_predict_layers", Kv::U32(2))]),
            "'llama.nextn_predict_layers'",
        ),
        (
            with(&[("llama.attention.layer_norm_rms_epsilon", Kv::F32(f32::NAN))]),
            "'llama.attention.layer_norm_rms_epsilon'",
        ),
        (
            with(&[("llama.attention.layer_norm_epsilon", Kv::F32(-1e-6))]),
            "'llama.attention.layer_norm_epsilon'",
        ),
        (
            with(&[
                ("llama.attention.head_count", Kv::U32(4)),
                ("llama.rope.dimension_count", Kv::U32(16)),
            ]),
            "'llama.rope.dimension_count'",
        ),
        (
            GgufBuilder::llama()
                .tensor("blk.0.attn_norm.weight", &[32], 26, 128)
                .build(),
            "'blk.0.attn_norm.weight' is of the type I32",
        ),
        (
            with(&[("tokenizer.ggml.tokens", Kv::Texts(&["a", "b", "a\0c"]))]),
            "token 2 of 'tokenizer.ggml.tokens'",
        ),
    ] {
        check_refused(&refused, why);
        assert!(Gguf::read(Cursor::new(&refused), Arrays::Keep).is_err());
    }
}

#[test]
fn metadata_beyond_the_allowance_is_refused() {
    let vocabulary = GgufBuilder::llama().with(
        "numbers",
        Kv::Raw(9, {
            let count = HELD_WITH_ARRAYS_BYTES / 24;
            let mut bytes = [0_u32.to_le_bytes().as_slice(), &count.to_le_bytes()].concat();
            bytes.resize(bytes.len() + usize::try_from(count).unwrap(), 1);
            bytes
        }),
    );
    let bytes = vocabulary.build();
    read(&bytes).unwrap();
    let error = Gguf::read(Cursor::new(&bytes), Arrays::Keep).unwrap_err();
    assert!(error.to_string().contains("too large to hold"), "{error}");
}

proptest! {
    #[test]
    fn mutants_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16)) {
        let mut bytes = GgufBuilder::llama().build();
        for (index, byte) in changes {
            let position = index.index(bytes.len());
            bytes[position] = byte;
        }
        let _ = Gguf::read(Cursor::new(&bytes), Arrays::Keep);
    }

    #[test]
    fn garbage_never_panics(tail in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = read(&[b"GGUF\x03\0\0\0".as_slice(), &tail].concat());
    }
}

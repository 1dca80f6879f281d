use serde_json::json;

use super::*;
use crate::store::onnx::tests as onnx;
use crate::store::testing::{GgufBuilder, Kv, TestStore, file_names, make, name};
use crate::store::{Capability, Weights, onnx_source};

/// A request for `name` made of these files, uploaded first.
fn from_files(store: &Store, model: &str, files: &[(&str, &[u8])]) -> CreateModel {
    let mut request = CreateModel::new(name(model));
    for (file, bytes) in files {
        request.files.insert(
            file.parse().unwrap(),
            store.import(*bytes, None).unwrap().digest,
        );
    }
    request
}

fn create(store: &Store, request: &CreateModel) -> Result<Vec<String>, StoreError> {
    let mut lines = Vec::new();
    store.create(request, &mut |progress| lines.push(progress.to_string()))?;
    Ok(lines)
}

fn check_error(store: &Store, request: &CreateModel, expected: &str) {
    let error = create(store, request).unwrap_err().to_string();
    assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    assert!(matches!(
        store.entry(&request.name),
        Err(StoreError::NotFound(_))
    ));
}

const CONFIG: &[u8] = br#"{"model_type":"bert","architectures":["BertModel"],"hidden_size":384,"max_position_embeddings":512}"#;

fn sentence_files(graph: &[u8]) -> [(&str, &[u8]); 5] {
    [
        ("model.onnx", graph),
        ("model.onnx_data", &[0; 76]),
        ("tokenizer.json", b"{}"),
        ("config.json", CONFIG),
        (
            "1_Pooling/config.json",
            b"{\"pooling_mode_mean_tokens\":true}",
        ),
    ]
}

#[test]
fn a_gguf_file_becomes_a_model() {
    let store = TestStore::new();
    let gguf = GgufBuilder::llama().build();
    let mut request = from_files(&store, "tiny", &[("tiny.gguf", &gguf)]);
    request.template = Some("{{ .Prompt }}".to_owned());
    request.system = Some("Be brief.".to_owned());
    request.licenses = vec!["MIT".to_owned()];
    request.parameters.add("stop", "<|end|>").unwrap();
    request.messages = vec![Message {
        role: "user".to_owned(),
        content: "Hi".to_owned(),
    }];
    let lines = create(&store, &request).unwrap();
    assert_eq!(lines[0], "parsing GGUF");
    assert_eq!(
        lines[1],
        format!("using existing layer {}", Digest::of(&gguf))
    );
    assert_eq!(
        lines[2],
        format!("creating new layer {}", Digest::of(b"{{ .Prompt }}"))
    );
    assert_eq!(
        lines[5],
        format!(
            "creating new layer {}",
            Digest::of(b"{\"stop\":[\"<|end|>\"]}\n")
        )
    );
    assert_eq!(
        lines[6],
        format!(
            "creating new layer {}",
            Digest::of(b"[{\"role\":\"user\",\"content\":\"Hi\"}]\n")
        )
    );
    assert_eq!(lines[8..], ["writing manifest", "success"]);
    let model = store.model(&name("tiny")).unwrap();
    assert_eq!(
        (
            model.details.family.as_str(),
            model.details.parameter_size.as_str()
        ),
        ("llama", "128")
    );
    assert_eq!(model.messages, request.messages);
    assert_eq!(model.parameters, request.parameters);
    assert_eq!(model.licenses, request.licenses);
}

#[test]
fn a_model_is_built_on_another() {
    let store = TestStore::new();
    make(&store, "base", "old");
    let mut request = CreateModel::new(name("mid"));
    request.from = Some(name("BASE"));
    request.parameters.add("seed", "1").unwrap();
    request.parameters.add("stop", "a").unwrap();
    create(&store, &request).unwrap();
    request.name = name("top");
    request.from = Some(name("mid"));
    request.parameters = Parameters::default();
    request.parameters.add("stop", "b").unwrap();
    request.system = Some("new".to_owned());
    request.requires = Some("0.9.0".to_owned());
    create(&store, &request).unwrap();
    let model = store.model(&name("top")).unwrap();
    assert_eq!(model.system.as_deref(), Some("new"));
    assert_eq!(
        serde_json::to_value(&model.parameters).unwrap(),
        json!({"seed": 1, "stop": ["b"]})
    );
    assert_eq!(
        (
            model.config.model_family.as_str(),
            model.config.requires.as_str()
        ),
        ("llama", "0.9.0")
    );
    let manifest = store.entry(&name("top")).unwrap().manifest;
    assert_eq!(manifest.layers[0].from.as_deref(), Some("mid:latest"));
    assert_eq!(
        store.model(&name("base")).unwrap().system.as_deref(),
        Some("old")
    );
    let itself = CreateModel {
        from: Some(name("top")),
        ..CreateModel::new(name("top"))
    };
    create(&store, &itself).unwrap();
    assert_eq!(
        store.model(&name("top")).unwrap().system.as_deref(),
        Some("new")
    );
}

#[test]
fn licences_come_after_those_of_the_base() {
    let store = TestStore::new();
    make(&store, "base", "old");
    let mut from = "base";
    for (made, licenses) in [("mid", ["MIT", "Apache"]), ("top", ["Mine", "Yours"])] {
        let request = CreateModel {
            from: Some(name(from)),
            licenses: licenses.map(str::to_owned).to_vec(),
            ..CreateModel::new(name(made))
        };
        create(&store, &request).unwrap();
        from = made;
    }
    let silent = CreateModel {
        from: Some(name("top")),
        ..CreateModel::new(name("silent"))
    };
    create(&store, &silent).unwrap();
    for made in ["top", "silent"] {
        let model = store.model(&name(made)).unwrap();
        assert_eq!(model.licenses, ["MIT", "Apache", "Mine", "Yours"], "{made}");
    }
    assert_eq!(
        store.model(&name("mid")).unwrap().licenses,
        ["MIT", "Apache"]
    );
}

#[test]
fn a_projector_is_told_from_its_model() {
    let store = TestStore::new();
    let projector = GgufBuilder::default()
        .with("general.architecture", Kv::Text("clip"))
        .build();
    let model = GgufBuilder::llama().build();
    create(
        &store,
        &from_files(
            &store,
            "sees",
            &[("a.gguf", &projector), ("b.gguf", &model)],
        ),
    )
    .unwrap();
    let sees = store.model(&name("sees")).unwrap();
    assert!(sees.capabilities.contains(&Capability::Vision));
    assert_eq!(
        sees.details.families.as_deref(),
        Some(&["llama".to_owned(), "clip".to_owned()][..])
    );
}

#[test]
fn an_onnx_folder_becomes_a_model() {
    let store = TestStore::new();
    let graph = onnx::text_model();
    let files = sentence_files(&graph);
    let lines = create(&store, &from_files(&store, "embed", &files)).unwrap();
    assert_eq!(lines[0], "validating ONNX model");
    let model = store.model(&name("embed")).unwrap();
    assert_eq!(model.capabilities, [Capability::Embedding]);
    let details = &model.details;
    assert_eq!(
        (details.format.as_str(), details.family.as_str()),
        ("onnx", "bert")
    );
    assert_eq!(
        (details.context_length, details.embedding_length),
        (Some(512), Some(384))
    );
    assert_eq!(
        (
            details.parameter_size.as_str(),
            details.quantization_level.as_str()
        ),
        ("9", "F32")
    );
    let Weights::Onnx {
        graph_name,
        graph: file,
        files: beside,
        encoder: None,
    } = &model.weights
    else {
        panic!()
    };
    assert_eq!(
        (graph_name.as_str(), std::fs::read(&file.path).unwrap()),
        ("model.onnx", graph.clone())
    );
    let names: Vec<_> = beside.keys().map(RelativeName::as_str).collect();
    assert_eq!(
        names,
        [
            "1_Pooling/config.json",
            "config.json",
            "model.onnx_data",
            "tokenizer.json"
        ]
    );
    let text = String::from_utf8(store.entry(&name("embed")).unwrap().manifest.to_bytes()).unwrap();
    assert!(text.contains("\"mediaType\":\"application/vnd.chaski.image.onnx\""));
    assert!(text.contains("\"name\":\"1_Pooling/config.json\""));
    let copy = CreateModel {
        from: Some(name("embed")),
        ..CreateModel::new(name("copy"))
    };
    create(&store, &copy).unwrap();
    assert_eq!(
        store.model(&name("copy")).unwrap().capabilities,
        [Capability::Embedding]
    );
}

#[test]
fn labels_tell_a_classifier_from_a_reranker() {
    let store = TestStore::new();
    let graph = onnx::text_model();
    let labels = |labels: &str| {
        format!(r#"{{"architectures":["XForSequenceClassification"],"id2label":{labels}}}"#)
    };
    for (labels, expected) in [
        (labels(r#"{"0":"a","1":"b","2":"c"}"#), Capability::Classify),
        (labels(r#"{"0":"LABEL_0"}"#), Capability::Rerank),
        (labels("null"), Capability::Classify),
    ] {
        let mut files = sentence_files(&graph);
        files[3].1 = labels.as_bytes();
        create(&store, &from_files(&store, "labels", &files)).unwrap();
        assert_eq!(
            store.model(&name("labels")).unwrap().capabilities,
            [expected],
            "{labels}"
        );
    }
}

type Change<'a> = &'a dyn Fn(&mut Vec<(&'static str, &'static [u8])>);

#[test]
fn onnx_files_that_do_not_fit_together_are_refused() {
    let store = TestStore::new();
    let graph: &'static [u8] = onnx::text_model().leak();
    let check = |change: Change<'_>, expected: &str| {
        let mut files = sentence_files(graph).to_vec();
        change(&mut files);
        check_error(&store, &from_files(&store, "bad", &files), expected);
    };
    check(
        &|files| files[0].1 = &graph[..graph.len() - 3],
        "invalid ONNX file",
    );
    check(&|files| files[0].1 = b"not a graph", "invalid ONNX file");
    check(
        &|files| files.retain(|file| file.0 != "model.onnx_data"),
        "needs the file 'model.onnx_data'",
    );
    check(
        &|files| files[1].1 = &[0; 75],
        "'model.onnx_data' is shorter",
    );
    check(
        &|files| files.retain(|file| file.0 != "tokenizer.json"),
        "needs tokenizer.json",
    );
    check(
        &|files| files.retain(|file| file.0 != "config.json"),
        "needs config.json",
    );
    check(
        &|files| files[2].1 = b"{\"truncated\":",
        "tokenizer.json of the model",
    );
    check(&|files| files[3].1 = b"[]", "config.json of the model");
    check(&|files| files.push(("other.onnx", graph)), "2 ONNX graphs");
    let other = onnx::model("pixels", &[]);
    create(&store, &from_files(&store, "pixels", &[("m.onnx", &other)])).unwrap();
    let nested = [
        ("onnx/model.onnx", graph),
        ("onnx/model.onnx_data", &[0; 76]),
        ("tokenizer.json", b"{}"),
        ("config.json", CONFIG),
    ];
    create(&store, &from_files(&store, "nested", &nested)).unwrap();
}

#[test]
fn requests_that_make_no_sense_are_refused_in_ollamas_words() {
    let store = TestStore::new();
    let gguf = GgufBuilder::llama().build();
    let good = from_files(&store, "bad", &[("m.gguf", &gguf)]);
    check_error(
        &store,
        &CreateModel::new(name("bad")),
        "neither 'from' or 'files' was specified",
    );
    let with = |change: &dyn Fn(&mut CreateModel)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    check_error(
        &store,
        &with(&|r| r.adapters = r.files.clone()),
        "is no GGUF adapter",
    );
    check_error(
        &store,
        &with(&|r| r.from = Some(name("x"))),
        "cannot be given together",
    );
    let stranger = Message {
        role: "nobody".to_owned(),
        content: String::new(),
    };
    check_error(
        &store,
        &with(&|r| r.messages = vec![stranger.clone()]),
        "message role must be one of",
    );
    check_error(
        &store,
        &with(&|r| {
            r.files
                .extend([("n.gguf".parse().unwrap(), Digest::of(b"?"))])
        }),
        "not found",
    );
    let from_absent = CreateModel {
        from: Some(name("absent")),
        ..CreateModel::new(name("bad"))
    };
    check_error(&store, &from_absent, "model 'absent:latest' not found");
    let check_files = |files: &[(&str, &[u8])], expected| {
        check_error(&store, &from_files(&store, "bad", files), expected)
    };
    check_files(&[("m.safetensors", b"x")], "safetensors");
    check_files(&[("m.bin", b"x")], "unknown type");
    check_files(&[("m.gguf", b"x")], "supplied file was not in GGUF format");
    check_files(&[("m.gguf", b"GGUFx")], "invalid GGUF file");
    check_files(
        &[("m.gguf", &gguf[..gguf.len() - 1])],
        "is the file truncated?",
    );
    check_files(
        &[
            ("a.gguf", &gguf),
            (
                "b.gguf",
                &GgufBuilder::llama().with("x", Kv::U32(1)).build(),
            ),
        ],
        "one GGUF file, not 2",
    );
    check_files(
        &[(
            "m.gguf",
            &GgufBuilder::llama()
                .with("split.no", Kv::U32(0))
                .with("split.count", Kv::U32(2))
                .build(),
        )],
        "is one part of a split GGUF file",
    );
    check_files(
        &[(
            "m.gguf",
            &GgufBuilder::llama()
                .with("general.type", Kv::Text("adapter"))
                .build(),
        )],
        "one GGUF file, not 0",
    );
    assert_eq!(file_names(&store.root().join("manifests")), [""; 0]);
}

/// A llama whose file says that it has this encoding (`general.file_type`).
fn llama_of(file_type: u32) -> Vec<u8> {
    GgufBuilder::llama()
        .with("general.file_type", Kv::U32(file_type))
        .build()
}

#[test]
fn a_model_of_floats_is_quantised_and_no_other() {
    let store = TestStore::new();
    let mut request = from_files(&store, "small", &[("m.gguf", &llama_of(1))]);
    let model = *request.files.values().next().unwrap();
    assert_eq!(store.next_step(&request).unwrap(), None);
    request.quantize = Some(Quantization::Q4KMedium);
    let step = store.next_step(&request).unwrap().unwrap();
    let expected = Step::Quantize {
        model,
        from: "F16",
        to: Quantization::Q4KMedium,
    };
    assert_eq!(step, expected);

    // What was made takes the place of the model, in the manifest and in what lists show.
    let made = store.import(&llama_of(15)[..], None).unwrap().digest;
    request.made(&step, made);
    assert_eq!(store.next_step(&request).unwrap(), None);
    create(&store, &request).unwrap();
    let small = store.model(&name("small")).unwrap();
    assert_eq!(small.details.quantization_level, "Q4_K_M");
    let Weights::Gguf { model: file, .. } = &small.weights else {
        panic!("{:?}", small.weights)
    };
    assert_eq!(file.digest, made);

    let again = CreateModel {
        from: Some(name("small")),
        quantize: Some(Quantization::Q8_0),
        ..CreateModel::new(name("smaller"))
    };
    assert!(matches!(
        store.next_step(&again),
        Err(StoreError::NotQuantizable)
    ));
    let same = CreateModel {
        quantize: Some(Quantization::F32),
        ..from_files(&store, "same", &[("m.gguf", &llama_of(0))])
    };
    assert_eq!(store.next_step(&same).unwrap(), None);
}

/// A part of a split file; only the first has the model's metadata.
fn part(index: u32, count: u32) -> Vec<u8> {
    let builder = if index == 0 {
        GgufBuilder::llama()
    } else {
        GgufBuilder::default()
    };
    builder
        .with("split.no", Kv::U32(index))
        .with("split.count", Kv::U32(count))
        .build()
}

#[test]
fn the_parts_of_a_split_model_are_put_in_order_or_refused() {
    let store = TestStore::new();
    let (first, second) = (part(0, 2), part(1, 2));
    let mut whole = from_files(
        &store,
        "whole",
        &[
            ("b/m-00002-of-00002.gguf", &second),
            ("b/m-00001-of-00002.gguf", &first),
        ],
    );
    let step = store.next_step(&whole).unwrap().unwrap();
    let Step::Merge { name, parts } = &step else {
        panic!("{step:?}")
    };
    assert_eq!(name.as_str(), "b/m.gguf");
    let digests: Vec<_> = parts.iter().map(|(_, digest)| *digest).collect();
    assert_eq!(digests, [Digest::of(&first), Digest::of(&second)]);
    let made = store.import(&llama_of(1)[..], None).unwrap().digest;
    whole.made(&step, made);
    assert_eq!(store.next_step(&whole).unwrap(), None);
    create(&store, &whole).unwrap();

    let check = |files: &[(&str, &[u8])], expected: &str| {
        let request = from_files(&store, "bad", files);
        let error = store.next_step(&request).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        &[("m-00001-of-00002.gguf", &first)],
        "has 1 shards, expected 2",
    );
    check(
        &[("m-00002-of-00002.gguf", &first)],
        "split filename pattern",
    );
    check(&[("m.gguf", &first)], "split filename pattern");
    let third = part(2, 2);
    check(
        &[
            ("m-00001-of-00002.gguf", &first),
            ("m-00003-of-00002.gguf", &third),
        ],
        "expected 2",
    );
}

#[test]
fn what_a_request_says_of_a_model_goes_before_its_weights() {
    let store = TestStore::new();
    let mut request = from_files(&store, "told", &[("m.gguf", &llama_of(1))]);
    request.info = Info {
        capabilities: vec!["tools".to_owned()],
        model_family: "mine".to_owned(),
        base_name: "base".to_owned(),
        parameter_size: "1B".to_owned(),
        context_length: Some(7),
        ..Info::default()
    };
    create(&store, &request).unwrap();
    let model = store.model(&name("told")).unwrap();
    assert_eq!(model.capabilities, [Capability::Tools]);
    assert_eq!(
        (
            model.details.family.as_str(),
            model.details.parameter_size.as_str()
        ),
        ("mine", "1B")
    );
    assert_eq!(model.details.families, Some(vec!["mine".to_owned()]));
    assert_eq!(model.details.quantization_level, "F16");
    assert_eq!(model.details.context_length, Some(7));
    assert_eq!(model.config.base_name, "base");
}

#[test]
fn a_draft_model_is_kept_with_its_model() {
    let store = TestStore::new();
    let mut request = from_files(&store, "fast", &[("m.gguf", &llama_of(1))]);
    let draft = store.import(&llama_of(0)[..], None).unwrap().digest;
    request.drafts.insert("draft.gguf".parse().unwrap(), draft);
    create(&store, &request).unwrap();
    let entry = store.entry(&name("fast")).unwrap();
    let kept: Vec<_> = entry.manifest.layers_of(LayerKind::Draft).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].digest, draft);
    // A model built on it has it too.
    let top = CreateModel {
        from: Some(name("fast")),
        ..CreateModel::new(name("top"))
    };
    create(&store, &top).unwrap();
    let config = store.model(&name("top")).unwrap().config.clone();
    assert_eq!(config.draft.unwrap().architecture, "llama");
}

#[test]
fn a_model_on_another_host_has_no_layers_here() {
    let store = TestStore::new();
    let stub = CreateModel {
        from: Some(name("big:70b")),
        remote_host: Some("http://elsewhere:11434".to_owned()),
        system: Some("Be brief.".to_owned()),
        ..CreateModel::new(name("stub"))
    };
    create(&store, &stub).unwrap();
    let model = store.model(&name("stub")).unwrap();
    assert!(matches!(model.weights, Weights::Other));
    assert_eq!(model.config.remote_host, "http://elsewhere:11434");
    assert_eq!(model.config.remote_model, "big:70b");
    assert_eq!(model.system.as_deref(), Some("Be brief."));
}

#[test]
fn an_encoder_is_made_of_a_graph_where_it_is_wanted() {
    let store = TestStore::new();
    let graph = onnx::text_model();
    let mut request = from_files(&store, "embed", &sentence_files(&graph));
    assert_eq!(store.next_step(&request).unwrap(), None);
    request.encoder = EncoderWish::Wanted;
    let step = store.next_step(&request).unwrap().unwrap();
    let Step::Encoder {
        graph: name_of_graph,
        files,
    } = &step
    else {
        panic!("{step:?}")
    };
    assert_eq!(name_of_graph.as_str(), "model.onnx");
    assert_eq!(*files, request.files);

    // Without one the model is as it was.
    let plain = CreateModel {
        encoder: EncoderWish::No,
        ..request.clone()
    };
    create(&store, &plain).unwrap();
    let has_encoder = |model: &str| match &store.model(&name(model)).unwrap().weights {
        Weights::Onnx { encoder, .. } => encoder.is_some(),
        other => panic!("{other:?}"),
    };
    assert!(!has_encoder("embed"));

    // Whoever builds on it gets one, once.
    let mut copy = CreateModel {
        from: Some(name("embed")),
        encoder: EncoderWish::Wanted,
        ..CreateModel::new(name("copy"))
    };
    assert_eq!(store.next_step(&copy).unwrap().as_ref(), Some(&step));
    let made = store.import(&b"an encoder"[..], None).unwrap().digest;
    copy.made(&step, made);
    assert_eq!(store.next_step(&copy).unwrap(), None);
    create(&store, &copy).unwrap();
    assert!(has_encoder("copy"));
    let again = CreateModel {
        from: Some(name("copy")),
        encoder: EncoderWish::Wanted,
        ..CreateModel::new(name("again"))
    };
    assert_eq!(store.next_step(&again).unwrap(), None);
    create(&store, &again).unwrap();
    assert!(has_encoder("again"));
    let text = String::from_utf8(store.entry(&name("again")).unwrap().manifest.to_bytes()).unwrap();
    assert!(text.contains("\"mediaType\":\"application/vnd.chaski.image.encoder\""));
}

#[test]
fn no_encoder_is_made_of_what_takes_no_text_or_is_broken() {
    let store = TestStore::new();
    let pixels = onnx::model("pixels", &[]);
    let mut request = from_files(&store, "pixels", &[("m.onnx", &pixels)]);
    request.encoder = EncoderWish::Wanted;
    assert_eq!(store.next_step(&request).unwrap(), None);
    let graph = onnx::text_model();
    let mut request = from_files(&store, "broken", &sentence_files(&graph));
    request.encoder = EncoderWish::Wanted;
    request
        .files
        .retain(|file, _| file.as_str() != "tokenizer.json");
    let error = store.next_step(&request).unwrap_err().to_string();
    assert!(error.contains("needs tokenizer.json"), "{error}");
    let gguf = CreateModel {
        encoder: EncoderWish::Wanted,
        ..from_files(&store, "gguf", &[("m.gguf", &llama_of(1))])
    };
    assert_eq!(store.next_step(&gguf).unwrap(), None);
}

#[test]
fn a_source_is_another_if_any_file_or_name_is() {
    let [a, b] = ["a", "b"].map(|text| Digest::of(text.as_bytes()));
    let names = ["model.onnx", "config.json", "other.json"]
        .map(|name| name.parse::<RelativeName>().unwrap());
    let [graph, config, other] = &names;
    let source = onnx_source((graph, &a), [(config, &b)]);
    assert_eq!(source, onnx_source((graph, &a), [(config, &b)]));
    for different in [
        onnx_source((graph, &a), [(config, &a)]),
        onnx_source((graph, &a), [(other, &b)]),
        onnx_source((graph, &b), [(config, &b)]),
        onnx_source((graph, &a), []),
    ] {
        assert_ne!(source, different);
    }
}

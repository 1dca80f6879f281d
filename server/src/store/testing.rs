//! What the store's tests build: an empty store, small GGUF files, small ONNX graphs.

use std::ops::Deref;
use std::path::Path;

use super::{CreateModel, Digest, Name, Store};

/// A store in a folder of its own that goes when the test ends.
pub(super) struct TestStore {
    store: Store,
    _folder: tempfile::TempDir,
}

impl TestStore {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(folder.path()).unwrap(),
            _folder: folder,
        }
    }
}

impl Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Makes a small llama with a system message and returns its identity.
pub(super) fn make(store: &Store, model: &str, system: &str) -> Digest {
    let mut request = CreateModel::new(name(model));
    let gguf = store
        .import(&GgufBuilder::llama().build()[..], None)
        .unwrap();
    request
        .files
        .insert("model.gguf".parse().unwrap(), gguf.digest);
    request.system = Some(system.to_owned());
    store.create(&request, &mut |_| {}).unwrap()
}

/// What is in a folder, sorted.
pub(super) fn file_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A metadata value; `Raw` is a type number and the bytes after it.
#[derive(Clone)]
pub(super) enum Kv {
    U32(u32),
    I32(i32),
    F32(f32),
    Text(&'static str),
    Texts(&'static [&'static str]),
    Raw(u32, Vec<u8>),
}

/// Writes GGUF files, right ones and wrong ones.
#[derive(Clone, Default)]
pub(super) struct GgufBuilder {
    entries: Vec<(String, Kv)>,
    tensors: Vec<(String, Vec<u64>, u32, u64)>,
    data_bytes: usize,
}

impl GgufBuilder {
    /// A llama of two tensors and three words.
    pub(super) fn llama() -> Self {
        let mut builder = Self::default()
            .with("general.architecture", Kv::Text("llama"))
            .with("general.file_type", Kv::U32(7))
            .with("llama.block_count", Kv::U32(1))
            .with("llama.context_length", Kv::U32(128))
            .with("llama.embedding_length", Kv::U32(32))
            .with("tokenizer.ggml.tokens", Kv::Texts(&["a", "b", "<|end|>"]))
            .with(
                "tokenizer.chat_template",
                Kv::Text("{{ messages[0].content }}"),
            )
            .tensor("token_embd.weight", &[32, 3], 8, 0)
            .tensor("output_norm.weight", &[32], 0, 128);
        builder.data_bytes = 128 + 32 * 4;
        builder
    }

    /// Sets an entry, in its old place if there is one.
    pub(super) fn with(mut self, key: &str, value: Kv) -> Self {
        match self
            .entries
            .iter_mut()
            .find(|(existing, _)| existing == key)
        {
            Some(entry) => entry.1 = value,
            None => self.entries.push((key.to_owned(), value)),
        }
        self
    }

    pub(super) fn repeat(mut self, key: &str) -> Self {
        let entry = self
            .entries
            .iter()
            .find(|(existing, _)| existing == key)
            .unwrap()
            .clone();
        self.entries.push(entry);
        self
    }

    pub(super) fn tensor(mut self, name: &str, shape: &[u64], kind: u32, offset: u64) -> Self {
        self.tensors
            .push((name.to_owned(), shape.to_vec(), kind, offset));
        self
    }

    pub(super) fn build(&self) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.entries.len() as u64).to_le_bytes());
        for (key, value) in &self.entries {
            put_text(&mut bytes, key);
            put_value(&mut bytes, value);
        }
        for (name, shape, kind, offset) in &self.tensors {
            put_text(&mut bytes, name);
            bytes.extend(u32::try_from(shape.len()).unwrap().to_le_bytes());
            shape
                .iter()
                .for_each(|dimension| bytes.extend(dimension.to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.resize(bytes.len() + self.data_bytes, 0x3c);
        bytes
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn put_value(bytes: &mut Vec<u8>, value: &Kv) {
    let mut put = |kind: u32, value: &[u8]| {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(value);
    };
    match value {
        Kv::U32(number) => put(4, &number.to_le_bytes()),
        Kv::I32(number) => put(5, &number.to_le_bytes()),
        Kv::F32(number) => put(6, &number.to_le_bytes()),
        Kv::Raw(kind, raw) => put(*kind, raw),
        Kv::Text(text) => {
            put(8, &[]);
            put_text(bytes, text);
        }
        Kv::Texts(texts) => {
            put(9, &8_u32.to_le_bytes());
            bytes.extend((texts.len() as u64).to_le_bytes());
            texts.iter().for_each(|text| put_text(bytes, text));
        }
    }
}

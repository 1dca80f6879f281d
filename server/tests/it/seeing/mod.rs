//! Models that see, made of numbers that are as good as random: what they say of an image makes no sense; that they say
//! the same of the same image and not of another does, and so does that llama.cpp's own server says the same.

pub mod llava;
pub mod pictures;
pub mod qwen;

use std::path::{Path, PathBuf};

use chaski::convert::gguf::{Entries, Tensor, Writer};
use chaski::store::gguf::TensorType;

use tempfile::TempDir;

use self::qwen::{Family, Tower};
use crate::server::Server;

/// A model and its projector.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Eyes {
    /// The chat model that the repository ships behind [`llava`].
    Llava,
    /// [`qwen`].
    Qwen(Family),
}

impl Eyes {
    /// All that there are.
    pub const ALL: [Self; 4] = [
        Self::Llava,
        Self::Qwen(Family::Qwen2),
        Self::Qwen(Family::Qwen25),
        Self::Qwen(Family::Qwen3),
    ];

    /// The files of the model and of its projector; those that must be made come into the folder.
    pub fn files(self, folder: &Path) -> [PathBuf; 2] {
        let projector = folder.join("mmproj.gguf");
        match self {
            Self::Llava => {
                llava::write(&projector);
                [chat_model(), projector]
            }
            Self::Qwen(family) => {
                let model = folder.join("model.gguf");
                qwen::write_model(&model, family);
                qwen::write_projector(&projector, family, Tower::SMALL);
                [model, projector]
            }
        }
    }
}

/// A server with the model `sees`.
pub async fn server(eyes: Eyes) -> Server {
    let server = Server::start().await;
    let folder = TempDir::new().unwrap();
    let [model, projector] = eyes
        .files(folder.path())
        .map(|path| std::fs::read(path).unwrap());
    let files = [("model.gguf", model), ("mmproj.gguf", projector)];
    server.create("sees", &files).await;
    server
}

/// The chat model that the repository ships.
fn chat_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny/tiny.gguf")
}

/// The tensors of a file, as they are listed.
#[derive(Default)]
struct Tensors(Vec<Tensor>);

impl Tensors {
    fn add(&mut self, name: &str, shape: &[u64]) {
        self.0.push(Tensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            kind: TensorType::F32,
        });
    }

    /// A matrix and what is added behind it.
    fn linear(&mut self, name: &str, from: u64, to: u64) {
        self.add(&format!("{name}.weight"), &[from, to]);
        self.add(&format!("{name}.bias"), &[to]);
    }

    /// A norm with what is added behind it.
    fn norm(&mut self, name: &str, width: u64) {
        self.add(&format!("{name}.weight"), &[width]);
        self.add(&format!("{name}.bias"), &[width]);
    }

    /// Writes the file. `scale` says around what the numbers of a tensor lie, and how far from it.
    fn write(&self, path: &Path, entries: &Entries, scale: impl Fn(&Tensor) -> (f32, f32)) {
        let mut told = |_| {};
        let mut writer = Writer::begin(path, entries, &self.0, &mut told).unwrap();
        let mut random = Random(1);
        for tensor in &self.0 {
            let (centre, radius) = scale(tensor);
            let data: Vec<u8> = (0..tensor.shape.iter().product())
                .flat_map(|_| (centre + random.next() * radius).to_le_bytes())
                .collect();
            writer.tensor(|put| put(&data)).unwrap();
        }
        writer.finish().unwrap();
    }
}

fn number(width: u64) -> u32 {
    u32::try_from(width).unwrap()
}

/// Numbers between -1 and 1, always the same (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let high = u16::try_from(self.0 >> 48).unwrap();
        f32::from(high) / 32_768.0 - 1.0
    }
}

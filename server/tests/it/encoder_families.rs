//! GGUF models of the families that embed and rank, BERT's aside: random weights in their shapes, so that what is tested is how they are loaded,
//! batched and read, not what they have learnt.

use chaski::engine::gguf::{self, EncoderSpec};
use chaski::engine::{Ability, Facts};
use chaski::inference::encode::{Activation, Company, Encoder, Head, Tokenized};

use crate::bert_gguf::{BOOL, FLOAT32, Gguf, vocabulary};
use crate::weights::Weight;

const WIDTH: usize = 64;
const HEADS: usize = 2;
const HEAD: usize = WIDTH / HEADS;
const INNER: usize = 128;
const LAYERS: usize = 2;
/// Words of the vocabulary that these models borrow.
const MODEL: &str = "tiny-embed";

/// Texts of many lengths; the second is longer than a sliding window.
const TEXTS: [&str; 5] = [
    "How do I reset my password?",
    "The price of the red one is higher than that of the blue one, as far as I can tell from the list that you sent me in the morning.",
    "x",
    "What is the capital of France?",
    "Name the capital of China.",
];

/// Numbers that look random and are always the same.
struct Dice(u32);

impl Dice {
    fn weight(&mut self, shape: &[usize]) -> Weight {
        let mut next = || {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let spread = 1.7 / (shape[shape.len() - 1] as f32).sqrt();
        let count = shape.iter().product();
        Weight {
            shape: shape.to_vec(),
            numbers: (0..count).map(|_| spread * next()).collect(),
        }
    }
}

/// A model of one family under construction.
struct Builder {
    file: Gguf,
    family: &'static str,
    dice: Dice,
}

impl Builder {
    fn new(family: &'static str, pooling: u32) -> Self {
        let mut file = Gguf::default();
        file.text("general.architecture", family);
        file.text("general.name", family);
        file.number("general.file_type", 0);
        vocabulary(&mut file, MODEL);
        let mut builder = Self {
            file,
            family,
            dice: Dice(7),
        };
        for (key, number) in [
            ("context_length", 256),
            ("embedding_length", WIDTH),
            ("feed_forward_length", INNER),
            ("block_count", LAYERS),
            ("attention.head_count", HEADS),
        ] {
            builder.number(key, number);
        }
        builder.number("pooling_type", pooling as usize);
        builder.float("rope.freq_base", 10_000.0);
        let words = crate::weights::read(MODEL)["embeddings.word_embeddings.weight"].shape[0];
        builder.matrix("token_embd", words, WIDTH);
        builder
    }

    fn number(&mut self, key: &str, number: usize) {
        let key = format!("{}.{key}", self.family);
        self.file.number(&key, u32::try_from(number).unwrap());
    }

    fn float(&mut self, key: &str, number: f32) {
        let key = format!("{}.{key}", self.family);
        self.file.entry(&key, FLOAT32, &number.to_le_bytes());
    }

    fn matrix(&mut self, name: &str, outputs: usize, inputs: usize) {
        let weight = self.dice.weight(&[outputs, inputs]);
        self.file.tensor(&format!("{name}.weight"), &weight);
    }

    /// A normalisation that leaves numbers as they are.
    fn norm(&mut self, name: &str, width: usize, has_bias: bool) {
        let all = |number: f32| Weight {
            shape: vec![width],
            numbers: vec![number; width],
        };
        self.file.tensor(&format!("{name}.weight"), &all(1.0));
        if has_bias {
            self.file.tensor(&format!("{name}.bias"), &all(0.0));
        }
    }

    fn layers(&mut self, mut layer: impl FnMut(&mut Self, &str)) {
        for number in 0..LAYERS {
            layer(self, &format!("blk.{number}"));
        }
    }

    fn feed_forward(&mut self, layer: &str) {
        self.matrix(&format!("{layer}.ffn_gate"), INNER, WIDTH);
        self.matrix(&format!("{layer}.ffn_up"), INNER, WIDTH);
        self.matrix(&format!("{layer}.ffn_down"), WIDTH, INNER);
    }

    /// Attention whose queries and keys are normalised, with one head of keys and values for all queries.
    fn grouped_attention(&mut self, layer: &str) {
        self.norm(&format!("{layer}.attn_norm"), WIDTH, false);
        self.matrix(&format!("{layer}.attn_q"), WIDTH, WIDTH);
        self.matrix(&format!("{layer}.attn_k"), HEAD, WIDTH);
        self.matrix(&format!("{layer}.attn_v"), HEAD, WIDTH);
        self.matrix(&format!("{layer}.attn_output"), WIDTH, WIDTH);
        self.norm(&format!("{layer}.attn_q_norm"), HEAD, false);
        self.norm(&format!("{layer}.attn_k_norm"), HEAD, false);
        self.norm(&format!("{layer}.ffn_norm"), WIDTH, false);
    }

    fn decoder_sizes(&mut self) {
        self.number("attention.head_count_kv", 1);
        self.number("attention.key_length", HEAD);
        self.number("attention.value_length", HEAD);
        self.float("attention.layer_norm_rms_epsilon", 1e-6);
        self.norm("output_norm", WIDTH, false);
    }
}

fn nomic_bert() -> Vec<u8> {
    let mut model = Builder::new("nomic-bert", 1);
    model.float("attention.layer_norm_epsilon", 1e-12);
    model.file.entry("nomic-bert.attention.causal", BOOL, &[0]);
    model.matrix("token_types", 2, WIDTH);
    model.norm("token_embd_norm", WIDTH, true);
    model.layers(|model, layer| {
        model.matrix(&format!("{layer}.attn_qkv"), 3 * WIDTH, WIDTH);
        model.matrix(&format!("{layer}.attn_output"), WIDTH, WIDTH);
        model.norm(&format!("{layer}.attn_output_norm"), WIDTH, true);
        model.feed_forward(layer);
        model.norm(&format!("{layer}.layer_output_norm"), WIDTH, true);
    });
    model.file.build()
}

fn gemma_embedding() -> Vec<u8> {
    let mut model = Builder::new("gemma-embedding", 1);
    model.decoder_sizes();
    model.number("attention.sliding_window", 16);
    // Every other layer sees the whole text.
    model.number("attention.sliding_window_pattern", 2);
    model.layers(|model, layer| {
        model.grouped_attention(layer);
        model.norm(&format!("{layer}.post_attention_norm"), WIDTH, false);
        model.feed_forward(layer);
        model.norm(&format!("{layer}.post_ffw_norm"), WIDTH, false);
    });
    model.file.build()
}

/// Qwen3: an embedding model (`pooling` 3, the last token) or a reranker (4).
fn qwen3(pooling: u32) -> Vec<u8> {
    let mut model = Builder::new("qwen3", pooling);
    model.decoder_sizes();
    if pooling == 4 {
        let labels = ["yes", "no"].into_iter();
        model.file.texts("qwen3.classifier.output_labels", labels);
        model.matrix("cls.output", 2, WIDTH);
    }
    model.layers(|model, layer| {
        model.grouped_attention(layer);
        model.feed_forward(layer);
    });
    model.file.build()
}

fn with<T>(model: &[u8], body: impl FnOnce(&mut dyn Encoder, Facts) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, model).unwrap();
    let spec = EncoderSpec {
        model: path,
        threads: 1,
        use_mmap: None,
        kernels: gguf::Preference::default(),
        flash_attention: None,
        gpu_layers: None,
    };
    gguf::with_encoder(&spec, body).unwrap()
}

fn framed(encoder: &dyn Encoder, text: &str) -> Tokenized {
    let tokens = encoder.split(text).unwrap();
    let frame = encoder.frame();
    frame.single(&tokens, encoder.max_tokens()).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// That texts share a batch and do not notice, and that a vector tells of its text's words and of their order.
#[track_caller]
fn check_vectors(encoder: &mut dyn Encoder) {
    assert_eq!(encoder.company(), Company::Any);
    let texts = TEXTS.map(|text| framed(encoder, text));
    let alone: Vec<Vec<f32>> = texts
        .iter()
        .map(|text| encoder.encode(&[text]).unwrap().remove(0))
        .collect();
    let mates: Vec<&Tokenized> = texts.iter().rev().collect();
    let together = encoder.encode(&mates).unwrap();
    for (index, (alone, together)) in alone.iter().zip(together.iter().rev()).enumerate() {
        let cosine = cosine(alone, together);
        assert!(cosine > 0.999_99, "{cosine} for {:?}", TEXTS[index]);
        for (other, vector) in together.iter().enumerate() {
            assert!(vector.is_finite(), "number {other} of {:?}", TEXTS[index]);
        }
    }
    assert!(cosine(&alone[0], &alone[3]) < 0.99);
    let [one, other] = [
        "the red one is higher than the blue one",
        "the blue one is higher than the red one",
    ]
    .map(|text| framed(encoder, text));
    let vectors = encoder.encode(&[&one, &other]).unwrap();
    assert!(cosine(&vectors[0], &vectors[1]) < 0.999_99);
}

#[test]
fn families_that_embed_do_so_in_batches() {
    for (family, model) in [
        ("nomic-bert", nomic_bert()),
        ("gemma-embedding", gemma_embedding()),
        ("qwen3", qwen3(3)),
    ] {
        println!("{family}");
        with(&model, |encoder, facts| {
            assert_eq!(facts.ability, Ability::Embed { dimensions: 64 }, "{family}");
            assert_eq!((facts.context, facts.slots), (256, 64), "{family}");
            check_vectors(encoder);
        });
    }
}

#[test]
fn a_reranker_that_answers_yes_or_no_gives_the_probability_of_yes() {
    with(&qwen3(4), |encoder, facts| {
        let labels = vec!["yes".to_owned()];
        assert_eq!(
            facts.ability,
            Ability::Classify {
                labels: labels.clone()
            }
        );
        let activation = Activation::Done;
        assert_eq!(
            *encoder.head(),
            Head::Labels {
                names: labels,
                activation
            }
        );
        assert_eq!(encoder.company(), Company::Any);
        let texts = TEXTS.map(|text| framed(encoder, text));
        let together = encoder.encode(&texts.iter().collect::<Vec<_>>()).unwrap();
        let mut scores = Vec::new();
        for (text, together) in texts.iter().zip(&together) {
            let alone = encoder.encode(&[text]).unwrap().remove(0);
            assert_eq!((alone.len(), together.len()), (1, 1));
            assert!((0.0..=1.0).contains(&alone[0]), "{alone:?}");
            // Keys and values are kept in 16 bits, and added up in another order where there are more.
            assert!(
                (alone[0] - together[0]).abs() < 5e-4,
                "{alone:?} {together:?}"
            );
            scores.push(alone[0]);
        }
        scores.sort_by(f32::total_cmp);
        assert!(scores[4] - scores[0] > 1e-3, "{scores:?}");
    });
}

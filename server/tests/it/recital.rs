//! A model that says what it is told, whatever it is asked: real weights for llama.cpp, of the smallest shape there is.
//!
//! It is a GPT-2 of one block of zeros, so that what comes next depends on nothing but the place in the text: each place
//! of the answer has a direction of its own, and the output turns it into the token that stands there. Its vocabulary
//! has all bytes, the control tokens of the family that it plays, and the words of the answer.

use chaski::convert::gguf::{Entries, Tensor, Writer};
use chaski::store::gguf::TensorType;

/// Places it can tell apart, which bounds its answer.
const WIDTH: usize = 96;

/// Tokens of its context.
pub const CONTEXT: usize = 2048;

/// The kinds of tokens in a vocabulary (`enum llama_token_type`).
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;

/// What ends its answers.
const END: &str = "<recital_end>";

/// What it is to be made of.
#[derive(Clone, Copy, Debug)]
pub struct Recital<'a> {
    /// Its name in the file, which makes one of two that say the same another file.
    pub name: &'a str,
    /// The chat template in the file; none if empty.
    pub template: &'a str,
    /// Texts of control tokens.
    pub marks: &'a [&'a str],
    /// What it says: control tokens, and other pieces of text.
    pub answer: &'a [&'a str],
    /// Tokens of the prompt, after which it says it.
    pub prompt_tokens: usize,
}

impl Recital<'_> {
    /// The model as a GGUF file.
    pub fn build(&self) -> Vec<u8> {
        let words = self.words();
        let vocabulary = self.vocabulary(&words);
        let mut entries = Entries::default();
        self.describe(&mut entries, &vocabulary);
        let tensors = self.tensors(&vocabulary, &words);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recital.gguf");
        let heads: Vec<Tensor> = tensors.iter().map(|(head, _)| head.clone()).collect();
        let mut told = |_| {};
        let mut writer = Writer::begin(&path, &entries, &heads, &mut told).unwrap();
        for (_, numbers) in tensors {
            let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
            writer.tensor(|put| put(&bytes)).unwrap();
        }
        writer.finish().unwrap();
        std::fs::read(path).unwrap()
    }

    /// What it says as the names of tokens: control tokens, runs of letters and digits, and everything else by itself.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for piece in self.answer {
            if self.marks.contains(piece) {
                words.push((*piece).to_owned());
                continue;
            }
            let mut is_run = false;
            for character in piece.chars() {
                let word: String = character.to_string().bytes().map(letter).collect();
                match words.last_mut() {
                    Some(last) if is_run && character.is_alphanumeric() => last.push_str(&word),
                    _ => words.push(word),
                }
                is_run = character.is_alphanumeric();
            }
        }
        words
    }

    /// Bytes, then control tokens, then the words of the answer, each once.
    fn vocabulary(&self, words: &[String]) -> Vec<(String, i32)> {
        let mut vocabulary: Vec<(String, i32)> = (0..=255_u8)
            .map(|byte| (letter(byte).to_string(), NORMAL))
            .collect();
        let marks = self.marks.iter().chain([&END]);
        vocabulary.extend(marks.map(|mark| ((*mark).to_owned(), CONTROL)));
        for word in words {
            if vocabulary.iter().all(|(known, _)| known != word) {
                vocabulary.push((word.clone(), NORMAL));
            }
        }
        vocabulary
    }

    fn describe(&self, entries: &mut Entries, vocabulary: &[(String, i32)]) {
        let end = vocabulary.iter().position(|(word, _)| word == END).unwrap();
        let end = u32::try_from(end).unwrap();
        let words = vocabulary.iter().map(|(word, _)| word.clone().into_bytes());
        let kinds = vocabulary.iter().map(|(_, kind)| *kind);
        entries.put("general.architecture", "gpt2");
        entries.put("general.name", self.name);
        entries.put("gpt2.context_length", u32::try_from(CONTEXT).unwrap());
        entries.put("gpt2.embedding_length", u32::try_from(WIDTH).unwrap());
        entries.put("gpt2.feed_forward_length", u32::try_from(WIDTH).unwrap());
        entries.put("gpt2.block_count", 1_u32);
        entries.put("gpt2.attention.head_count", 1_u32);
        entries.put("gpt2.attention.layer_norm_epsilon", 1e-5_f32);
        entries.put("tokenizer.ggml.model", "gpt2");
        entries.put("tokenizer.ggml.pre", "gpt-2");
        entries.put("tokenizer.ggml.tokens", words.collect::<Vec<_>>());
        entries.put("tokenizer.ggml.token_type", kinds.collect::<Vec<_>>());
        // Every text is its bytes, but there must be a merge.
        entries.put("tokenizer.ggml.merges", vec!["Ā ā".as_bytes().to_vec()]);
        entries.put("tokenizer.ggml.bos_token_id", end);
        entries.put("tokenizer.ggml.eos_token_id", end);
        entries.put("tokenizer.ggml.add_bos_token", false);
        if !self.template.is_empty() {
            entries.put("tokenizer.chat_template", self.template);
        }
    }

    fn tensors(&self, vocabulary: &[(String, i32)], words: &[String]) -> Vec<(Tensor, Vec<f32>)> {
        assert!(words.len() < WIDTH, "{} words are too many", words.len());
        let mut places = vec![0.0; WIDTH * CONTEXT];
        let mut output = vec![0.0; WIDTH * vocabulary.len()];
        let end = END.to_owned();
        for (step, word) in words.iter().chain([&end]).enumerate() {
            // The last token of the prompt is where the first one of the answer is foretold.
            let place = (self.prompt_tokens + step).saturating_sub(1);
            places[place * WIDTH + step] = 1.0;
            let known = vocabulary.iter().position(|(known, _)| known == word);
            output[known.unwrap() * WIDTH + step] = 10.0;
        }
        let mut tensors = Vec::new();
        let mut put = |name: &str, shape: &[usize], numbers: Vec<f32>| {
            let shape = shape.iter().map(|&length| length as u64).collect();
            let kind = TensorType::F32;
            let name = name.to_owned();
            tensors.push((Tensor { name, shape, kind }, numbers));
        };
        let zeros = |length: usize| vec![0.0; length];
        let ones = || vec![1.0; WIDTH];
        let words = vocabulary.len();
        put("token_embd.weight", &[WIDTH, words], zeros(WIDTH * words));
        put("position_embd.weight", &[WIDTH, CONTEXT], places);
        put("output_norm.weight", &[WIDTH], ones());
        put("output_norm.bias", &[WIDTH], zeros(WIDTH));
        put("output.weight", &[WIDTH, words], output);
        for (part, to) in [
            ("attn_qkv", 3 * WIDTH),
            ("attn_output", WIDTH),
            ("ffn_up", WIDTH),
            ("ffn_down", WIDTH),
        ] {
            put(
                &format!("blk.0.{part}.weight"),
                &[WIDTH, to],
                zeros(WIDTH * to),
            );
            put(&format!("blk.0.{part}.bias"), &[to], zeros(to));
        }
        for part in ["attn_norm", "ffn_norm"] {
            put(&format!("blk.0.{part}.weight"), &[WIDTH], ones());
            put(&format!("blk.0.{part}.bias"), &[WIDTH], zeros(WIDTH));
        }
        tensors
    }
}

/// The letter that stands for a byte in vocabularies of GPT-2's kind: itself if it can be seen, or else one of those from
/// U+0100 on.
fn letter(byte: u8) -> char {
    let is_seen = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_seen(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&other| !is_seen(other)).count();
    char::from_u32(256 + u32::try_from(before).unwrap()).unwrap()
}

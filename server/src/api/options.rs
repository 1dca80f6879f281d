//! `options`: the model's own parameters with the request's over them, and what they mean.

use serde_json::{Map, Value};

use crate::api::Error;
use crate::inference::generate::{Overflow, Sampling};
use crate::models::{KNOWS_GPUS, LoadOptions};
use crate::store::Parameters;
use crate::store::parameters::Parameter;

/// Fewer tokens than this are no context.
const MIN_CONTEXT: u32 = 4;

/// Tokens at the start of a prompt that survive when the context is full.
const DEFAULT_KEEP: i32 = 4;

/// Most texts of which each ends an answer.
const MAX_STOPS: usize = 256;

/// Parameters as they apply to one request.
#[derive(Debug)]
pub struct Options(Parameters);

impl Options {
    /// `request` over `model`. What is absent in both has Ollama's default.
    ///
    /// # Errors
    /// When a known option is of the wrong type. Unknown ones are passed over.
    pub fn new(model: &Parameters, request: &Map<String, Value>) -> Result<Self, Error> {
        let request =
            Parameters::from_json(request).map_err(|error| Error::BadOption(error.to_string()))?;
        Self::over(model, request)
    }

    /// `request` over `model`, where a dialect has read them already.
    ///
    /// # Errors
    /// When there are more stop strings than can be looked for in every token.
    pub fn over(model: &Parameters, request: Parameters) -> Result<Self, Error> {
        let mut parameters = model.clone();
        parameters.merge(request);
        let options = Self(parameters);
        let count = options.stop().len();
        if count > MAX_STOPS {
            return Err(Error::BadRequest(format!(
                "{count} stop strings are given; at most {MAX_STOPS} are supported"
            )));
        }
        Ok(options)
    }

    /// The part that decides how the model is loaded.
    #[must_use]
    pub fn load(&self) -> LoadOptions {
        LoadOptions {
            context: self
                .positive("num_ctx")
                .map(|context| context.max(MIN_CONTEXT)),
            batch: self.positive("num_batch"),
            threads: self.positive("num_thread"),
            use_mmap: match self.0.get("use_mmap") {
                Some(Parameter::Bool(value)) => Some(*value),
                _ => None,
            },
            // -1 leaves the choice to the server. Without graphics processors it is no reason to load a model again.
            gpu_layers: (self.integer("num_gpu").filter(|_| KNOWS_GPUS))
                .and_then(|layers| u32::try_from(layers).ok()),
            encode: false,
        }
    }

    /// How a model is loaded to turn texts into vectors. `num_ctx` has no part in it: it bounds each text, see
    /// [`Options::text_tokens`].
    #[must_use]
    pub fn load_to_encode(&self) -> LoadOptions {
        LoadOptions {
            context: None,
            batch: None,
            encode: true,
            ..self.load()
        }
    }

    /// Most tokens of a text that is turned into a vector: `num_ctx` as it was given, however small.
    #[must_use]
    pub fn text_tokens(&self, default: u32) -> u32 {
        self.integer("num_ctx")
            .map_or(default, |tokens| u32::try_from(tokens).unwrap_or(0))
    }

    /// The part that decides how tokens are chosen.
    #[must_use]
    pub fn sampling(&self) -> Sampling {
        let default = Sampling::default();
        let float = |name, default| self.float(name).unwrap_or(default);
        let integer = |name, default| self.integer(name).unwrap_or(default);
        Sampling {
            seed: self.seed(),
            temperature: float("temperature", default.temperature),
            top_k: integer("top_k", default.top_k),
            top_p: float("top_p", default.top_p),
            min_p: float("min_p", default.min_p),
            typical_p: float("typical_p", default.typical_p),
            repeat_last_n: integer("repeat_last_n", default.repeat_last_n),
            repeat_penalty: float("repeat_penalty", default.repeat_penalty),
            presence_penalty: float("presence_penalty", default.presence_penalty),
            frequency_penalty: float("frequency_penalty", default.frequency_penalty),
        }
    }

    /// What ends an answer.
    #[must_use]
    pub fn stop(&self) -> Vec<String> {
        match self.0.get("stop") {
            // An empty text is in every answer from its first byte on.
            Some(Parameter::Texts(texts)) => texts
                .iter()
                .filter(|text| !text.is_empty())
                .cloned()
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Most tokens of an answer. None: the engine's own bound, ten times `context`.
    #[must_use]
    pub fn max_tokens(&self, context: u32) -> Option<u32> {
        let tokens = u32::try_from(self.integer("num_predict")?).ok()?;
        (tokens <= context.saturating_mul(10)).then_some(tokens)
    }

    /// What happens at the end of the context. The two fields come from the request beside its options.
    #[must_use]
    pub fn overflow(&self, truncate: bool, shift: bool) -> Overflow {
        Overflow {
            truncate,
            shift,
            keep: self.integer("num_keep").unwrap_or(DEFAULT_KEEP),
        }
    }

    fn seed(&self) -> Option<u32> {
        match self.0.get("seed") {
            // As Ollama hands it on: the low 32 bits.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "any number names a sequence"
            )]
            #[expect(clippy::cast_sign_loss, reason = "negative numbers are excluded")]
            Some(Parameter::Integer(seed)) if *seed >= 0 => Some(*seed as u32),
            _ => None,
        }
    }

    /// An integer, cut to 32 bits: nothing that is counted here is larger.
    fn integer(&self, name: &str) -> Option<i32> {
        match self.0.get(name) {
            Some(Parameter::Integer(number)) => {
                let cut = (*number).clamp(i32::MIN.into(), i32::MAX.into());
                Some(i32::try_from(cut).expect("cut to the range"))
            }
            _ => None,
        }
    }

    fn positive(&self, name: &str) -> Option<u32> {
        u32::try_from(self.integer(name)?)
            .ok()
            .filter(|number| *number > 0)
    }

    fn float(&self, name: &str) -> Option<f32> {
        match self.0.get(name) {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "engines compute with 32 bits"
            )]
            Some(Parameter::Float(number)) => Some(*number as f32),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(model: Value, request: Value) -> Result<Options, String> {
        let model = Parameters::from_json(model.as_object().unwrap()).unwrap();
        Options::new(&model, request.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_request_wins_over_the_model_and_the_model_over_the_defaults() {
        let options = options(
            json!({"temperature": 0.1, "top_k": 7, "stop": ["a"], "num_ctx": 512}),
            json!({"top_k": 9, "stop": ["b", ""], "seed": 42, "top_p": null, "tfs_z": 1, "mirostat": 2}),
        )
        .unwrap();
        let expected = Sampling {
            seed: Some(42),
            temperature: 0.1,
            top_k: 9,
            ..Sampling::default()
        };
        assert_eq!(options.sampling(), expected);
        assert_eq!(options.stop(), ["b"]);
        assert_eq!(options.load().context, Some(512));
        assert_eq!(options.load_to_encode().context, None);
        assert_eq!(options.text_tokens(9), 512);
        assert_eq!(options.load().batch, None);
        assert_eq!(options.load().gpu_layers, None);
        assert_eq!(options.overflow(true, true).keep, 4);
    }

    #[test]
    fn numbers_out_of_range_mean_what_ollama_makes_of_them() {
        let options = options(
            json!({}),
            json!({"num_ctx": 1, "num_thread": 0, "num_batch": -5, "seed": -1, "num_keep": -1, "num_predict": -2}),
        )
        .unwrap();
        assert_eq!(
            options.load(),
            LoadOptions {
                context: Some(4),
                ..LoadOptions::default()
            }
        );
        assert_eq!(options.text_tokens(9), 1);
        assert_eq!(options.sampling().seed, None);
        assert_eq!(options.overflow(true, false).keep, -1);
        assert_eq!(options.max_tokens(100), None);
    }

    #[test]
    fn layers_for_graphics_processors_count_where_there_are_any() {
        let layers = |number: i64| {
            let options = options(json!({}), json!({"num_gpu": number})).unwrap();
            options.load().gpu_layers
        };
        assert_eq!(layers(7), KNOWS_GPUS.then_some(7));
        assert_eq!(layers(0), KNOWS_GPUS.then_some(0));
        assert_eq!(layers(-1), None);
    }

    #[test]
    fn a_number_of_tokens_is_bounded_by_ten_contexts() {
        let options = options(json!({}), json!({"num_predict": 1000})).unwrap();
        assert_eq!(options.max_tokens(100), Some(1000));
        assert_eq!(options.max_tokens(99), None);
    }

    #[test]
    fn wrong_types_are_refused_in_ollama_s_words() {
        let check = |request: Value, expected: &str| {
            assert_eq!(options(json!({}), request).unwrap_err(), expected);
        };
        check(
            json!({"num_ctx": "x"}),
            "option \"num_ctx\" must be of type integer",
        );
        check(
            json!({"temperature": "hot"}),
            "option \"temperature\" must be of type float32",
        );
        check(
            json!({"use_mmap": 1}),
            "option \"use_mmap\" must be of type boolean",
        );
        check(
            json!({"stop": 1}),
            "option \"stop\" must be of an array of strings",
        );
    }
}

//! What `config.json` says, with the text part of models that also see moved to the top.

use serde_json::{Map, Value};

use super::Error;
use super::folder::{Folder, MAX_SETTINGS_BYTES};

/// The largest dimension or count that makes sense; everything native code computes with is checked against it.
const MAX_NUMBER: u64 = 1 << 31;

/// A model's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    fields: Map<String, Value>,
    /// As the file has them: dimensions of the rotary embedding and their like.
    rope: Map<String, Value>,
}

impl Config {
    /// Reads it from the folder.
    ///
    /// # Errors
    /// When it is not there or no object, or the weights are quantised.
    pub fn read(folder: Folder<'_>) -> Result<Self, Error> {
        let mut fields: Map<String, Value> = folder
            .json("config.json", MAX_SETTINGS_BYTES)?
            .ok_or_else(|| Error::refused("a model of safetensors needs config.json"))?;
        if let Some(quantized) = fields.get("quantization_config").and_then(Value::as_object) {
            let method = quantized
                .get("quant_method")
                .and_then(Value::as_str)
                .unwrap_or("an unknown method");
            return Err(Error::refused(format!(
                "the weights are quantized with {method}; only F16, BF16 and F32 safetensors can be converted"
            )));
        }
        if let Some(Value::Object(text)) = fields.remove("text_config") {
            let architectures = fields.get("architectures").cloned();
            fields.extend(text);
            if let Some(architectures) = architectures {
                fields.insert("architectures".into(), architectures);
            }
        }
        let rope = ["rope_parameters", "rope_scaling"]
            .iter()
            .find_map(|key| fields.get(*key)?.as_object().cloned())
            .unwrap_or_default();
        let rope = match rope.get("full_attention") {
            Some(Value::Object(full)) => {
                let mut full = full.clone();
                full.insert("layers".into(), Value::Object(rope.clone()));
                full
            }
            _ => rope,
        };
        Ok(Self { fields, rope })
    }

    /// The first of `architectures`.
    ///
    /// # Errors
    /// When there is none.
    pub fn architecture(&self) -> Result<&str, Error> {
        let first = self
            .fields
            .get("architectures")
            .and_then(|list| list.get(0));
        first
            .and_then(Value::as_str)
            .ok_or_else(|| Error::refused("config.json names no architecture"))
    }

    /// The first of these fields that is there, as a count.
    ///
    /// # Errors
    /// When it is no whole number or too large.
    pub fn count(&self, keys: &[&str]) -> Result<Option<u32>, Error> {
        let Some((key, value)) = self.find(keys) else {
            return Ok(None);
        };
        let number = value.as_u64().filter(|&number| number <= MAX_NUMBER);
        let number = number.and_then(|number| u32::try_from(number).ok());
        number
            .map(Some)
            .ok_or_else(|| Error::refused(format!("'{key}' of config.json cannot be {value}")))
    }

    /// The same, of a field that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn needed(&self, keys: &[&str]) -> Result<u32, Error> {
        self.count(keys)?
            .filter(|&number| number > 0)
            .ok_or_else(|| Error::refused(format!("config.json lacks '{}'", keys[0])))
    }

    /// The first of these fields that is there, as a number.
    pub fn number(&self, keys: &[&str]) -> Option<f32> {
        self.find(keys).and_then(|(_, value)| float(value))
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key)?.as_str()
    }

    /// A field as it is.
    pub fn raw(&self, key: &str) -> Option<&Value> {
        self.fields.get(key)
    }

    /// `rope_type`, also under its old name, of what scales the rotary embedding.
    pub fn rope_type(&self) -> Option<String> {
        ["rope_type", "type"]
            .iter()
            .find_map(|key| self.rope.get(*key)?.as_str())
            .map(str::to_lowercase)
    }

    /// A number of what scales the rotary embedding.
    pub fn rope_number(&self, key: &str) -> Option<f32> {
        self.rope.get(key).and_then(float)
    }

    /// Numbers of what scales the rotary embedding.
    pub fn rope_numbers(&self, key: &str) -> Option<Vec<f32>> {
        self.rope.get(key)?.as_array()?.iter().map(float).collect()
    }

    /// The base of the rotary embedding.
    pub fn rope_base(&self) -> Option<f32> {
        self.rope_number("rope_theta")
            .or_else(|| self.number(&["rope_theta"]))
    }

    /// The base of the rotary embedding of layers that look only a window back.
    pub fn rope_local_base(&self) -> Option<f32> {
        let layers = self.rope.get("layers");
        layers
            .and_then(|layers| layers.get("sliding_attention")?.get("rope_theta"))
            .and_then(float)
            .or_else(|| self.number(&["rope_local_base_freq"]))
    }

    fn find(&self, keys: &[&str]) -> Option<(String, &Value)> {
        keys.iter().find_map(|key| {
            let value = self.fields.get(*key)?;
            (!value.is_null()).then(|| ((*key).to_owned(), value))
        })
    }
}

fn float(value: &Value) -> Option<f32> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "GGUF keeps these numbers in 32 bits"
    )]
    value
        .as_f64()
        .map(|number| number as f32)
        .filter(|number| number.is_finite())
}

//! The published JSON Schemas, derived from the types that are written: `schema/` holds them as files.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{model::Report, raw::RawSample};

/// A form that has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// `--json`: the whole document.
    Report,
    /// `--raw`: each line.
    Raw,
}

/// The JSON Schema (draft 2020-12) of `form`.
pub fn schema(form: Form) -> Value {
    match form {
        Form::Report => document::<Report>("loadgen report, version 1"),
        Form::Raw => document::<RawSample<'static>>("loadgen raw sample, version 1"),
    }
}

/// utoipa describes types for OpenAPI; JSON Schema keeps the parts under another name.
fn document<T: ToSchema>(title: &str) -> Value {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    let mut definitions: Vec<(String, Value)> = parts
        .into_iter()
        .map(|(name, part)| (name, plain(part)))
        .collect();
    definitions.sort_by(|(one, _), (other, _)| one.cmp(other));
    definitions.dedup_by(|(one, _), (other, _)| one == other);

    let mut root = Map::new();
    root.insert(
        "$schema".into(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    root.insert("title".into(), title.into());
    if let Value::Object(fields) = plain(T::schema()) {
        root.extend(fields);
    }
    root.insert(
        "$defs".into(),
        Value::Object(definitions.into_iter().collect()),
    );
    let mut root = Value::Object(root);
    amend(&mut root);
    root
}

fn plain(part: impl serde::Serialize) -> Value {
    serde_json::to_value(part).expect("a schema is plain data")
}

/// Points references at `$defs`, and requires every property: what was not measured is written as `null`, never left out.
fn amend(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref") {
                *reference = reference.replace("#/components/schemas/", "#/$defs/");
            }
            if let Some(Value::Object(properties)) = fields.get("properties") {
                let names: Vec<&String> = properties.keys().collect();
                let names = json!(names);
                fields.insert("required".into(), names);
            }
            fields.values_mut().for_each(amend);
        }
        Value::Array(values) => values.iter_mut().for_each(amend),
        _ => {}
    }
}

//! A tool's declaration as far as Ollama's types keep it: what they drop, no renderer has ever printed.

use serde_json::{Map, Value, json};

use super::golang::sorted;
use crate::prompt::Tool;

/// Schemas within each other; what is deeper is left out.
const MAX_DEPTH: usize = 32;

/// What a function takes.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// `object`, or empty if there is no schema.
    pub(super) kind: String,
    /// Definitions that others refer to.
    pub(super) definitions: Option<Value>,
    /// What a list of arguments consists of.
    pub(super) items: Option<Value>,
    /// Names that must be given.
    pub(super) required: Vec<String>,
    /// The arguments in the caller's order; none if the schema has no such list.
    pub(super) properties: Option<Vec<(String, Property)>>,
}

/// One argument, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Property {
    /// Alternatives.
    pub(super) any_of: Vec<Property>,
    /// Names of types.
    pub(super) kinds: Vec<String>,
    /// What a list consists of.
    pub(super) items: Option<Value>,
    /// What it is for; empty if the caller did not say.
    pub(super) description: String,
    /// The only values there are.
    pub(super) choices: Vec<Value>,
    /// The parts of an object.
    pub(super) properties: Option<Vec<(String, Property)>>,
    /// Names of parts that must be given.
    pub(super) required: Vec<String>,
}

impl Parameters {
    pub(super) fn of(tool: &Tool) -> Self {
        let schema = &tool.parameters;
        Self {
            kind: schema["type"].as_str().unwrap_or_default().into(),
            definitions: present(&schema["$defs"]),
            items: present(&schema["items"]),
            required: texts(&schema["required"]),
            properties: properties(&schema["properties"], 0),
        }
    }

    /// The arguments in the caller's order.
    pub(super) fn arguments(&self) -> &[(String, Property)] {
        self.properties.as_deref().unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("type".into(), self.kind.as_str().into());
        if let Some(definitions) = &self.definitions {
            object.insert("$defs".into(), definitions.clone());
        }
        if let Some(items) = &self.items {
            object.insert("items".into(), items.clone());
        }
        if !self.required.is_empty() {
            object.insert("required".into(), self.required.clone().into());
        }
        let properties = self.properties.as_deref();
        object.insert(
            "properties".into(),
            properties.map_or(Value::Null, object_of),
        );
        Value::Object(object)
    }
}

impl Property {
    fn of(schema: &Value, depth: usize) -> Self {
        if depth > MAX_DEPTH {
            return Self::default();
        }
        let any_of = schema["anyOf"].as_array().into_iter().flatten();
        Self {
            any_of: any_of.map(|branch| Self::of(branch, depth + 1)).collect(),
            kinds: match &schema["type"] {
                Value::String(kind) => vec![kind.clone()],
                kinds => texts(kinds),
            },
            items: present(&schema["items"]),
            description: schema["description"].as_str().unwrap_or_default().into(),
            choices: schema["enum"].as_array().cloned().unwrap_or_default(),
            properties: properties(&schema["properties"], depth + 1),
            required: texts(&schema["required"]),
        }
    }

    /// The types a value may have, those of all alternatives if there are some.
    pub(super) fn all_kinds(&self) -> Vec<&str> {
        if self.any_of.is_empty() {
            return self.kinds.iter().map(String::as_str).collect();
        }
        let branches = self.any_of.iter();
        branches
            .flat_map(|branch| branch.kinds.iter().map(String::as_str))
            .collect()
    }

    /// One type as its name, several as a list.
    pub(super) fn kind_json(&self) -> Value {
        match self.kinds.as_slice() {
            [kind] => kind.as_str().into(),
            kinds => kinds.into(),
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut object = Map::new();
        if !self.any_of.is_empty() {
            object.insert("anyOf".into(), self.any_of.iter().map(Self::json).collect());
        }
        if !self.kinds.is_empty() {
            object.insert("type".into(), self.kind_json());
        }
        if let Some(items) = &self.items {
            object.insert("items".into(), items.clone());
        }
        if !self.description.is_empty() {
            object.insert("description".into(), self.description.as_str().into());
        }
        if !self.choices.is_empty() {
            object.insert("enum".into(), self.choices.iter().map(sorted).collect());
        }
        if let Some(properties) = &self.properties {
            object.insert("properties".into(), object_of(properties));
        }
        if !self.required.is_empty() {
            object.insert("required".into(), self.required.clone().into());
        }
        Value::Object(object)
    }
}

/// Name, description and parameters.
pub(super) fn function(tool: &Tool) -> Value {
    let mut function = Map::new();
    function.insert("name".into(), tool.name.as_str().into());
    if !tool.description.is_empty() {
        function.insert("description".into(), tool.description.as_str().into());
    }
    function.insert("parameters".into(), Parameters::of(tool).json());
    Value::Object(function)
}

/// The whole declaration, as clients send it.
pub(super) fn tool(tool: &Tool) -> Value {
    json!({"type": "function", "function": function(tool)})
}

fn properties(schema: &Value, depth: usize) -> Option<Vec<(String, Property)>> {
    let entries = schema.as_object()?.iter();
    Some(
        entries
            .map(|(name, schema)| (name.clone(), Property::of(schema, depth)))
            .collect(),
    )
}

fn object_of(properties: &[(String, Property)]) -> Value {
    let entries = properties.iter();
    Value::Object(
        entries
            .map(|(name, property)| (name.clone(), property.json()))
            .collect(),
    )
}

fn present(value: &Value) -> Option<Value> {
    (!value.is_null()).then(|| sorted(value))
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items
        .filter_map(|item| Some(item.as_str()?.to_owned()))
        .collect()
}

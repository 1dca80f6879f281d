//! What Ollama's templates see: messages, tools and calls under the names and in the shapes of Ollama's Go types
//! (`template/template.go`, `api/types.go`).

use std::collections::BTreeMap;

use serde_json::{Map as JsonMap, Value as Json};

use super::functions::type_script_name;
use super::value::{Field, List, ListKind, Map, MapKind, Record, Shape, Value};
use crate::prompt::{Message, Tool, ToolCall};

const fn field(name: &'static str, json: &'static str) -> Field {
    Field {
        name,
        json,
        omit_empty: false,
        is_interface: false,
    }
}

const fn optional(name: &'static str, json: &'static str) -> Field {
    Field {
        omit_empty: true,
        ..field(name, json)
    }
}

const fn any(name: &'static str, json: &'static str) -> Field {
    Field {
        is_interface: true,
        ..optional(name, json)
    }
}

static MESSAGE: Shape = Shape {
    name: "template.templateMessage",
    fields: &[
        field("Role", "Role"),
        field("Content", "Content"),
        field("Thinking", "Thinking"),
        field("Images", "Images"),
        field("ToolCalls", "ToolCalls"),
        field("ToolName", "ToolName"),
        field("ToolCallID", "ToolCallID"),
    ],
    prints_json: false,
};

static TOOL_CALL: Shape = Shape {
    name: "template.templateToolCall",
    fields: &[field("ID", "ID"), field("Function", "Function")],
    prints_json: false,
};

static CALLED_FUNCTION: Shape = Shape {
    name: "template.templateToolCallFunction",
    fields: &[
        field("Index", "Index"),
        field("Name", "Name"),
        field("Arguments", "Arguments"),
    ],
    prints_json: false,
};

static TOOL: Shape = Shape {
    name: "template.templateTool",
    fields: &[
        field("Type", "type"),
        any("Items", "items"),
        field("Function", "function"),
    ],
    prints_json: true,
};

static FUNCTION: Shape = Shape {
    name: "template.templateToolFunction",
    fields: &[
        field("Name", "name"),
        field("Description", "description"),
        field("Parameters", "parameters"),
    ],
    prints_json: false,
};

static PARAMETERS: Shape = Shape {
    name: "template.templateToolFunctionParameters",
    fields: &[
        field("Type", "type"),
        any("Defs", "$defs"),
        any("Items", "items"),
        optional("Required", "required"),
        field("Properties", "properties"),
    ],
    prints_json: false,
};

static PROPERTY: Shape = Shape {
    name: "api.ToolProperty",
    fields: &[
        optional("AnyOf", "anyOf"),
        optional("Type", "type"),
        any("Items", "items"),
        optional("Description", "description"),
        optional("Enum", "enum"),
        optional("Properties", "properties"),
        optional("Required", "required"),
    ],
    prints_json: false,
};

/// Where [`PROPERTY`] has what [`type_script_type`] reads.
const ANY_OF: usize = 0;
const TYPE: usize = 1;

fn record(shape: &'static Shape, fields: Vec<Value>) -> Value {
    debug_assert_eq!(shape.fields.len(), fields.len());
    Value::Record(Record {
        shape,
        fields: fields.into(),
        is_pointer: false,
    })
}

/// The messages of a conversation.
pub(super) fn messages(messages: &[Message]) -> Value {
    List::new(ListKind::Messages, messages.iter().map(message).collect()).into()
}

fn message(message: &Message) -> Value {
    let images = vec![List::new(ListKind::Image, Vec::new()).into(); message.images];
    let calls = message.tool_calls.iter().map(tool_call).collect();
    let fields = vec![
        Value::text(&message.role),
        Value::text(&message.content),
        Value::text(&message.thinking),
        List::unless_empty(ListKind::Images, images).into(),
        List::unless_empty(ListKind::ToolCalls, calls).into(),
        Value::text(&message.tool_name),
        Value::text(&message.tool_call_id),
    ];
    Value::Record(Record {
        shape: &MESSAGE,
        fields: fields.into(),
        is_pointer: true,
    })
}

fn tool_call(call: &ToolCall) -> Value {
    let arguments = match &call.arguments {
        Json::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), value.into()));
            Map::new(MapKind::Arguments, entries.collect())
        }
        _ => Map::nil(MapKind::Arguments),
    };
    let function = vec![
        Value::Int(i64::try_from(call.index).unwrap_or(i64::MAX)),
        Value::text(&call.name),
        arguments.into(),
    ];
    record(
        &TOOL_CALL,
        vec![Value::text(&call.id), record(&CALLED_FUNCTION, function)],
    )
}

/// The tools that may be called.
pub(super) fn tools(tools: &[Tool]) -> Value {
    List::unless_empty(ListKind::Tools, tools.iter().map(tool).collect()).into()
}

fn tool(tool: &Tool) -> Value {
    let nothing = JsonMap::new();
    let schema = tool.parameters.as_object().unwrap_or(&nothing);
    let properties = match schema.get("properties") {
        Some(Json::Object(properties)) => {
            let entries = properties
                .iter()
                .map(|(name, schema)| (name.clone(), property(schema)));
            Map::new(MapKind::Properties, entries.collect())
        }
        _ => Map::nil(MapKind::Properties),
    };
    let parameters = vec![
        text_at(schema, "type"),
        schema.get("$defs").map_or(Value::Nil, Value::from),
        schema.get("items").map_or(Value::Nil, Value::from),
        texts_at(schema, "required", ListKind::Strings),
        properties.into(),
    ];
    let function = vec![
        Value::text(&tool.name),
        Value::text(&tool.description),
        record(&PARAMETERS, parameters),
    ];
    let fields = vec![
        Value::text("function"),
        Value::Nil,
        record(&FUNCTION, function),
    ];
    record(&TOOL, fields)
}

/// What Ollama keeps of a property's schema.
fn property(schema: &Json) -> Value {
    let nothing = JsonMap::new();
    let schema = schema.as_object().unwrap_or(&nothing);
    let any_of = match schema.get("anyOf") {
        Some(Json::Array(schemas)) => {
            List::new(ListKind::Properties, schemas.iter().map(property).collect())
        }
        _ => List::nil(ListKind::Properties),
    };
    let allowed = match schema.get("enum") {
        Some(Json::Array(values)) => {
            List::new(ListKind::Any, values.iter().map(Value::from).collect())
        }
        _ => List::nil(ListKind::Any),
    };
    let properties = schema
        .get("properties")
        .and_then(Json::as_object)
        .map(|properties| {
            let entries = properties
                .iter()
                .map(|(name, schema)| (name.clone(), property(schema)));
            entries.collect()
        });
    let fields = vec![
        any_of.into(),
        texts_at(schema, "type", ListKind::Types),
        schema.get("items").map_or(Value::Nil, Value::from),
        text_at(schema, "description"),
        allowed.into(),
        Value::Properties(properties),
        texts_at(schema, "required", ListKind::Strings),
    ];
    record(&PROPERTY, fields)
}

/// The property of which nothing is known.
pub(super) fn empty_property() -> Value {
    property(&Json::Null)
}

/// Properties by name.
pub(super) fn property_map(properties: Option<&[(String, Value)]>) -> Value {
    match properties {
        Some(properties) => {
            let entries: BTreeMap<_, _> = properties.iter().cloned().collect();
            Map::new(MapKind::Properties, entries).into()
        }
        None => Map::nil(MapKind::Properties).into(),
    }
}

fn text_at(schema: &JsonMap<String, Json>, key: &str) -> Value {
    Value::text(schema.get(key).and_then(Json::as_str).unwrap_or_default())
}

/// One text or several.
fn texts_at(schema: &JsonMap<String, Json>, key: &str, kind: ListKind) -> Value {
    match schema.get(key) {
        Some(Json::String(text)) if kind == ListKind::Types => {
            List::new(kind, vec![Value::text(text)]).into()
        }
        Some(Json::Array(items)) => {
            let texts = items.iter().filter_map(Json::as_str);
            List::new(kind, texts.map(Value::text).collect()).into()
        }
        _ => List::nil(kind).into(),
    }
}

/// The type of a property in TypeScript; none if the record is no property.
pub(super) fn type_script_type(property: &Record) -> Option<String> {
    if !std::ptr::eq(property.shape, &raw const PROPERTY) {
        return None;
    }
    if let Value::List(alternatives) = &property.fields[ANY_OF]
        && alternatives.len() > 0
    {
        let types = alternatives.items().iter().filter_map(|item| match item {
            Value::Record(record) => type_script_type(record),
            _ => None,
        });
        return Some(types.collect::<Vec<_>>().join(" | "));
    }
    let Value::List(types) = &property.fields[TYPE] else {
        return None;
    };
    if types.len() == 0 {
        return Some("any".into());
    }
    let names = types.items().iter().filter_map(|item| match item {
        Value::Text(name) => Some(type_script_name(&String::from_utf8_lossy(name))),
        _ => None,
    });
    Some(names.collect::<Vec<_>>().join(" | "))
}

//! The API's OpenAPI document, made from the code that serves it, at GET `/openapi.json`.
//!
//! A route is registered once, in [`Routes`], with what it takes and gives ([`About`]): the router and the document come from
//! the same line. Bodies are described by the parsers that read them ([`describe`]), replies by the types that are written.

pub mod describe;
mod routes;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, Paths, RefOr, Required, ResponseBuilder,
};

pub use self::routes::Routes;
use super::json::FromJson;
use super::reply;

const JSON: &str = "application/json";
/// One JSON object a line.
pub const NDJSON: &str = "application/x-ndjson";
/// Server-sent events.
const EVENTS: &str = "text/event-stream";
/// Texts for people and scrapers.
pub const TEXT: &str = "text/plain";
/// The bytes of a file.
pub const BYTES: &str = "application/octet-stream";

/// What the document says of a route.
pub struct About {
    operation: OperationBuilder,
    schemas: Named,
}

/// Schemas under the names by which others refer to them.
type Named = Vec<(String, RefOr<Schema>)>;

/// A route in the document. As JSON, for `utoipa` cannot read all that it writes.
struct Documented {
    path: String,
    /// In lower case.
    method: &'static str,
    operation: Value,
    schemas: Vec<(String, Value)>,
}

impl About {
    /// A route and, in a few words, what it is for.
    #[must_use]
    pub fn new(summary: &str) -> Self {
        Self {
            operation: OperationBuilder::new().summary(Some(summary)),
            schemas: Named::new(),
        }
    }

    /// It reads a JSON body.
    #[must_use]
    pub fn takes<T: FromJson>(mut self) -> Self {
        let content = ContentBuilder::new().schema(Some(T::schema())).build();
        let body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content(JSON, content);
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    /// It reads a body that is no JSON.
    #[must_use]
    pub fn takes_content(mut self, content_type: &str) -> Self {
        let body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content(content_type, ContentBuilder::new().build());
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    /// A part of its path is `name`.
    #[must_use]
    pub fn named(mut self, name: &str, description: &str) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(description))
            .schema(Some(<String as FromJson>::schema()));
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// It answers with a JSON object.
    #[must_use]
    pub fn gives<T: ToSchema>(self) -> Self {
        self.answers::<T>("200", "Done", &[JSON])
    }

    /// It answers with one JSON object, or with a stream of objects if the body asks for it.
    #[must_use]
    pub fn gives_or_streams<T: ToSchema>(self, stream: &'static str) -> Self {
        self.answers::<T>("200", "Done, or under way", &[JSON, stream])
    }

    /// It answers with a JSON object, or with server-sent events if the body asks for them, each of which holds an `E`.
    #[must_use]
    pub fn gives_or_tells<T: ToSchema, E: ToSchema>(mut self) -> Self {
        let content = |schema| ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new()
            .description("Done, or told as it comes: the schema is that of one event's data")
            .content(JSON, content(T::schema()))
            .content(EVENTS, content(E::schema()));
        self.operation = self.operation.response("200", response);
        T::schemas(&mut self.schemas);
        E::schemas(&mut self.schemas);
        self
    }

    /// It answers with something else than JSON.
    #[must_use]
    pub fn gives_content(mut self, content_type: &str) -> Self {
        let content = ContentBuilder::new().build();
        let response = ResponseBuilder::new()
            .description("Done")
            .content(content_type, content);
        self.operation = self.operation.response("200", response);
        self
    }

    /// It answers with this status and nothing more.
    #[must_use]
    pub fn gives_nothing(mut self, status: StatusCode, description: &str) -> Self {
        let response = ResponseBuilder::new().description(description);
        self.operation = self.operation.response(status.as_str(), response);
        self
    }

    /// It refuses, and fails, with bodies of this type.
    fn fails_with<T: ToSchema>(self) -> Self {
        self.answers::<T>("4XX", "Refused", &[JSON])
            .answers::<T>("5XX", "Failed", &[JSON])
    }

    fn answers<T: ToSchema>(mut self, status: &str, description: &str, types: &[&str]) -> Self {
        let response = types.iter().fold(
            ResponseBuilder::new().description(description),
            |response, content_type| {
                let content = ContentBuilder::new().schema(Some(T::schema()));
                response.content(*content_type, content.build())
            },
        );
        self.operation = self.operation.response(status, response);
        T::schemas(&mut self.schemas);
        self
    }
}

impl Documented {
    /// The names of schemas begin with `family`: two families of clients may have types of the same name.
    fn of(family: &str, path: String, method: &'static str, about: About) -> Self {
        let operation = about.operation.tag(family).build();
        let schemas = about.schemas.into_iter();
        Self {
            path,
            method,
            operation: in_family(family, &operation),
            schemas: schemas
                .map(|(name, schema)| (format!("{family}.{name}"), in_family(family, &schema)))
                .collect(),
        }
    }
}

/// The document of all routes.
///
/// # Panics
/// When two different types of a family have the same name: one would be described as the other.
fn document(routes: Vec<Documented>) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut schemas = Map::new();
    for route in routes {
        for (name, schema) in route.schemas {
            let before = schemas.insert(name.clone(), schema.clone());
            assert!(
                before.is_none_or(|before| before == schema),
                "two types are called {name}"
            );
        }
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = route.operation;
    }
    let info = InfoBuilder::new()
        .title("Chaski")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Serves GGUF and ONNX models in the dialects of Ollama, OpenAI and Anthropic.",
        ));
    let mut document = json_of(&OpenApi::new(info.build(), Paths::new()));
    document["paths"] = paths.into();
    document["components"] = json!({ "schemas": schemas });
    document
}

/// A part of the document whose references lead to the schemas of `family`.
fn in_family(family: &str, part: &impl Serialize) -> Value {
    let mut part = json_of(part);
    rename_references(family, &mut part);
    loosen(&mut part);
    part
}

/// Takes back what `utoipa` promises too much: that a value has one of several forms and no other, where an empty list has
/// two, and that fields which a record takes over from another one are all there or null, where they may be absent.
fn loosen(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(forms) = fields.remove("oneOf") {
                fields.insert("anyOf".into(), forms);
            }
            if let Some(Value::Array(all)) = fields.get_mut("allOf") {
                let forms = all
                    .iter_mut()
                    .filter_map(|part| part.get_mut("oneOf")?.as_array_mut());
                for form in forms.flatten() {
                    if *form == json!({ "type": "null" }) {
                        *form = json!({});
                    }
                }
            }
            fields.values_mut().for_each(loosen);
        }
        Value::Array(items) => items.iter_mut().for_each(loosen),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn json_of(part: &impl Serialize) -> Value {
    serde_json::to_value(part).expect("the document is JSON")
}

fn rename_references(family: &str, value: &mut Value) {
    const PREFIX: &str = "#/components/schemas/";
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(reference) if name == "$ref" => {
                        if let Some(schema) = reference.strip_prefix(PREFIX) {
                            *reference = format!("{PREFIX}{family}.{schema}");
                        }
                    }
                    field => rename_references(family, field),
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| rename_references(family, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The document as a reply.
fn reply(document: Value) -> impl Fn() -> Response + Clone + Send + Sync + 'static {
    move || reply::json(StatusCode::OK, &document)
}

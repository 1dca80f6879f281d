//! Request bodies: read whatever their content type, with a bound and a deadline, and taken apart as leniently as Go does.
//!
//! Clients were written against Go's decoder, so it is followed: unknown fields are passed over, `null` is as good as
//! absent, names match whatever their case, a field given twice counts as given last, and what follows the first JSON
//! value is not looked at. A body that is `null` is one without fields. Mistakes are reported in its words.

use std::time::Duration;

use axum::RequestExt;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use futures::StreamExt;
use http_body_util::LengthLimitError;
use serde_json::{Map, Value};

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, Type};

use super::Error;
use super::openapi::describe;

/// How long a client may let us wait for the next piece of its body.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Longest body that is taken apart on the spot, in well under a millisecond. For longer ones other requests do not wait.
const MAX_BODY_BYTES_ON_THE_SPOT: usize = 256 << 10;

/// A request body as `T`. The bound on its length is the router's `DefaultBodyLimit`.
pub struct Json<T>(pub T);

/// A type that can be taken from a JSON value. Its `Default` stands for an absent or `null` field.
pub trait FromJson: Default {
    /// The type as Go would call it, for messages.
    const GO_TYPE: &'static str;

    /// Takes the value apart.
    fn from_json(value: Value) -> Result<Self, Mismatch>;

    /// What such a value looks like, for the API's document. A type that is not parsed from the fields of an object says
    /// it itself.
    fn schema() -> RefOr<Schema> {
        describe::object::<Self>()
    }
}

/// The fields of a JSON object that becomes the structure `structure`.
pub struct Fields {
    structure: &'static str,
    fields: Map<String, Value>,
    /// Whether somebody wants to know which fields are taken, see [`describe`].
    is_described: bool,
}

/// A JSON value that does not fit.
#[derive(Debug)]
pub enum Mismatch {
    /// It is of the wrong type.
    Type {
        /// What it is.
        found: &'static str,
        /// What it should be, as Go would call it.
        expected: &'static str,
        /// The structure that the whole body is; empty for the body itself.
        structure: &'static str,
        /// The fields that lead to it; empty for the body itself.
        path: String,
    },
    /// What a field with rules of its own says.
    Value(String),
}

impl<T: FromJson + Send + 'static, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let body = read(request.into_limited_body()).await?;
        with_body(body, parse).await.map(Self)
    }
}

/// What `work` makes of a body, on a thread of its own if the body is long.
///
/// # Errors
/// Those of `work`.
pub async fn with_body<T: Send + 'static>(
    body: Vec<u8>,
    work: impl FnOnce(&[u8]) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if body.len() <= MAX_BODY_BYTES_ON_THE_SPOT {
        return work(&body);
    }
    tokio::task::spawn_blocking(move || work(&body))
        .await
        .expect("reading a body does not panic")
}

/// Waits for the next piece of a request body.
pub async fn next_piece(pieces: &mut axum::body::BodyDataStream) -> Result<Option<Bytes>, Error> {
    let piece = tokio::time::timeout(STALL_LIMIT, pieces.next())
        .await
        .map_err(|_| Error::BodyTimeout)?;
    piece.transpose().map_err(|error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            if error.is::<LengthLimitError>() {
                return Error::BodyTooLarge;
            }
            cause = error.source();
        }
        Error::BodyBroken
    })
}

/// The whole of a body.
///
/// # Errors
/// When it is too long, breaks off or stops arriving.
pub async fn read(body: Body) -> Result<Vec<u8>, Error> {
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = next_piece(&mut pieces).await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The first JSON value of a body, as `T`.
///
/// # Errors
/// When there is none, or it does not fit.
pub fn parse<T: FromJson>(body: &[u8]) -> Result<T, Error> {
    if body.trim_ascii().is_empty() {
        return Err(Error::BadRequest("missing request body".into()));
    }
    let value: Value = serde_json::Deserializer::from_slice(body)
        .into_iter()
        .next()
        .expect("a body that is not blank holds a value or a mistake")
        .map_err(|error| Error::BadRequest(syntax(body, &error)))?;
    if value.is_null() {
        return Ok(T::default());
    }
    T::from_json(value).map_err(|mismatch| Error::BadRequest(mismatch.to_string()))
}

/// A syntax error in the words of Go's `encoding/json`.
fn syntax(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected EOF".into();
    }
    let text = error.to_string();
    let place = [
        (
            "key must be a string",
            "looking for beginning of object key string",
        ),
        ("expected `:`", "after object key"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("trailing comma", "looking for beginning of value"),
        ("expected value", "looking for beginning of value"),
        ("expected ident", "in literal"),
        ("control character", "in string literal"),
        ("invalid escape", "in string escape code"),
        ("invalid number", "in numeric literal"),
    ]
    .into_iter()
    .find_map(|(ours, go)| text.starts_with(ours).then_some(go));
    let Some(place) = place else { return text };
    let offset = body
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum::<usize>()
        + error.column().saturating_sub(1);
    match body.get(offset) {
        Some(byte) if byte.is_ascii() => {
            format!("invalid character {:?} {place}", char::from(*byte))
        }
        _ => format!("invalid character {place}"),
    }
}

impl Fields {
    /// The fields of an object that becomes `structure`.
    ///
    /// # Errors
    /// When `value` is no object.
    pub fn of(structure: &'static str, value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Object(object) => {
                let fields = object
                    .into_iter()
                    .map(|(name, value)| (name.to_ascii_lowercase(), value))
                    .collect();
                Ok(Self {
                    structure,
                    fields,
                    is_described: describe::is_open(),
                })
            }
            other => Err(Mismatch::new(&other, structure)),
        }
    }

    /// The field `name`; the type's default if it is absent or null.
    ///
    /// # Errors
    /// When the field is of another type.
    pub fn take<T: FromJson>(&mut self, name: &str) -> Result<T, Mismatch> {
        if self.is_described {
            describe::note(name, T::schema());
        }
        match self.fields.swap_remove(name) {
            None | Some(Value::Null) => Ok(T::default()),
            Some(value) => {
                T::from_json(value).map_err(|mismatch| mismatch.inside(self.structure, name))
            }
        }
    }
}

impl Fields {
    /// The same as [`Fields::take`], but the field stays.
    ///
    /// # Errors
    /// When the field is of another type.
    pub fn look<T: FromJson>(&self, name: &str) -> Result<T, Mismatch> {
        let fields = self.fields.get(name).cloned();
        let entry = fields.map(|value| (name.to_owned(), value));
        let mut copy = Self {
            structure: self.structure,
            is_described: self.is_described,
            fields: entry.into_iter().collect(),
        };
        copy.take(name)
    }

    /// One field under the names that different clients have for it: the first of them that is there. The others are of its type as well.
    ///
    /// # Errors
    /// When one of them is of another type.
    pub fn take_any<T>(&mut self, names: &[&str]) -> Result<Option<T>, Mismatch>
    where
        Option<T>: FromJson,
    {
        let mut taken = None;
        for name in names {
            let named: Option<T> = self.take(name)?;
            taken = taken.or(named);
        }
        Ok(taken)
    }

    /// The model's name: `model`, or `name` as older clients call it.
    ///
    /// # Errors
    /// When it is no text.
    pub fn take_name(&mut self) -> Result<String, Mismatch> {
        let model: String = self.take("model")?;
        let name: String = self.take("name")?;
        Ok(if model.is_empty() { name } else { model })
    }
}

impl Mismatch {
    /// The value is of the wrong type.
    pub fn new(found: &Value, expected: &'static str) -> Self {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        Self::Type {
            found,
            expected,
            structure: "",
            path: String::new(),
        }
    }

    /// The same, seen from the structure that has the value in field `name`.
    fn inside(mut self, outer: &'static str, name: &str) -> Self {
        if let Self::Type {
            structure, path, ..
        } = &mut self
        {
            // Go names the outermost structure and the whole path.
            *structure = outer;
            if path.is_empty() {
                name.clone_into(path);
            } else {
                *path = format!("{name}.{path}");
            }
        }
        self
    }
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(text) => formatter.write_str(text),
            Self::Type {
                found,
                expected,
                path,
                ..
            } if path.is_empty() => write!(
                formatter,
                "json: cannot unmarshal {found} into Go value of type api.{expected}"
            ),
            Self::Type {
                found,
                expected,
                structure,
                path,
            } => write!(
                formatter,
                "json: cannot unmarshal {found} into Go struct field {structure}.{path} of type {expected}"
            ),
        }
    }
}

impl FromJson for Value {
    const GO_TYPE: &'static str = "interface {}";

    fn schema() -> RefOr<Schema> {
        describe::anything()
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        Ok(value)
    }
}

impl FromJson for String {
    const GO_TYPE: &'static str = "string";

    fn schema() -> RefOr<Schema> {
        describe::value(Type::String)
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(Mismatch::new(&other, Self::GO_TYPE)),
        }
    }
}

impl FromJson for bool {
    const GO_TYPE: &'static str = "bool";

    fn schema() -> RefOr<Schema> {
        describe::value(Type::Boolean)
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        value
            .as_bool()
            .ok_or_else(|| Mismatch::new(&value, Self::GO_TYPE))
    }
}

impl FromJson for i64 {
    const GO_TYPE: &'static str = "int";

    fn schema() -> RefOr<Schema> {
        describe::value(Type::Integer)
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        value
            .as_i64()
            .ok_or_else(|| Mismatch::new(&value, Self::GO_TYPE))
    }
}

impl FromJson for i32 {
    const GO_TYPE: &'static str = "int";

    fn schema() -> RefOr<Schema> {
        describe::value(Type::Integer)
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        value
            .as_i64()
            .and_then(|number| Self::try_from(number).ok())
            .ok_or_else(|| Mismatch::new(&value, Self::GO_TYPE))
    }
}

impl FromJson for f64 {
    const GO_TYPE: &'static str = "float64";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        value
            .as_f64()
            .ok_or_else(|| Mismatch::new(&value, Self::GO_TYPE))
    }
}

impl FromJson for Map<String, Value> {
    const GO_TYPE: &'static str = "map[string]interface {}";

    fn schema() -> RefOr<Schema> {
        describe::value(Type::Object)
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Object(object) => Ok(object),
            other => Err(Mismatch::new(&other, Self::GO_TYPE)),
        }
    }
}

impl<T: FromJson> FromJson for Option<T> {
    const GO_TYPE: &'static str = T::GO_TYPE;

    fn schema() -> RefOr<Schema> {
        T::schema()
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        T::from_json(value).map(Some)
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    const GO_TYPE: &'static str = "[]interface {}";

    fn schema() -> RefOr<Schema> {
        describe::list(T::schema())
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::Null => Ok(T::default()),
                    item => T::from_json(item),
                })
                .collect(),
            other => Err(Mismatch::new(&other, Self::GO_TYPE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Outer {
        model: String,
        messages: Vec<Inner>,
        stream: Option<bool>,
        context: Vec<i32>,
    }

    #[derive(Debug, Default)]
    struct Inner {
        content: String,
    }

    impl FromJson for Outer {
        const GO_TYPE: &'static str = "Outer";

        fn from_json(value: Value) -> Result<Self, Mismatch> {
            let mut fields = Fields::of(Self::GO_TYPE, value)?;
            Ok(Self {
                model: fields.take("model")?,
                messages: fields.take("messages")?,
                stream: fields.take("stream")?,
                context: fields.take("context")?,
            })
        }
    }

    impl FromJson for Inner {
        const GO_TYPE: &'static str = "Inner";

        fn from_json(value: Value) -> Result<Self, Mismatch> {
            let mut fields = Fields::of(Self::GO_TYPE, value)?;
            Ok(Self {
                content: fields.take("content")?,
            })
        }
    }

    #[test]
    fn what_go_tolerates_is_tolerated() {
        let body = br#" {"Model":"a","model":"b","extra":[1,{"x":null}],"stream":null,"messages":[{"content":null},null]} trailing"#;
        let outer: Outer = parse(body).unwrap();
        assert_eq!((outer.model.as_str(), outer.stream), ("b", None));
        assert_eq!(outer.messages.len(), 2);
        assert_eq!(outer.messages[0].content, "");
        assert!(outer.context.is_empty());
    }

    #[tokio::test]
    async fn long_bodies_do_not_hold_up_other_requests() {
        let here = std::thread::current().id();
        let is_elsewhere = async |bytes| {
            let work = move |body: &[u8]| {
                assert_eq!(body.len(), bytes);
                Ok(std::thread::current().id() != here)
            };
            with_body(vec![b' '; bytes], work).await.unwrap()
        };
        assert!(!is_elsewhere(MAX_BODY_BYTES_ON_THE_SPOT).await);
        assert!(is_elsewhere(MAX_BODY_BYTES_ON_THE_SPOT + 1).await);
        let mistake = with_body::<()>(vec![b'x'; 1 << 20], |_| Err(Error::BodyBroken)).await;
        assert!(matches!(mistake, Err(Error::BodyBroken)));
    }

    #[test]
    fn mistakes_are_told_in_go_s_words() {
        let check = |body: &str, expected: &str| {
            let error = parse::<Outer>(body.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected, "{body}");
        };
        check("", "missing request body");
        check(" \n", "missing request body");
        check("{", "unexpected EOF");
        check(r#"{"model":"a""#, "unexpected EOF");
        check(
            "{x",
            "invalid character 'x' looking for beginning of object key string",
        );
        check("x", "invalid character 'x' looking for beginning of value");
        check("{\"model\":\n nope}", "invalid character 'o' in literal");
        check(r#"{"model" 1}"#, "invalid character '1' after object key");
        check(
            r#"{"model":1 2}"#,
            "invalid character '2' after object key:value pair",
        );
        check(
            r#"{"context":[1 2]}"#,
            "invalid character '2' after array element",
        );
        check(
            "[]",
            "json: cannot unmarshal array into Go value of type api.Outer",
        );
        check(
            r#"{"model":1}"#,
            "json: cannot unmarshal number into Go struct field Outer.model of type string",
        );
        check(
            r#"{"messages":[{"content":["x"]}]}"#,
            "json: cannot unmarshal array into Go struct field Outer.messages.content of type string",
        );
        check(
            r#"{"messages":[["x"]]}"#,
            "json: cannot unmarshal array into Go struct field Outer.messages of type Inner",
        );
        check(
            r#"{"context":[1.5]}"#,
            "json: cannot unmarshal number into Go struct field Outer.context of type int",
        );
        check(
            r#"{"stream":"yes"}"#,
            "json: cannot unmarshal string into Go struct field Outer.stream of type bool",
        );
    }
}

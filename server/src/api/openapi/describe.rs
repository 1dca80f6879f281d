//! What a request body may hold, told by the code that takes it apart.
//!
//! While a description is open on this thread, every field that is taken from an object is noted with the schema of its
//! type ([`note`]). A parser that is run on an empty object under an open description thus describes itself, and what
//! the document says can never differ from what is read.

use std::cell::RefCell;

use serde_json::{Map, Value};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AnyOfBuilder, ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type,
};

use crate::api::json::FromJson;

type Properties = Vec<(String, RefOr<Schema>)>;

thread_local! {
    /// The objects that are being described, the innermost last.
    static OPEN: RefCell<Vec<Properties>> = const { RefCell::new(Vec::new()) };
}

/// Whether fields that are taken are to be noted.
pub fn is_open() -> bool {
    OPEN.with_borrow(|open| !open.is_empty())
}

/// Notes a field of the object that is being described. A field that is looked at twice is noted once.
pub fn note(name: &str, schema: RefOr<Schema>) {
    OPEN.with_borrow_mut(|open| {
        if let Some(properties) = open.last_mut()
            && properties.iter().all(|(noted, _)| noted != name)
        {
            properties.push((name.to_owned(), schema));
        }
    });
}

/// The object that `T` is parsed from; anything at all, if `T` takes no fields.
pub fn object<T: FromJson>() -> RefOr<Schema> {
    OPEN.with_borrow_mut(|open| open.push(Properties::new()));
    // Whether an empty object will do is not the question.
    let _ = T::from_json(Value::Object(Map::new()));
    let properties = OPEN
        .with_borrow_mut(Vec::pop)
        .expect("every description that was opened inside is closed");
    if properties.is_empty() {
        return anything();
    }
    let object = ObjectBuilder::new().schema_type(Type::Object);
    let object = properties
        .into_iter()
        .fold(object, |object, (name, schema)| {
            object.property(name, schema)
        });
    object.into()
}

/// A value of one of JSON's types.
pub fn value(kind: Type) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(kind).into()
}

/// Any value.
pub fn anything() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .into()
}

/// A text out of a list.
pub fn words<const N: usize>(words: [&str; N]) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .into()
}

/// A list.
pub fn list(item: RefOr<Schema>) -> RefOr<Schema> {
    ArrayBuilder::new().items(item).into()
}

/// A value of any of these forms.
pub fn either<const N: usize>(forms: [RefOr<Schema>; N]) -> RefOr<Schema> {
    let any = forms
        .into_iter()
        .fold(AnyOfBuilder::new(), AnyOfBuilder::item);
    any.into()
}

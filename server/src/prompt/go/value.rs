//! The values that templates compute with: those of Go that Ollama's templates can meet.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A value. Copies share what they hold.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing at all, or the nil of an interface.
    Nil,
    Bool(bool),
    Int(i64),
    /// What indexing a text gives.
    Byte(u8),
    Float(f64),
    Complex(f64, f64),
    /// Bytes, which need not be UTF-8 once a template has cut them.
    Text(Rc<[u8]>),
    List(List),
    Map(Map),
    Record(Record),
    /// `*api.ToolPropertiesMap`: properties in the order they were given, or its nil.
    Properties(Option<Rc<[(String, Value)]>>),
}

/// A value as an expression gives it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) value: Value,
    /// Whether it is seen as an `interface {}`, as elements of untyped lists and maps are. Without this, [`Value::Nil`]
    /// is no value at all.
    pub(super) is_interface: bool,
}

/// A slice.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) kind: ListKind,
    items: Rc<[Value]>,
    start: usize,
    end: usize,
    /// Go tells a list that was never made from an empty one in comparisons and in JSON.
    pub(super) is_nil: bool,
}

/// The type of a [`List`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ListKind {
    Any,
    Strings,
    Images,
    /// One image, whose bytes templates have no use for.
    Image,
    Messages,
    ToolCalls,
    Tools,
    Properties,
    /// The types that a property may have.
    Types,
}

/// A map with text keys, which Go prints and walks in their order.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) kind: MapKind,
    pub(super) entries: Rc<BTreeMap<String, Value>>,
    /// See [`List::is_nil`].
    pub(super) is_nil: bool,
}

/// The type of a [`Map`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MapKind {
    Any,
    Arguments,
    Properties,
}

/// A struct, or a pointer to one.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) shape: &'static Shape,
    /// In the shape's order.
    pub(super) fields: Rc<[Value]>,
    pub(super) is_pointer: bool,
}

/// The type of a [`Record`].
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
    /// Whether it prints itself as JSON.
    pub(super) prints_json: bool,
}

/// A field of a [`Shape`].
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) json: &'static str,
    /// Left out of JSON when it is empty.
    pub(super) omit_empty: bool,
    /// Declared as `any`.
    pub(super) is_interface: bool,
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().into())
    }

    /// The name of its type.
    pub(super) fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Nil => "interface {}",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Byte(_) => "uint8",
            Self::Float(_) => "float64",
            Self::Complex(..) => "complex128",
            Self::Text(_) => "string",
            Self::List(list) => list.kind.name(),
            Self::Map(map) => map.kind.name(),
            Self::Properties(_) => "*api.ToolPropertiesMap",
            Self::Record(record) if record.is_pointer => {
                return Cow::Owned(format!("*{}", record.shape.name));
            }
            Self::Record(record) => record.shape.name,
        })
    }

    /// What `{{if}}` makes of it.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Byte(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Complex(real, imaginary) => *real != 0.0 || *imaginary != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => list.len() > 0,
            Self::Map(map) => !map.entries.is_empty(),
            Self::Record(_) => true,
            Self::Properties(properties) => properties.is_some(),
        }
    }

    /// The value a pointer points to; a nil pointer stays itself.
    pub(super) fn dereferenced(self) -> Self {
        match self {
            Self::Record(record) => Self::Record(Record {
                is_pointer: false,
                ..record
            }),
            other => other,
        }
    }
}

/// What was read from JSON, as `encoding/json` makes it: numbers are floats, objects are maps.
impl From<&serde_json::Value> for Value {
    fn from(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Nil,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Float(number.as_f64().unwrap_or_default()),
            Json::String(text) => Self::text(text),
            Json::Array(items) => {
                List::new(ListKind::Any, items.iter().map(Self::from).collect()).into()
            }
            Json::Object(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, value)| (key.clone(), value.into()));
                Map::new(MapKind::Any, entries.collect()).into()
            }
        }
    }
}

impl From<List> for Value {
    fn from(list: List) -> Self {
        Self::List(list)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

impl From<Value> for Held {
    fn from(value: Value) -> Self {
        Self {
            value,
            is_interface: false,
        }
    }
}

impl Held {
    /// No value at all.
    pub(super) const NOTHING: Self = Self {
        value: Value::Nil,
        is_interface: false,
    };

    pub(super) fn interface(value: Value) -> Self {
        Self {
            value,
            is_interface: true,
        }
    }

    /// Itself, no longer seen as an interface: a nil becomes no value at all.
    pub(super) fn concrete(self) -> Self {
        self.value.into()
    }

    /// Whether it is no value at all, which even a nil interface is.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.value, Value::Nil) && !self.is_interface
    }

    pub(super) fn type_name(&self) -> Cow<'static, str> {
        if self.is_interface {
            Cow::Borrowed("interface {}")
        } else {
            self.value.type_name()
        }
    }
}

impl List {
    pub(super) fn new(kind: ListKind, items: Vec<Value>) -> Self {
        Self {
            kind,
            start: 0,
            end: items.len(),
            items: items.into(),
            is_nil: false,
        }
    }

    /// A list that nobody made.
    pub(super) fn nil(kind: ListKind) -> Self {
        Self {
            is_nil: true,
            ..Self::new(kind, Vec::new())
        }
    }

    /// As given, or [`List::nil`] if empty.
    pub(super) fn unless_empty(kind: ListKind, items: Vec<Value>) -> Self {
        Self {
            is_nil: items.is_empty(),
            ..Self::new(kind, items)
        }
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// How far it can be sliced: to where the list ends that it was sliced from.
    pub(super) fn capacity(&self) -> usize {
        self.items.len() - self.start
    }

    pub(super) fn items(&self) -> &[Value] {
        &self.items[self.start..self.end]
    }

    /// Items `from..to`, which may reach up to [`List::capacity`].
    pub(super) fn slice(&self, from: usize, to: usize) -> Self {
        Self {
            start: self.start + from,
            end: self.start + to,
            ..self.clone()
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Held> {
        let value = self.items().get(index)?.clone();
        Some(self.kind.held(value))
    }
}

impl ListKind {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "[]interface {}",
            Self::Strings => "[]string",
            Self::Images => "[]api.ImageData",
            Self::Image => "api.ImageData",
            Self::Messages => "[]*template.templateMessage",
            Self::ToolCalls => "[]template.templateToolCall",
            Self::Tools => "template.templateTools",
            Self::Properties => "[]api.ToolProperty",
            Self::Types => "api.PropertyType",
        }
    }

    /// An element as its type has it.
    pub(super) fn held(self, value: Value) -> Held {
        Held {
            value,
            is_interface: self == Self::Any,
        }
    }
}

impl Map {
    pub(super) fn new(kind: MapKind, entries: BTreeMap<String, Value>) -> Self {
        Self {
            kind,
            entries: Rc::new(entries),
            is_nil: false,
        }
    }

    /// A map that nobody made.
    pub(super) fn nil(kind: MapKind) -> Self {
        Self {
            is_nil: true,
            ..Self::new(kind, BTreeMap::new())
        }
    }

    /// The entry, or the zero of the elements' type.
    pub(super) fn get(&self, key: &[u8]) -> Held {
        let value = std::str::from_utf8(key)
            .ok()
            .and_then(|key| self.entries.get(key))
            .cloned();
        match (value, self.kind) {
            (Some(value), kind) => kind.held(value),
            (None, MapKind::Properties) => super::data::empty_property().into(),
            (None, kind) => kind.held(Value::Nil),
        }
    }
}

impl MapKind {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "map[string]interface {}",
            Self::Arguments => "template.templateArgs",
            Self::Properties => "template.templateProperties",
        }
    }

    /// An element as its type has it.
    pub(super) fn held(self, value: Value) -> Held {
        Held {
            value,
            is_interface: self != Self::Properties,
        }
    }
}

impl Record {
    pub(super) fn field(&self, name: &str) -> Option<Held> {
        let index = self
            .shape
            .fields
            .iter()
            .position(|field| field.name == name)?;
        Some(Held {
            value: self.fields[index].clone(),
            is_interface: self.shape.fields[index].is_interface,
        })
    }
}

//! Arguments of Python's functions, which may be given by place or by name.

use minijinja::value::{Kwargs, Rest, from_args};
use minijinja::{Error, ErrorKind, Value};

/// What a call gives for each of these parameters; none where it gives nothing.
///
/// # Errors
/// When it gives more than there are, or names others.
pub(super) fn named<const N: usize>(
    args: &[Value],
    names: [&str; N],
) -> Result<[Option<Value>; N], Error> {
    let (places, others): (Rest<Value>, Kwargs) = from_args(args)?;
    given(&places, &others, names)
}

/// The same of a call that is taken apart already.
pub(super) fn given<const N: usize>(
    places: &[Value],
    others: &Kwargs,
    names: [&str; N],
) -> Result<[Option<Value>; N], Error> {
    if places.len() > N {
        return Err(ErrorKind::TooManyArguments.into());
    }
    let mut found = [const { None }; N];
    for (place, name) in names.into_iter().enumerate() {
        found[place] = match places.get(place) {
            Some(value) => Some(value.clone()),
            None if others.has(name) => Some(others.get::<Value>(name)?),
            None => None,
        };
    }
    others.assert_all_used()?;
    Ok(found)
}

/// The same value unless it is Python's `None`, which stands for nothing in most places.
pub(super) fn unless_none(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !value.is_none())
}

/// Whether an argument is given and true.
pub(super) fn is_true(value: Option<&Value>) -> bool {
    value.is_some_and(Value::is_true)
}

/// An argument that must be a whole number.
pub(super) fn whole(value: Option<Value>) -> Result<Option<i64>, Error> {
    value.map(i64::try_from).transpose()
}

/// An argument that must be a text.
pub(super) fn text(value: &Value) -> Result<&str, Error> {
    value
        .as_str()
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "value is not a string"))
}

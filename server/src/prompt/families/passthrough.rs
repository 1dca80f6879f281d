//! No family: answers stay as the model wrote them, whatever its template shows.

use super::{Family, PARSER, Parser};

pub(super) const FAMILY: Family = Family {
    renderers: &[],
    parsers: &[Parser {
        name: "passthrough",
        tools: false,
        thinking: false,
        tags: None,
        ..PARSER
    }],
};

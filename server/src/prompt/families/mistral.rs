//! Mistral's models: their prompts come from templates, their answers from this parser.

use super::{Family, PARSER, Parser};
use crate::prompt::ToolFormat;

pub(super) const FAMILY: Family = Family {
    renderers: &[],
    parsers: &[Parser {
        name: "ministral",
        // Those that think say so in their template.
        thinking: false,
        tags: Some(("[THINK]", "[/THINK]")),
        calls: Some(ToolFormat::Mistral),
        reopens: true,
        ..PARSER
    }],
};

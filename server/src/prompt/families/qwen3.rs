//! Qwen 3: its prompts come from templates, its answers from these parsers.

use super::{Family, PARSER, Parser};
use crate::prompt::ToolFormat;

pub(super) const FAMILY: Family = Family {
    renderers: &[],
    parsers: &[
        Parser {
            name: "qwen3",
            thinking: false,
            tags: None,
            calls: Some(ToolFormat::Hermes),
            ..PARSER
        },
        Parser {
            name: "qwen3-thinking",
            calls: Some(ToolFormat::Hermes),
            ..PARSER
        },
    ],
};

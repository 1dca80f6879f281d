//! How calls are written in each format, for those who make a model write some.

use super::ToolFormat;

/// What stands where in an answer that calls tools.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallSyntax {
    /// Before all calls.
    pub before: &'static str,
    /// Before the name of a tool.
    pub open: &'static str,
    /// Between the name and the arguments.
    pub middle: &'static str,
    /// How arguments are written.
    pub arguments: Arguments,
    /// After the arguments.
    pub close: &'static str,
    /// Between two calls; none if the format has room for one call only.
    pub separator: Option<&'static str>,
    /// After all calls.
    pub after: &'static str,
}

/// How arguments are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arguments {
    /// As a JSON object.
    Json,
    /// In a notation of the family's own.
    Own,
}

impl ToolFormat {
    /// How its calls are written.
    #[must_use]
    pub fn call_syntax(self) -> CallSyntax {
        const NAMED: CallSyntax = CallSyntax {
            before: "",
            open: "{\"name\": \"",
            middle: "\", \"arguments\": ",
            arguments: Arguments::Json,
            close: "}",
            separator: Some(", "),
            after: "",
        };
        const OWN: CallSyntax = CallSyntax {
            arguments: Arguments::Own,
            separator: Some("\n"),
            ..NAMED
        };
        match self {
            Self::Hermes => CallSyntax {
                open: "<tool_call>\n{\"name\": \"",
                close: "}\n</tool_call>",
                separator: Some("\n"),
                ..NAMED
            },
            Self::Llama => CallSyntax {
                middle: "\", \"parameters\": ",
                separator: None,
                ..NAMED
            },
            Self::Mistral => CallSyntax {
                before: "[TOOL_CALLS][",
                after: "]",
                ..NAMED
            },
            Self::Bare => CallSyntax {
                separator: None,
                ..NAMED
            },
            Self::QwenCoder => CallSyntax {
                open: "<tool_call>\n<function=",
                middle: ">\n",
                close: "</function>\n</tool_call>",
                ..OWN
            },
            Self::Invoke => CallSyntax {
                before: "<minimax:tool_call>\n",
                open: "<invoke name=\"",
                middle: "\">\n",
                close: "</invoke>",
                after: "\n</minimax:tool_call>",
                ..OWN
            },
            Self::Glm => CallSyntax {
                open: "<tool_call>",
                middle: "\n",
                close: "</tool_call>",
                ..OWN
            },
            Self::DeepSeek => CallSyntax {
                before: "<｜tool▁calls▁begin｜>",
                open: "<｜tool▁call▁begin｜>",
                middle: "<｜tool▁sep｜>",
                close: "<｜tool▁call▁end｜>",
                separator: Some(""),
                after: "<｜tool▁calls▁end｜>",
                ..NAMED
            },
            Self::Kimi => CallSyntax {
                before: "<|tool_calls_section_begin|>",
                open: "<|tool_call_begin|>functions.",
                middle: ":0<|tool_call_argument_begin|>",
                close: "<|tool_call_end|>",
                separator: None,
                after: "<|tool_calls_section_end|>",
                ..NAMED
            },
            Self::Cohere => CallSyntax {
                before: "<|START_ACTION|>[\n    ",
                open: "{\"tool_call_id\": \"0\", \"tool_name\": \"",
                middle: "\", \"parameters\": ",
                separator: Some(",\n    "),
                after: "\n]<|END_ACTION|>",
                ..NAMED
            },
            Self::FunctionGemma => CallSyntax {
                open: "<start_function_call>call:",
                middle: "{",
                close: "}<end_function_call>",
                separator: Some(""),
                ..OWN
            },
            Self::Gemma4 => CallSyntax {
                open: "<|tool_call>call:",
                middle: "{",
                close: "}<tool_call|>",
                separator: Some(""),
                ..OWN
            },
            Self::Lfm2 => CallSyntax {
                before: "<|tool_call_start|>[",
                open: "",
                middle: "(",
                close: ")",
                separator: Some(", "),
                after: "]<|tool_call_end|>",
                ..OWN
            },
            Self::Olmo3 => CallSyntax {
                before: "<function_calls>",
                open: "",
                middle: "(",
                close: ")",
                after: "</function_calls>",
                ..OWN
            },
            Self::Granite => CallSyntax {
                before: "<|tool_call|>[",
                after: "]",
                ..NAMED
            },
            Self::Functools => CallSyntax {
                before: "functools[",
                after: "]",
                ..NAMED
            },
            Self::Listed => CallSyntax {
                before: "<tool_calls>[",
                after: "]</tool_calls>",
                ..NAMED
            },
            Self::Toolcall => CallSyntax {
                before: "<TOOLCALL>[",
                after: "]</TOOLCALL>",
                ..NAMED
            },
            Self::Harmony => CallSyntax {
                open: "<|channel|>commentary to=functions.",
                middle: " <|constrain|>json<|message|>",
                close: "",
                separator: None,
                ..NAMED
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::prompt::{Expectations, OutputParser, Part, Think, Tool, Traits};

    /// What is written by the description is read by the parser, for every format.
    #[test]
    fn what_is_described_can_be_read() {
        let tool = Tool {
            name: "add".into(),
            description: String::new(),
            parameters: json!({"type": "object", "properties": {"a": {"type": "integer"}}}),
        };
        for format in ToolFormat::ALL {
            let syntax = format.call_syntax();
            let arguments = match (syntax.arguments, format) {
                (Arguments::Json, _) => "{\"a\": 1}",
                (Arguments::Own, ToolFormat::QwenCoder) => "<parameter=a>\n1\n</parameter>\n",
                (Arguments::Own, ToolFormat::Invoke) => "<parameter name=\"a\">1</parameter>\n",
                (Arguments::Own, ToolFormat::Glm) => {
                    "<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n"
                }
                (Arguments::Own, ToolFormat::FunctionGemma | ToolFormat::Gemma4) => "a:1",
                (Arguments::Own, _) => "a=1",
            };
            let call = [syntax.open, "add", syntax.middle, arguments, syntax.close].concat();
            let calls = match syntax.separator {
                Some(separator) => format!("{call}{separator}{call}"),
                None => call,
            };
            let answer = [syntax.before, &calls, syntax.after].concat();
            let traits = Traits {
                tools: Some(format),
                ..Traits::default()
            };
            let mut parser = OutputParser::new(Expectations {
                traits: &traits,
                prompt_end: "<|start|>assistant",
                think: Think::Unset,
                tools: std::slice::from_ref(&tool),
            });
            let mut parts = parser.push(&answer);
            parts.extend(parser.finish());
            let expected = 1 + usize::from(syntax.separator.is_some());
            assert_eq!(parts.len(), expected, "{format:?}: {parts:?}");
            for part in parts {
                let Part::ToolCall(call) = part else {
                    panic!("{format:?}: {part:?}");
                };
                assert_eq!(
                    (call.name.as_str(), call.arguments),
                    ("add", json!({"a": 1}))
                );
            }
        }
    }
}

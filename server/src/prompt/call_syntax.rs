//! How calls are written in each format, for those who make a model write some, or hold it to what it writes.

use super::ToolFormat;
use super::families::harmony;

/// What stands where in an answer that calls tools.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallSyntax<'a> {
    /// Before all calls.
    pub before: &'a str,
    /// Before the name of a tool.
    pub open: &'a str,
    /// Between the name and the arguments.
    pub middle: &'a str,
    /// How arguments are written.
    pub arguments: Arguments,
    /// After the arguments.
    pub close: &'a str,
    /// Between two calls; none if the format has room for one call only.
    pub separator: Option<&'a str>,
    /// After all calls.
    pub after: &'a str,
}

/// A text with which calls begin, and nothing else that a model says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallOpening {
    /// The text.
    pub mark: &'static str,
    /// What may follow it: calls, and nothing that belongs to the mark. Whitespace in it stands for any whitespace or
    /// none, and a number for any number.
    pub ways: &'static [CallSyntax<'static>],
    /// What ends the call, where arguments are in a notation of the family's own.
    pub close: Option<&'static str>,
    /// Nothing follows a call.
    pub is_last: bool,
}

/// How arguments are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arguments {
    /// As a JSON object.
    Json,
    /// In a notation of the family's own.
    Own,
}

/// JSON with a name in it, several of them one after the other.
const NAMED: CallSyntax<'static> = CallSyntax {
    before: "",
    open: "{\"name\": \"",
    middle: "\", \"arguments\": ",
    arguments: Arguments::Json,
    close: "}",
    separator: Some(", "),
    after: "",
};

/// A list of such.
const LIST: CallSyntax<'static> = CallSyntax {
    before: "[",
    after: "]",
    ..NAMED
};

/// A name, and then whatever the family writes.
const OWN: CallSyntax<'static> = CallSyntax {
    arguments: Arguments::Own,
    separator: Some("\n"),
    ..NAMED
};

/// A single call that a mark has opened.
const SINGLE: CallSyntax<'static> = CallSyntax {
    separator: None,
    ..NAMED
};

/// The name alone that a mark has opened.
const NAME: CallSyntax<'static> = CallSyntax {
    open: "",
    middle: "",
    close: "",
    separator: None,
    arguments: Arguments::Own,
    ..NAMED
};

/// The name and JSON that a mark has opened.
const NAME_AND_JSON: CallSyntax<'static> = CallSyntax {
    arguments: Arguments::Json,
    ..NAME
};

const OPENING: CallOpening = CallOpening {
    mark: "",
    ways: &[],
    close: None,
    is_last: false,
};

impl ToolFormat {
    /// How its calls are written.
    #[must_use]
    pub fn call_syntax(self) -> CallSyntax<'static> {
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
            Self::Glimmer => CallSyntax {
                open: " to=user<|message|><atem:function_calls>\n<atem:invoke name=\"",
                middle: "\">\n",
                close: "</atem:invoke>\n</atem:function_calls>",
                separator: None,
                ..OWN
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
    /// What a model may write for the name of a tool.
    #[must_use]
    pub fn call_names(self, name: &str) -> Vec<String> {
        let mut names = vec![name.to_owned()];
        if self == Self::Harmony {
            names.push(harmony::identifier(name));
            names.dedup();
        }
        names
    }

    /// The texts with which its calls begin; none where a call looks like any other text until it is over.
    #[must_use]
    pub fn call_openings(self) -> &'static [CallOpening] {
        match self {
            // Glimmer names the tool in a header too, before anything that only a call has.
            Self::Llama | Self::Bare | Self::Glimmer => &[],
            Self::Hermes => &[CallOpening {
                mark: "<tool_call>",
                ways: &[CallSyntax {
                    close: "}\n</tool_call>",
                    ..SINGLE
                }],
                ..OPENING
            }],
            Self::Mistral => &[CallOpening {
                mark: "[TOOL_CALLS]",
                ways: &[
                    LIST,
                    CallSyntax {
                        middle: "[ARGS]",
                        ..NAME_AND_JSON
                    },
                    NAME_AND_JSON,
                ],
                ..OPENING
            }],
            Self::QwenCoder => &[CallOpening {
                mark: "<function=",
                ways: &[CallSyntax {
                    middle: ">",
                    ..NAME
                }],
                close: Some("</function>"),
                ..OPENING
            }],
            Self::Invoke => &[
                CallOpening {
                    mark: "<invoke name=\"",
                    ways: &[CallSyntax {
                        middle: "\"",
                        ..NAME
                    }],
                    close: Some("</invoke>"),
                    ..OPENING
                },
                CallOpening {
                    mark: "<｜DSML｜invoke name=\"",
                    ways: &[CallSyntax {
                        middle: "\"",
                        ..NAME
                    }],
                    close: Some("</｜DSML｜invoke>"),
                    ..OPENING
                },
            ],
            Self::Glm => &[CallOpening {
                mark: "<tool_call>",
                ways: &[
                    CallSyntax {
                        middle: "\n<arg_key>",
                        ..NAME
                    },
                    CallSyntax {
                        middle: "\n</tool_call>",
                        ..NAME
                    },
                ],
                close: Some("</tool_call>"),
                ..OPENING
            }],
            Self::DeepSeek => &[CallOpening {
                mark: "<｜tool▁call▁begin｜>",
                ways: &[
                    CallSyntax {
                        middle: "<｜tool▁sep｜>",
                        close: "\n<｜tool▁call▁end｜>",
                        ..NAME_AND_JSON
                    },
                    CallSyntax {
                        open: "function<｜tool▁sep｜>",
                        middle: "\n```json\n",
                        close: "\n```\n<｜tool▁call▁end｜>",
                        ..NAME_AND_JSON
                    },
                ],
                ..OPENING
            }],
            Self::Kimi => &[CallOpening {
                mark: "<|tool_call_begin|>",
                ways: &[CallSyntax {
                    open: "functions.",
                    middle: ":0 <|tool_call_argument_begin|> ",
                    close: " <|tool_call_end|>",
                    ..NAME_AND_JSON
                }],
                ..OPENING
            }],
            Self::Cohere => &[CallOpening {
                mark: "<|START_ACTION|>",
                ways: &[CallSyntax {
                    before: "[ ",
                    open: "{ \"tool_call_id\": \"0\", \"tool_name\": \"",
                    middle: "\", \"parameters\": ",
                    close: " }",
                    separator: Some(" , "),
                    after: " ] <|END_ACTION|>",
                    ..NAMED
                }],
                ..OPENING
            }],
            Self::FunctionGemma => &[CallOpening {
                mark: "<start_function_call>",
                ways: &[CallSyntax {
                    open: "call:",
                    middle: "{",
                    ..NAME
                }],
                close: Some("<end_function_call>"),
                ..OPENING
            }],
            Self::Gemma4 => &[CallOpening {
                mark: "<|tool_call>",
                ways: &[CallSyntax {
                    open: "call:",
                    middle: "{",
                    ..NAME
                }],
                close: Some("<tool_call|>"),
                ..OPENING
            }],
            Self::Lfm2 => &[CallOpening {
                mark: "<|tool_call_start|>",
                ways: &[CallSyntax {
                    open: "[",
                    middle: "(",
                    ..NAME
                }],
                close: Some("<|tool_call_end|>"),
                ..OPENING
            }],
            Self::Olmo3 => &[CallOpening {
                mark: "<function_calls>",
                ways: &[CallSyntax {
                    middle: "(",
                    ..NAME
                }],
                close: Some("</function_calls>"),
                ..OPENING
            }],
            Self::Granite => &[
                CallOpening {
                    mark: "<|tool_call|>",
                    ways: &[LIST, SINGLE],
                    ..OPENING
                },
                CallOpening {
                    mark: "<tool_call>",
                    ways: &[LIST, SINGLE],
                    ..OPENING
                },
            ],
            Self::Functools => &[CallOpening {
                mark: "functools[",
                ways: &[CallSyntax {
                    after: "]",
                    ..NAMED
                }],
                ..OPENING
            }],
            Self::Listed => &[CallOpening {
                mark: "<tool_calls>",
                ways: &[
                    CallSyntax {
                        after: "]\n</tool_calls>",
                        ..LIST
                    },
                    CallSyntax {
                        separator: Some("\n"),
                        after: "\n</tool_calls>",
                        ..NAMED
                    },
                ],
                ..OPENING
            }],
            Self::Toolcall => &[CallOpening {
                mark: "<TOOLCALL>",
                ways: &[CallSyntax {
                    after: "]\n</TOOLCALL>",
                    ..LIST
                }],
                ..OPENING
            }],
            Self::Harmony => &[
                CallOpening {
                    mark: "<|channel|>commentary to=functions.",
                    ways: &[
                        CallSyntax {
                            middle: " <|constrain|>json<|message|>",
                            ..NAME_AND_JSON
                        },
                        CallSyntax {
                            middle: " json<|message|>",
                            ..NAME_AND_JSON
                        },
                        CallSyntax {
                            middle: "<|message|>",
                            ..NAME_AND_JSON
                        },
                    ],
                    is_last: true,
                    ..OPENING
                },
                CallOpening {
                    mark: "<|start|>assistant to=functions.",
                    ways: &[
                        CallSyntax {
                            middle: "<|channel|>commentary <|constrain|>json<|message|>",
                            ..NAME_AND_JSON
                        },
                        CallSyntax {
                            middle: "<|channel|>commentary json<|message|>",
                            ..NAME_AND_JSON
                        },
                    ],
                    is_last: true,
                    ..OPENING
                },
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::prompt::{Expectations, OutputParser, Part, Think, Tool, Traits};

    fn arguments(syntax: CallSyntax<'_>, format: ToolFormat) -> &'static str {
        match (syntax.arguments, format) {
            (Arguments::Json, _) => "{\"a\": 1}",
            (Arguments::Own, ToolFormat::QwenCoder) => "<parameter=a>\n1\n</parameter>\n",
            (Arguments::Own, ToolFormat::Glimmer) => {
                "<atem:parameter name=\"a\">1</atem:parameter>\n"
            }
            (Arguments::Own, ToolFormat::Invoke) => "<parameter name=\"a\">1</parameter>\n",
            (Arguments::Own, ToolFormat::Glm) => "<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n",
            (Arguments::Own, ToolFormat::FunctionGemma | ToolFormat::Gemma4) => "a:1",
            (Arguments::Own, _) => "a=1",
        }
    }

    fn add() -> Tool {
        Tool {
            name: "add".into(),
            description: String::new(),
            parameters: json!({"type": "object", "properties": {"a": {"type": "integer"}}}),
        }
    }

    fn read(format: ToolFormat, tool: &Tool, answer: &str) -> Vec<Part> {
        let traits = Traits {
            tools: Some(format),
            ..Traits::default()
        };
        let mut parser = OutputParser::new(Expectations {
            traits: &traits,
            prompt_end: "<|start|>assistant",
            think: Think::Unset,
            tools: std::slice::from_ref(tool),
        });
        let mut parts = parser.push(answer);
        parts.extend(parser.finish());
        parts
    }

    /// What a call may look like behind its mark is read by the parser, in each of its ways.
    #[test]
    fn what_is_held_to_a_way_of_calling_can_be_read() {
        let tool = add();
        for format in ToolFormat::ALL {
            for opening in format.call_openings() {
                for way in opening.ways {
                    let json = match way.arguments {
                        Arguments::Json => "{\"a\": 1}",
                        Arguments::Own => "",
                    };
                    let call = [way.open, "add", way.middle, json, way.close].concat();
                    let calls = match way.separator {
                        Some(separator) => format!("{call}{separator}{call}"),
                        None => call,
                    };
                    // In a notation of its own this one has no arguments, or the parser would have to see all of them.
                    let close = match (format, opening.close) {
                        (_, Some(close)) if calls.ends_with(close) => "",
                        (ToolFormat::Glm, _) => "a</arg_key><arg_value>1</arg_value></tool_call>",
                        (ToolFormat::Invoke, Some(close)) => &format!(">{close}"),
                        (ToolFormat::FunctionGemma | ToolFormat::Gemma4, Some(close)) => {
                            &format!("}}{close}")
                        }
                        (ToolFormat::Lfm2, Some(close)) => &format!(")]{close}"),
                        (ToolFormat::Olmo3, Some(close)) => &format!("){close}"),
                        (_, close) => close.unwrap_or_default(),
                    };
                    let answer = [opening.mark, way.before, &calls, way.after, close].concat();
                    let parts = read(format, &tool, &answer);
                    let expected = 1 + usize::from(way.separator.is_some());
                    assert_eq!(parts.len(), expected, "{format:?}: {answer} is {parts:?}");
                    let is_call = |part: &Part| match part {
                        Part::ToolCall(call) => call.name == "add",
                        _ => false,
                    };
                    assert!(
                        parts.iter().all(is_call),
                        "{format:?}: {answer} is {parts:?}"
                    );
                }
            }
        }
    }

    /// What is written by the description is read by the parser, for every format.
    #[test]
    fn what_is_described_can_be_read() {
        let tool = add();
        for format in ToolFormat::ALL {
            let syntax = format.call_syntax();
            let arguments = arguments(syntax, format);
            let call = [syntax.open, "add", syntax.middle, arguments, syntax.close].concat();
            let calls = match syntax.separator {
                Some(separator) => format!("{call}{separator}{call}"),
                None => call,
            };
            let answer = [syntax.before, &calls, syntax.after].concat();
            let parts = read(format, &tool, &answer);
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

//! What the text of a template tells of its model: what it can do and how it writes it down.

use super::families::{cohere, deepseek, glimmer, harmony};
use super::go;

/// What a model can do, judged by its template alone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Capabilities {
    /// It can be given tools.
    pub tools: bool,
    /// It can think aloud.
    pub thinking: bool,
    /// It can be asked for what stands between two texts.
    pub insert: bool,
}

/// How a model marks the parts of its answers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Traits {
    /// What surrounds its thinking; none if it does not think.
    pub thinking: Option<Tags>,
    /// How it writes tool calls; none if it cannot be given tools.
    pub tools: Option<ToolFormat>,
    /// What it writes in front of tool calls, where that is all that is known of them: in any JSON behind it, what names
    /// a tool that was offered is a call.
    pub call_prefix: Option<CallPrefix>,
    /// They are those of a parser that the model names: its marks are certain, so calls are read even where no tools
    /// were offered, and whitespace next to marks is dropped.
    pub is_named: bool,
    /// Thinking may begin again after content.
    pub reopens_thinking: bool,
    /// What a model thinks that was told not to is dropped instead of being content.
    pub drops_unwanted_thinking: bool,
}

/// What a model writes in front of tool calls.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallPrefix {
    /// The text; only a bracket if calls have no mark.
    pub text: String,
    /// The key of the arguments, if a call is an object that has its tool's name under `name`.
    pub arguments: Option<&'static str>,
}

/// The text before and after a part of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tags {
    /// Before it.
    pub open: String,
    /// After it.
    pub close: String,
}

/// A way of writing tool calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ToolFormat {
    /// `<tool_call>{"name": …, "arguments": {…}}</tool_call>`: Hermes, Qwen 2.5, Qwen 3.
    Hermes,
    /// `{"name": …, "parameters": {…}}`, with or without `<|python_tag|>` before it: Llama 3.
    Llama,
    /// `[TOOL_CALLS][{"name": …, "arguments": {…}}]` or `[TOOL_CALLS]name[ARGS]{…}`: Mistral.
    Mistral,
    /// An answer that is nothing but JSON and names a tool that was offered.
    Bare,
    /// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`: Qwen 3 Coder, Qwen 3.5,
    /// Nemotron 3.
    QwenCoder,
    /// `<minimax:tool_call><invoke name="name"><parameter name="key">value</parameter></invoke></minimax:tool_call>`:
    /// MiniMax M2; with other names of the outermost element DeepSeek V3.2.
    Invoke,
    /// `<tool_call>name<arg_key>key</arg_key><arg_value>value</arg_value></tool_call>`: GLM 4.5 and later, Laguna.
    Glm,
    /// `<｜tool▁call▁begin｜>name<｜tool▁sep｜>{…}<｜tool▁call▁end｜>`: DeepSeek V3 and R1, Cogito.
    DeepSeek,
    /// `<|tool_call_begin|>functions.name:0<|tool_call_argument_begin|>{…}<|tool_call_end|>`: Kimi K2.
    Kimi,
    /// `<|START_ACTION|>[{"tool_name": …, "parameters": {…}}]<|END_ACTION|>`: Command R7B and later.
    Cohere,
    /// `<start_function_call>call:name{key:<escape>text<escape>}<end_function_call>`: FunctionGemma.
    FunctionGemma,
    /// `<|tool_call>call:name{key:<|"|>text<|"|>}<tool_call|>`: Gemma 4.
    Gemma4,
    /// `<|tool_call_start|>[name(key="value")]<|tool_call_end|>`: LFM2.
    Lfm2,
    /// `<function_calls>name(key="value")</function_calls>`: Olmo 3.
    Olmo3,
    /// `<|tool_call|>[{"name": …, "arguments": {…}}]`: Granite 3, Phi 4 mini.
    Granite,
    /// `functools[{"name": …, "arguments": {…}}]`: Phi 4, Firefunction.
    Functools,
    /// `<tool_calls>[{"name": …, "arguments": {…}}]</tool_calls>`: Apriel; one call a line: MiniMax M1.
    Listed,
    /// `<TOOLCALL>[{"name": …, "arguments": {…}}]</TOOLCALL>`: Nemotron Nano 2.
    Toolcall,
    /// `<|channel|>commentary to=functions.name <|constrain|>json<|message|>{…}`: gpt-oss. The whole answer consists of
    /// such messages.
    Harmony,
    /// ` to=name<|message|><atem:function_calls><atem:invoke name="name">…</atem:invoke></atem:function_calls>`: Glimmer, whose
    /// answers consist of messages too.
    Glimmer,
}

impl ToolFormat {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Hermes,
        Self::Llama,
        Self::Mistral,
        Self::Bare,
        Self::QwenCoder,
        Self::Invoke,
        Self::Glm,
        Self::DeepSeek,
        Self::Kimi,
        Self::Cohere,
        Self::FunctionGemma,
        Self::Gemma4,
        Self::Lfm2,
        Self::Olmo3,
        Self::Granite,
        Self::Functools,
        Self::Listed,
        Self::Toolcall,
        Self::Harmony,
        Self::Glimmer,
    ];

    /// The format that a template's text shows: of marks that several formats share, the more telling ones count first.
    #[must_use]
    pub fn of_template(template: &str) -> Self {
        const TELLING: &[(&str, ToolFormat)] = &[
            (harmony::ANSWER, ToolFormat::Harmony),
            (glimmer::CALLS, ToolFormat::Glimmer),
            ("[TOOL_CALLS]", ToolFormat::Mistral),
            ("<arg_key>", ToolFormat::Glm),
            ("<function=", ToolFormat::QwenCoder),
            ("<｜tool▁call▁begin｜>", ToolFormat::DeepSeek),
            ("<|tool_call_argument_begin|>", ToolFormat::Kimi),
            ("<invoke name=", ToolFormat::Invoke),
            ("<|START_ACTION|>", ToolFormat::Cohere),
            ("<start_function_call>", ToolFormat::FunctionGemma),
            ("<|tool_call>", ToolFormat::Gemma4),
            ("<|tool_call_start|>", ToolFormat::Lfm2),
            ("<|tool_list_start|>", ToolFormat::Lfm2),
            ("<function_calls>", ToolFormat::Olmo3),
            ("<|tool_call|>", ToolFormat::Granite),
            ("functools[", ToolFormat::Functools),
            ("<TOOLCALL>", ToolFormat::Toolcall),
            ("<tool_calls>", ToolFormat::Listed),
            ("<tool_call>", ToolFormat::Hermes),
            ("<|python_tag|>", ToolFormat::Llama),
            ("<|start_header_id|>", ToolFormat::Llama),
        ];
        let found = TELLING.iter().find(|(mark, _)| template.contains(mark));
        found.map_or(Self::Bare, |(_, format)| *format)
    }

    /// The marks that calls are written with, which may be control tokens of the model.
    #[must_use]
    pub fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Hermes | Self::QwenCoder => &["<tool_call>", "</tool_call>"],
            Self::Llama => &["<|python_tag|>"],
            Self::Mistral => &["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"],
            Self::Bare | Self::Functools => &[],
            Self::Invoke => &["<minimax:tool_call>", "</minimax:tool_call>", "｜DSML｜"],
            Self::Kimi => &[
                "<|tool_calls_section_begin|>",
                "<|tool_calls_section_end|>",
                "<|tool_call_begin|>",
                "<|tool_call_argument_begin|>",
                "<|tool_call_end|>",
            ],
            Self::Listed => &["<tool_calls>", "</tool_calls>"],
            Self::Toolcall => &["<TOOLCALL>", "</TOOLCALL>"],
            Self::Glm => &[
                "<tool_call>",
                "</tool_call>",
                "<arg_key>",
                "</arg_key>",
                "<arg_value>",
                "</arg_value>",
            ],
            Self::DeepSeek => &deepseek::ALL_MARKS,
            Self::Cohere => &cohere::MARKS,
            Self::FunctionGemma => &["<start_function_call>", "<end_function_call>", "<escape>"],
            Self::Gemma4 => &["<|tool_call>", "<tool_call|>", "<|tool_response>", "<|\"|>"],
            Self::Lfm2 => &["<|tool_call_start|>", "<|tool_call_end|>"],
            Self::Olmo3 => &["<function_calls>", "</function_calls>"],
            Self::Harmony => &harmony::MARKS,
            Self::Glimmer => &glimmer::MARKS,
            Self::Granite => &[
                "<|tool_call|>",
                "<|/tool_call|>",
                "<tool_call>",
                "</tool_call>",
            ],
        }
    }
}

/// The pieces of a text that may be names of control tokens: those in brackets.
fn bracketed(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(['<', '['])
        .filter_map(|(start, bracket)| {
            let close = if bracket == "<" { '>' } else { ']' };
            let end = text[start..].find(close)?;
            Some(&text[start..=start + end])
        })
}

/// Judges a Jinja template by the words in it, as Ollama does (`server/images.go`).
#[must_use]
pub fn capabilities(template: &str) -> Capabilities {
    let has = |word: &str| template.contains(word);
    // Templates that only take old thoughts out of the history show that the model has them.
    let cuts_thoughts = (has("content.split('</think>')") || has("content.split(\"</think>\")"))
        && !has("reasoning_content")
        && !has("<SPECIAL_12>");
    Capabilities {
        tools: has("tools") || has("tool_call"),
        thinking: has("<think>") && has("</think>") || cuts_thoughts,
        insert: false,
    }
}

/// Marks of thoughts other than `<think>`: what shows them in a template's text, and the marks.
const OTHER_TAGS: &[(&str, &str, &str)] = &[
    ("<|channel>thought", "<|channel>thought", "<channel|>"),
    (
        "<|START_THINKING|>",
        "<|START_THINKING|>",
        "<|END_THINKING|>",
    ),
    ("[THINK]", "[THINK]", "[/THINK]"),
    ("<seed:think>", "<seed:think>", "</seed:think>"),
    ("<mm:think>", "<mm:think>", "</mm:think>"),
    ("<thinking>", "<thinking>", "</thinking>"),
];

fn thinking_tags(template: &str, capabilities: Capabilities) -> Option<Tags> {
    let tags = |open: &str, close: &str| Tags {
        open: open.into(),
        close: close.into(),
    };
    let mut others = OTHER_TAGS.iter();
    if let Some((_, open, close)) =
        others.find(|(shown, _, close)| template.contains(shown) && template.contains(close))
    {
        return Some(tags(open, close));
    }
    capabilities.thinking.then(|| tags("<think>", "</think>"))
}

impl Traits {
    /// Names of control tokens that have to arrive as text for the answer to be read.
    #[must_use]
    pub fn marks(&self) -> Vec<String> {
        let tags = self.thinking.iter();
        // What follows the mark within a tag, as the name of a channel, is ordinary text.
        let tags = tags.flat_map(|tags| [&tags.open, &tags.close]).map(|tag| {
            let end = tag.find(['>', ']']).map_or(tag.len(), |end| end + 1);
            tag[..end].to_owned()
        });
        let format = self.tools.map_or(&[][..], ToolFormat::marks);
        let prefix = self.call_prefix.iter();
        let prefix = prefix.flat_map(|prefix| bracketed(&prefix.text));
        tags.chain(format.iter().map(ToString::to_string))
            .chain(prefix.map(str::to_owned))
            .collect()
    }

    /// What stands before an answer, after the name of the speaker.
    #[must_use]
    pub fn answer_prefix(&self) -> &'static str {
        match self.tools {
            Some(ToolFormat::Harmony) => harmony::ANSWER,
            Some(ToolFormat::Glimmer) => glimmer::ANSWER,
            _ => "",
        }
    }

    /// The header with which an answer to this prompt begins, where answers consist of messages; none if the prompt has
    /// begun the answer.
    #[must_use]
    pub fn answer_header(&self, prompt_end: &str) -> Option<&'static str> {
        let header = Some(self.answer_prefix()).filter(|header| !header.is_empty())?;
        (!harmony::last_message(prompt_end).contains(header)).then_some(header)
    }

    /// What surrounds the thoughts before an answer; none if the model does not think. Of an answer that consists of
    /// messages the header of the next one is begun behind them, up to [`Traits::answer_prefix`].
    #[must_use]
    pub fn thoughts(&self) -> Option<(&str, &str)> {
        match self.tools {
            Some(ToolFormat::Harmony) => Some((harmony::THOUGHT, harmony::NEXT)),
            Some(ToolFormat::Glimmer) => Some((glimmer::THOUGHT, glimmer::NEXT)),
            _ => {
                let tags = self.thinking.as_ref()?;
                Some((&tags.open, &tags.close))
            }
        }
    }

    /// Reads the marks off a Go template. Tool calls are read whether or not it has a place for tools: Ollama's own rule.
    pub(super) fn of_go(template: &go::Template) -> Self {
        Self {
            thinking: template.thinking_tags(),
            call_prefix: Some(CallPrefix {
                text: template.tool_prefix(),
                arguments: template.arguments_key(),
            }),
            ..Self::default()
        }
    }

    /// Reads the marks off a Jinja template.
    #[must_use]
    pub fn of_jinja(template: &str) -> Self {
        let capabilities = capabilities(template);
        let format = ToolFormat::of_template(template);
        if format == ToolFormat::Harmony {
            return harmony::traits();
        }
        if format == ToolFormat::Glimmer {
            return glimmer::traits();
        }
        Self {
            thinking: thinking_tags(template, capabilities),
            tools: capabilities.tools.then_some(format),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::families;

    #[test]
    fn capabilities_follow_the_words_of_the_template() {
        let check = |template: &str, tools, thinking| {
            assert_eq!(
                capabilities(template),
                Capabilities {
                    tools,
                    thinking,
                    insert: false,
                },
                "{template}"
            );
        };
        check("", false, false);
        check("{{ messages[0].content }}", false, false);
        check("{% if tools %}{% endif %}", true, false);
        check("{{ message.tool_call_id }}", true, false);
        check("<think>\n</think>", false, true);
        check("<think>", false, false);
        check("{{ content.split('</think>')[-1] }}", false, true);
        check("{{ content.split(\"</think>\")[-1] }}", false, true);
        check(
            "{{ content.split('</think>')[-1] }}{{ message.reasoning_content }}",
            false,
            false,
        );
    }

    #[test]
    fn the_tool_format_follows_the_marks_of_the_template() {
        let check = |template: &str, expected| {
            assert_eq!(Traits::of_jinja(template).tools, expected, "{template}");
        };
        check("{{ tools }}[TOOL_CALLS]", Some(ToolFormat::Mistral));
        check("{{ tools }}<tool_call>", Some(ToolFormat::Hermes));
        check("{{ tools }}<|python_tag|>", Some(ToolFormat::Llama));
        check("<|start_header_id|>{{ tools }}", Some(ToolFormat::Llama));
        check(
            "{{ tools }}<tool_call>{{ name }}<arg_key>",
            Some(ToolFormat::Glm),
        );
        check(
            "{{ tools }}<tool_call><function=",
            Some(ToolFormat::QwenCoder),
        );
        check(
            "{{ tools }}<｜tool▁call▁begin｜>",
            Some(ToolFormat::DeepSeek),
        );
        check("{{ tools }}<|START_ACTION|>", Some(ToolFormat::Cohere));
        check("{{ tools }}<|tool_call>", Some(ToolFormat::Gemma4));
        check("{{ tools }}<|tool_call_start|>", Some(ToolFormat::Lfm2));
        check("{{ tools }}<function_calls>", Some(ToolFormat::Olmo3));
        check("{{ tools }}<|tool_call|>", Some(ToolFormat::Granite));
        check("{{ tools }} functools[", Some(ToolFormat::Functools));
        check(
            "{{ tools }}<|tool_call_argument_begin|>",
            Some(ToolFormat::Kimi),
        );
        check("{{ tools }}<invoke name=\"", Some(ToolFormat::Invoke));
        check("{{ tools }}<tool_calls>", Some(ToolFormat::Listed));
        check("{{ tools }}<TOOLCALL>", Some(ToolFormat::Toolcall));
        check("{{ tools }}", Some(ToolFormat::Bare));
        check("<|start_header_id|>", None);
    }

    #[test]
    fn thoughts_have_the_marks_that_the_template_shows() {
        let check = |template: &str, expected: Option<(&str, &str)>| {
            let tags = Traits::of_jinja(template).thinking;
            let tags = tags
                .as_ref()
                .map(|tags| (tags.open.as_str(), tags.close.as_str()));
            assert_eq!(tags, expected, "{template}");
        };
        check("<think></think>", Some(("<think>", "</think>")));
        check("[THINK]x[/THINK]", Some(("[THINK]", "[/THINK]")));
        check(
            "<|START_THINKING|><|END_THINKING|>",
            Some(("<|START_THINKING|>", "<|END_THINKING|>")),
        );
        check(
            "<|channel>thought<channel|>",
            Some(("<|channel>thought", "<channel|>")),
        );
        check(
            "<seed:think></seed:think>",
            Some(("<seed:think>", "</seed:think>")),
        );
        check("[THINK]", None);
        check("thinking", None);
    }

    #[test]
    fn marks_are_names_of_tokens() {
        let gemma = families::parser("gemma4").unwrap().traits();
        assert_eq!(
            gemma.marks(),
            [
                "<|channel>",
                "<channel|>",
                "<|tool_call>",
                "<tool_call|>",
                "<|tool_response>",
                "<|\"|>"
            ]
        );
        assert_eq!(Traits::of_jinja("{{ tools }}").marks(), [""; 0]);
        let mistral =
            "{{ if .ToolCalls }}[TOOL_CALLS] [{{ range .ToolCalls }}{{ . }}{{ end }}]{{ end }}";
        let mistral = go::Template::parse(mistral).unwrap();
        assert_eq!(Traits::of_go(&mistral).marks(), ["[TOOL_CALLS]"]);
    }
}

//! What the text of a template tells of its model: what it can do and how it writes it down.

/// What a model can do, judged by its Jinja template alone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Capabilities {
    /// It can be given tools.
    pub tools: bool,
    /// It can think aloud.
    pub thinking: bool,
}

/// How a model marks the parts of its answers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Traits {
    /// What surrounds its thinking; none if it does not think.
    pub thinking: Option<Tags>,
    /// How it writes tool calls; none if it cannot be given tools.
    pub tools: Option<ToolFormat>,
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
    }
}

impl Traits {
    /// Reads the marks off a Jinja template.
    #[must_use]
    pub fn of_jinja(template: &str) -> Self {
        let has = |word: &str| template.contains(word);
        let capabilities = capabilities(template);
        let format = if has("[TOOL_CALLS]") {
            ToolFormat::Mistral
        } else if has("<tool_call>") {
            ToolFormat::Hermes
        } else if has("<|python_tag|>") || has("<|start_header_id|>") {
            ToolFormat::Llama
        } else {
            ToolFormat::Bare
        };
        Self {
            thinking: capabilities.thinking.then(|| Tags {
                open: "<think>".into(),
                close: "</think>".into(),
            }),
            tools: capabilities.tools.then_some(format),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_follow_the_words_of_the_template() {
        let check = |template: &str, tools, thinking| {
            assert_eq!(
                capabilities(template),
                Capabilities { tools, thinking },
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
        check("{{ tools }}", Some(ToolFormat::Bare));
        check("<|start_header_id|>", None);
    }
}

//! Which of the templates that a model brings is used, and what it lets the model do, by Ollama's rules
//! (`server/images.go`).

use super::{Capabilities, PromptError, Template, capabilities, go};

/// The templates that came with a model, as text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Brought<'a> {
    /// Of the weights' own file.
    pub jinja: Option<&'a str>,
    /// Of the layer beside it.
    pub go: Option<&'a str>,
    /// The model names a renderer or a parser of its own, which settles the matter.
    pub is_named: bool,
}

/// When Go templates are used (`OLLAMA_GO_TEMPLATE`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum GoTemplates {
    /// Where there is one, unless the Jinja template beside it can do more.
    #[default]
    Weighed,
    /// Wherever there is one.
    Always,
    /// Never.
    Never,
}

/// The template that is used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Chosen {
    /// None: the messages stand one after the other.
    #[default]
    Nothing,
    /// The Jinja template.
    Jinja,
    /// The Go template.
    Go,
}

impl Brought<'_> {
    /// The template that is used.
    #[must_use]
    pub fn chosen(&self, rule: GoTemplates) -> Chosen {
        let is_go = match rule {
            GoTemplates::Always => true,
            GoTemplates::Never => false,
            GoTemplates::Weighed => self.is_named || !self.jinja_can_more(),
        };
        match (self.go, self.jinja) {
            (Some(_), _) if is_go => Chosen::Go,
            (_, Some(_)) => Chosen::Jinja,
            _ => Chosen::Nothing,
        }
    }

    /// What the chosen template lets the model do. A template that is none lets it do nothing.
    #[must_use]
    pub fn capabilities(&self, rule: GoTemplates) -> Capabilities {
        match (self.chosen(rule), self.jinja, self.go) {
            (Chosen::Jinja, Some(jinja), _) => capabilities(jinja),
            (Chosen::Go, _, Some(go)) => go::Template::parse(go)
                .map(|template| of_go(&template))
                .unwrap_or_default(),
            _ => Capabilities::default(),
        }
    }

    /// The chosen template itself.
    ///
    /// # Errors
    /// When its text is no template.
    pub fn template(&self, rule: GoTemplates) -> Result<Template, PromptError> {
        match (self.chosen(rule), self.jinja, self.go) {
            (Chosen::Jinja, Some(jinja), _) => Template::jinja(jinja),
            (Chosen::Go, _, Some(go)) => Template::go(go),
            _ => Ok(Template::plain()),
        }
    }

    /// Whether the Jinja template is the better one of two: it lets the model do more, or takes calls and their replies
    /// back where the Go template forgets them.
    fn jinja_can_more(&self) -> bool {
        let (Some(jinja), Some(go)) = (self.jinja, self.go) else {
            return false;
        };
        // A template that does not parse is an error to be told, not one to be passed over.
        let Ok(go) = go::Template::parse(go) else {
            return false;
        };
        let (of_jinja, of_go) = (capabilities(jinja), of_go(&go));
        if count(of_jinja) > count(of_go) {
            !go.repeats_calls() || repeats_calls(jinja)
        } else {
            of_jinja == of_go && of_go.tools && repeats_calls(jinja) && !go.repeats_calls()
        }
    }
}

/// What a Go template lets a model do.
pub(super) fn of_go(template: &go::Template) -> Capabilities {
    Capabilities {
        tools: template.takes_tools(),
        thinking: template.thinking_tags().is_some(),
        insert: template.takes_suffix(),
    }
}

fn count(capabilities: Capabilities) -> usize {
    let Capabilities {
        tools,
        thinking,
        insert,
    } = capabilities;
    usize::from(tools) + usize::from(thinking) + usize::from(insert)
}

/// Whether a Jinja template has a place for the calls that were made and the replies to them.
fn repeats_calls(jinja: &str) -> bool {
    const REPLIES: &[&str] = &[
        "tool_response",
        "tool_results",
        "role'] == 'tool'",
        "role'] == \"tool\"",
        "role\"] == 'tool'",
        "role\"] == \"tool\"",
        "message.role == 'tool'",
        "message.role == \"tool\"",
        "ipython",
    ];
    let has = |mark: &&str| jinja.contains(*mark);
    ["tool_calls", "assistant_tool_call"].iter().any(has) && REPLIES.iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURNS: &str = "{{ range .Messages }}{{ .Role }}{{ .Content }}{{ end }}";
    const GO_TOOLS: &str = "{{ .Tools }}{{ range .Messages }}{{ .Content }}{{ end }}";
    const GO_ROUND_TRIP: &str = "{{ .Tools }}{{ range .Messages }}{{ .ToolCalls }}{{ if eq .Role \"tool\" }}{{ end }}{{ end }}";
    const JINJA_TOOLS: &str = "{{ tools }}{{ messages }}";
    const JINJA_ROUND_TRIP: &str = "{{ tools }}{{ message.tool_calls }}<tool_response>";

    fn check(jinja: &str, go: &str, expected: Chosen) {
        let given = |text: &'static str| (!text.is_empty()).then_some(text);
        let (jinja, go): (&'static str, &'static str) =
            (jinja.to_owned().leak(), go.to_owned().leak());
        let brought = Brought {
            jinja: given(jinja),
            go: given(go),
            is_named: false,
        };
        assert_eq!(
            brought.chosen(GoTemplates::Weighed),
            expected,
            "{jinja} {go}"
        );
    }

    #[test]
    fn the_go_template_is_used_unless_the_other_can_more() {
        check("", "", Chosen::Nothing);
        check("{{ messages }}", "", Chosen::Jinja);
        check("", TURNS, Chosen::Go);
        check("{{ messages }}", TURNS, Chosen::Go);
        check(JINJA_TOOLS, TURNS, Chosen::Jinja);
        check(JINJA_TOOLS, GO_TOOLS, Chosen::Go);
        check(JINJA_ROUND_TRIP, GO_TOOLS, Chosen::Jinja);
        check(JINJA_ROUND_TRIP, GO_ROUND_TRIP, Chosen::Go);
        let thinking = format!("{JINJA_TOOLS}<think></think>");
        check(&thinking, GO_TOOLS, Chosen::Jinja);
        check(&thinking, GO_ROUND_TRIP, Chosen::Go);
        check(
            &format!("{JINJA_ROUND_TRIP}{thinking}"),
            GO_ROUND_TRIP,
            Chosen::Jinja,
        );
        check("{{ messages }}", "{{ .Prompt ", Chosen::Go);
    }

    #[test]
    fn a_setting_or_a_name_settles_it() {
        let brought = Brought {
            jinja: Some(JINJA_TOOLS),
            go: Some(TURNS),
            is_named: false,
        };
        assert_eq!(brought.chosen(GoTemplates::Always), Chosen::Go);
        assert_eq!(brought.chosen(GoTemplates::Never), Chosen::Jinja);
        let named = Brought {
            is_named: true,
            ..brought
        };
        assert_eq!(named.chosen(GoTemplates::Weighed), Chosen::Go);
        assert!(brought.capabilities(GoTemplates::Weighed).tools);
        assert!(!brought.capabilities(GoTemplates::Always).tools);
    }

    #[test]
    fn go_templates_tell_what_they_let_a_model_do() {
        let check = |go: &str, tools, thinking, insert| {
            let brought = Brought {
                go: Some(go),
                ..Brought::default()
            };
            let expected = Capabilities {
                tools,
                thinking,
                insert,
            };
            assert_eq!(brought.capabilities(GoTemplates::Weighed), expected, "{go}");
        };
        check("{{ .Prompt }} .Tools {{ .ToolsX }}", false, false, false);
        check("{{ range $.Tools }}{{ end }}", true, false, false);
        check("{{ .Prompt }}{{ .Suffix }}", false, false, true);
        // The tags are looked for where messages are written, and nowhere else.
        check("<think>{{ .Thinking }}</think>", false, false, false);
        let thinks =
            "{{ range .Messages }}{{ if .Thinking }}<t>{{ .Thinking }}</t>{{ end }}{{ end }}";
        check(thinks, false, true, false);
        check("{{ .Tools ", false, false, false);
    }
}

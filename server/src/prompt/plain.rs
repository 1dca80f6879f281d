//! The prompt of a model that brings no template.

use super::Message;

/// What Ollama's `{{ .Prompt }}` comes to: what user and assistant said, without anything in between; neighbours of
/// the same role are joined by a blank line. System messages, tool replies and thinking have no place in it, and
/// neither has an assistant's message at the very end: the model is to write that one.
#[must_use]
pub(super) fn render(messages: &[Message]) -> String {
    let mut prompt = String::new();
    let mut before: Option<&str> = None;
    let end = messages
        .iter()
        .rposition(|message| message.role != "assistant")
        .map_or(0, |last| last + 1);
    for message in &messages[..end] {
        if matches!(message.role.as_str(), "user" | "assistant") {
            if before == Some(&message.role) {
                prompt.push_str("\n\n");
            }
            prompt.push_str(&message.content);
        }
        before = Some(&message.role);
    }
    prompt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(messages: &[(&str, &str)], expected: &str) {
        let messages: Vec<Message> = messages
            .iter()
            .map(|(role, content)| Message {
                role: (*role).into(),
                content: (*content).into(),
                ..Message::default()
            })
            .collect();
        assert_eq!(render(&messages), expected);
    }

    #[test]
    fn prints_the_turns_and_nothing_else() {
        check(&[("user", "Once upon a time")], "Once upon a time");
        check(&[("system", "Be brief."), ("user", "2+2=")], "2+2=");
        check(
            &[("user", "2+2="), ("assistant", "4\n"), ("user", "3+3=")],
            "2+2=4\n3+3=",
        );
        check(&[("user", "a"), ("user", "b")], "a\n\nb");
        check(&[("user", "a"), ("system", "s"), ("user", "b")], "ab");
        check(&[("user", "a"), ("assistant", "b")], "a");
        check(&[], "");
    }
}

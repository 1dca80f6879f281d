use std::{path::Path, time::Duration};

use serde::Deserialize;

use super::{Input, Message, Row};

/// The most rows that are read: all of them stay in memory.
const MOST_ROWS: usize = 1_000_000;

/// One row as typed. Rows of other tools carry more, so unknown fields are let through here.
#[derive(Debug, Deserialize)]
struct Typed {
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    texts: Option<Vec<String>>,
    label: Option<String>,
    max_tokens: Option<u64>,
    at_ms: Option<f64>,
    session: Option<serde_json::Value>,
}

/// The rows of a JSONL file.
///
/// # Errors
/// One line that names file and row.
pub(super) fn read(path: &Path) -> Result<Vec<Row>, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        if rows.len() == MOST_ROWS {
            return Err(format!("{shown}: more than {MOST_ROWS} rows"));
        }
        let at = |reason: String| format!("{shown}:{}: {reason}", index + 1);
        let typed: Typed = serde_json::from_str(line).map_err(|error| at(error.to_string()))?;
        rows.push(row(typed).map_err(at)?);
    }
    if rows.is_empty() {
        return Err(format!("{shown}: no rows"));
    }
    Ok(rows)
}

fn row(typed: Typed) -> Result<Row, String> {
    let input = match (typed.prompt, typed.messages, typed.texts) {
        (Some(prompt), None, None) => Input::Text(prompt),
        (None, Some(messages), None) if !messages.is_empty() => Input::Messages(messages),
        (None, None, Some(texts)) if !texts.is_empty() => Input::Texts(texts),
        _ => {
            return Err("a row has exactly one of \"prompt\", \"messages\", \"texts\"".into());
        }
    };
    let at = typed
        .at_ms
        .map(|at| Duration::try_from_secs_f64(at / 1e3))
        .transpose()
        .map_err(|_| "at_ms is a time from the start, 0 or more")?;
    if typed.max_tokens == Some(0) {
        return Err("max_tokens must be at least 1".into());
    }
    Ok(Row {
        input,
        label: typed.label,
        max_tokens: typed.max_tokens,
        at,
        session: typed.session.map(|session| session.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn rows(text: &str) -> Result<Vec<Row>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let name = file.path().display().to_string();
        read(file.path()).map_err(|error| error.replace(&name, "rows.jsonl"))
    }

    #[test]
    fn rows_are_prompts_conversations_or_batches() {
        let text = r#"{"id": 1, "prompt": "Hi", "max_tokens": 5, "at_ms": 12.5}

{"messages": [{"role": "user", "content": "Hi"}], "session": 3}
{"texts": ["a", "b"], "label": "x"}"#;
        let rows = rows(text).unwrap();
        assert_eq!(rows[0].input, Input::Text("Hi".into()));
        assert_eq!(rows[0].at, Some(Duration::from_micros(12_500)));
        assert_eq!(rows[1].session.as_deref(), Some("3"));
        assert_eq!(rows[2].label.as_deref(), Some("x"));
    }

    #[test]
    fn a_bad_row_is_named() {
        let check = |text: &str, answer: &str| {
            let error = rows(text).unwrap_err();
            assert!(error.starts_with(answer), "{error}");
        };
        check("", "rows.jsonl: no rows");
        check(
            "{\"prompt\":\"a\"}\n{}",
            "rows.jsonl:2: a row has exactly one of",
        );
        check(
            "{\"prompt\":\"a\",\"texts\":[\"b\"]}",
            "rows.jsonl:1: a row has",
        );
        check("{\"prompt\":\"a\",\"at_ms\":-1}", "rows.jsonl:1: at_ms is");
        check("{\"prompt\":", "rows.jsonl:1: EOF");
        check(
            "{\"prompt\":\"a\",\"max_tokens\":0}",
            "rows.jsonl:1: max_tokens",
        );
    }
}

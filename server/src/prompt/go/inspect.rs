//! What a template's tree tells of its model, by Ollama's rules (`template/template.go`, `thinking/template.go`,
//! `tools/template.go`).

use std::collections::BTreeSet;

use super::parse::Templates;
use super::tree::{Branch, BranchKind, List, Node, Operand, Pipe, Term};
use crate::prompt::Tags;

/// The names of all fields and variables in lower case.
///
/// # Errors
/// When a template is called without data, which Ollama does not allow.
pub(super) fn names(templates: &Templates) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    for list in templates.by_name.values() {
        names_of_list(list, &mut names)?;
    }
    Ok(names)
}

fn names_of_list(list: &List, names: &mut BTreeSet<String>) -> Result<(), String> {
    for node in &list.nodes {
        match node {
            Node::Action { pipe, .. } => names_of_pipe(pipe, names),
            Node::Call { pipe, .. } => match pipe {
                Some(pipe) => names_of_pipe(pipe, names),
                None => return Err("undefined template specified".into()),
            },
            Node::Branch(branch) => {
                names_of_pipe(&branch.pipe, names);
                names_of_list(&branch.list, names)?;
                if let Some(otherwise) = &branch.otherwise {
                    names_of_list(otherwise, names)?;
                }
            }
            Node::Text { .. } | Node::Break { .. } | Node::Continue { .. } => {}
        }
    }
    Ok(())
}

fn names_of_pipe(pipe: &Pipe, names: &mut BTreeSet<String>) {
    for operand in operands(pipe) {
        match &operand.term {
            Term::Field(path) | Term::Variable(path) => {
                names.extend(path.iter().map(|name| name.to_lowercase()));
            }
            Term::Pipe(pipe) => names_of_pipe(pipe, names),
            _ => {}
        }
    }
}

fn operands(pipe: &Pipe) -> impl Iterator<Item = &Operand> {
    pipe.commands.iter().flat_map(|command| &command.operands)
}

/// Whether one of the words of a pipeline is a field with this name anywhere in its path.
fn mentions(pipe: &Pipe, name: &str) -> bool {
    operands(pipe).any(|operand| {
        matches!(&operand.term, Term::Field(path) if path.iter().any(|field| field == name))
    })
}

/// Whether a pipeline has a field whose path begins with this name.
fn begins_with(pipe: &Pipe, name: &str) -> bool {
    operands(pipe).any(|operand| match &operand.term {
        Term::Field(path) => path.first().is_some_and(|field| field == name),
        Term::Pipe(pipe) => begins_with(pipe, name),
        _ => false,
    })
}

/// The text around `.Thinking` where the messages are written: the first and the last text of the innermost list of
/// nodes. The last place in the template counts.
pub(super) fn thinking_tags(root: &List) -> Option<Tags> {
    let mut found = Tags {
        open: String::new(),
        close: String::new(),
    };
    thinking_in_list(root, false, &mut found);
    (!found.open.is_empty() && !found.close.is_empty()).then_some(found)
}

fn thinking_in_list(list: &List, in_messages: bool, found: &mut Tags) {
    for node in &list.nodes {
        let (pipe, is_inside) = match node {
            Node::Action { pipe, .. }
            | Node::Call {
                pipe: Some(pipe), ..
            } => (pipe, in_messages),
            Node::Branch(branch) => (&branch.pipe, in_branch(branch, in_messages)),
            _ => continue,
        };
        if is_inside && begins_with(pipe, "Thinking") {
            if let Some(Node::Text { text, .. }) = list.nodes.first() {
                found.open = text.trim().to_owned();
            }
            if let Some(Node::Text { text, .. }) = list.nodes.last() {
                found.close = text.trim().to_owned();
            }
        }
        // What a condition guards comes after it and overrides it.
        if let Node::Branch(branch) = node {
            thinking_in_list(&branch.list, is_inside, found);
            if let Some(otherwise) = &branch.otherwise {
                thinking_in_list(otherwise, is_inside, found);
            }
        }
    }
}

/// Only the innermost range counts.
fn in_branch(branch: &Branch, in_messages: bool) -> bool {
    match branch.kind {
        BranchKind::Range => begins_with(&branch.pipe, "Messages"),
        BranchKind::If | BranchKind::With => in_messages,
    }
}

/// What the model writes in front of its tool calls: the first text behind the condition on `.ToolCalls`, up to the
/// JSON. An opening brace if there is none: then every object may be a call.
pub(super) fn tool_prefix(root: &List) -> String {
    let text = tool_calls(root)
        .and_then(|list| first_text(&list.nodes))
        .unwrap_or_default();
    let text = text.replace("\r\n", "\n");
    match text.split('{').next().unwrap_or_default().trim() {
        "" => "{".to_owned(),
        prefix => prefix.to_owned(),
    }
}

/// The key of the arguments where the template writes a call as an object with a `name`; none if it writes calls in
/// another way, or as JSON that is made elsewhere.
pub(super) fn arguments_key(root: &List) -> Option<&'static str> {
    let mut text = String::new();
    text_of_list(tool_calls(root)?, &mut text);
    text.retain(|letter| !letter.is_whitespace());
    let (_, after) = text.split_once("{\"name\":\"")?;
    let keys = ["arguments", "parameters"].into_iter();
    let mut keys = keys.filter(|key| after.starts_with(&format!("\",\"{key}\":")));
    keys.next()
}

fn text_of_list(list: &List, texts: &mut String) {
    for node in &list.nodes {
        match node {
            Node::Text { text, .. } => texts.push_str(text),
            Node::Branch(branch) => text_of_list(&branch.list, texts),
            Node::Action { .. }
            | Node::Call { .. }
            | Node::Break { .. }
            | Node::Continue { .. } => {}
        }
    }
}

fn tool_calls(list: &List) -> Option<&List> {
    list.nodes.iter().find_map(|node| {
        let Node::Branch(branch) = node else {
            return None;
        };
        if branch.kind == BranchKind::If && mentions(&branch.pipe, "ToolCalls") {
            return Some(&branch.list);
        }
        tool_calls(&branch.list).or_else(|| branch.otherwise.as_ref().and_then(tool_calls))
    })
}

/// The first text that is not blank, if no action comes before it.
fn first_text(nodes: &[Node]) -> Option<&str> {
    for node in nodes {
        match node {
            Node::Text { text, .. } if !text.trim().is_empty() => return Some(text),
            Node::Branch(branch) => {
                return first_text(&branch.list.nodes).or_else(|| {
                    branch
                        .otherwise
                        .as_ref()
                        .and_then(|list| first_text(&list.nodes))
                });
            }
            Node::Action { .. } => return None,
            Node::Text { .. } | Node::Call { .. } | Node::Break { .. } | Node::Continue { .. } => {}
        }
    }
    None
}

/// The list up to and including `{{ .Response }}`, behind which the model goes on.
pub(super) fn up_to_response(list: &List) -> List {
    let mut kept = list.clone();
    cut(&mut kept);
    kept
}

/// Cuts a list behind the first mention of the response, and tells whether there was one.
fn cut(list: &mut List) -> bool {
    for index in 0..list.nodes.len() {
        let is_there = match &mut list.nodes[index] {
            Node::Action { pipe, .. } => cut_pipe(pipe),
            Node::Branch(branch) => {
                // Whichever of the two is taken ends with the response, if it has one.
                let in_list = cut(&mut branch.list);
                let in_otherwise = branch.otherwise.as_mut().is_some_and(cut);
                in_list || in_otherwise
            }
            _ => false,
        };
        if is_there {
            list.nodes.truncate(index + 1);
            return true;
        }
    }
    false
}

fn cut_pipe(pipe: &mut Pipe) -> bool {
    for index in 0..pipe.commands.len() {
        let operands = &mut pipe.commands[index].operands;
        for place in 0..operands.len() {
            let is_there = match &mut operands[place].term {
                Term::Field(path) => path.iter().any(|field| field == "Response"),
                Term::Pipe(inner) => cut_pipe(inner),
                _ => false,
            };
            if is_there {
                operands.truncate(place + 1);
                pipe.commands.truncate(index + 1);
                return true;
            }
        }
    }
    false
}

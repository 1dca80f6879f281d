//! An answer as a sequence of blocks, each nothing but thinking, text or one call of a tool: how the dialects show it that
//! tell where a block begins and ends.

use super::Error;
use super::answer::{Delta, Ending, Piece};
use super::answers::Answers;
use crate::inference::generate::TokenLogprob;
use crate::prompt::ToolCall;
use futures::StreamExt;

/// A part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// What the model thought.
    Thinking(String),
    /// What it said.
    Text {
        /// The text.
        text: String,
        /// One per token, if they were asked for.
        logprobs: Vec<TokenLogprob>,
    },
    /// What it called.
    Call(ToolCall),
}

/// What happened to the block of that index.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It began; a call is complete from the beginning.
    Opened(usize),
    /// It grew.
    Grown(usize, Growth),
    /// It is complete.
    Closed(usize),
}

/// What came to a block of thinking or text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Growth {
    /// Its text.
    pub text: String,
    /// Of text, not of thinking.
    pub logprobs: Vec<TokenLogprob>,
}

/// The blocks so far. At most the last one is open.
#[derive(Debug, Default)]
pub struct Blocks {
    blocks: Vec<Block>,
    is_open: bool,
}

impl Blocks {
    /// All blocks, in their order.
    #[must_use]
    pub fn all(&self) -> &[Block] {
        &self.blocks
    }

    /// Whether there is a call among them.
    #[must_use]
    pub fn has_call(&self) -> bool {
        let is_call = |block: &Block| matches!(block, Block::Call(_));
        self.blocks.iter().any(is_call)
    }

    /// Takes the next part of the answer.
    #[must_use]
    pub fn add(&mut self, delta: Delta) -> Vec<Change> {
        let mut changes = Vec::new();
        if !delta.thinking.is_empty() {
            self.think(delta.thinking, &mut changes);
        }
        // Log probabilities of a mark or of what is thought have no text to go with.
        if !delta.content.is_empty() {
            self.say(delta.content, delta.logprobs, &mut changes);
        }
        for call in delta.tool_calls {
            self.close(&mut changes);
            self.open(Block::Call(call), &mut changes);
            self.close(&mut changes);
        }
        changes
    }

    /// Gives an answer without any block an empty text, where clients look for one.
    #[must_use]
    pub fn fill(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.blocks.is_empty() {
            self.open(Block::text(), &mut changes);
        }
        changes
    }

    /// Ends the answer.
    #[must_use]
    pub fn finish(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.close(&mut changes);
        changes
    }

    fn think(&mut self, thinking: String, changes: &mut Vec<Change>) {
        if !matches!(self.current(), Some(Block::Thinking(_))) {
            self.close(changes);
            self.open(Block::Thinking(String::new()), changes);
        }
        if let Some(Block::Thinking(text)) = self.blocks.last_mut() {
            text.push_str(&thinking);
        }
        let growth = Growth {
            text: thinking,
            logprobs: Vec::new(),
        };
        changes.push(Change::Grown(self.blocks.len() - 1, growth));
    }

    fn say(&mut self, content: String, more: Vec<TokenLogprob>, changes: &mut Vec<Change>) {
        if !matches!(self.current(), Some(Block::Text { .. })) {
            self.close(changes);
            self.open(Block::text(), changes);
        }
        if let Some(Block::Text { text, logprobs }) = self.blocks.last_mut() {
            text.push_str(&content);
            logprobs.extend(more.iter().cloned());
        }
        let growth = Growth {
            text: content,
            logprobs: more,
        };
        changes.push(Change::Grown(self.blocks.len() - 1, growth));
    }

    fn current(&self) -> Option<&Block> {
        self.blocks.last().filter(|_| self.is_open)
    }

    fn open(&mut self, block: Block, changes: &mut Vec<Change>) {
        changes.push(Change::Opened(self.blocks.len()));
        self.blocks.push(block);
        self.is_open = true;
    }

    fn close(&mut self, changes: &mut Vec<Change>) {
        if std::mem::take(&mut self.is_open) {
            changes.push(Change::Closed(self.blocks.len() - 1));
        }
    }
}

impl Block {
    fn text() -> Self {
        Self::Text {
            text: String::new(),
            logprobs: Vec::new(),
        }
    }
}

/// All blocks of the one answer that was asked for.
///
/// # Errors
/// When it fails.
pub async fn whole(answers: Answers) -> Result<(Blocks, Ending), Error> {
    let mut blocks = Blocks::default();
    let mut pieces = answers.pieces();
    loop {
        let (_, piece) = pieces
            .next()
            .await
            .expect("an answer ends with an ending or an error");
        match piece? {
            Piece::Delta(delta) => drop(blocks.add(delta)),
            Piece::Ending(tail, ending) => {
                drop(blocks.add(tail));
                drop(blocks.finish());
                return Ok((blocks, ending));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn delta() -> impl Strategy<Value = Delta> {
        let text = || prop_oneof![Just(String::new()), "[a-c]{1,3}"];
        (text(), text(), 0..3usize).prop_map(|(thinking, content, calls)| Delta {
            content,
            thinking,
            tool_calls: (0..calls)
                .map(|index| ToolCall {
                    id: String::new(),
                    index,
                    name: "call".into(),
                    arguments: json!({}),
                })
                .collect(),
            ..Delta::default()
        })
    }

    proptest! {
        #[test]
        fn blocks_open_and_close_one_after_the_other_and_hold_everything(
            deltas in prop::collection::vec(delta(), 0..12),
        ) {
            let mut blocks = Blocks::default();
            let mut changes = Vec::new();
            let (mut thinking, mut content, mut calls) = (String::new(), String::new(), 0);
            for delta in deltas {
                thinking.push_str(&delta.thinking);
                content.push_str(&delta.content);
                calls += delta.tool_calls.len();
                changes.extend(blocks.add(delta));
            }
            changes.extend(blocks.fill());
            changes.extend(blocks.finish());
            prop_assert!(blocks.finish().is_empty());

            let (mut open, mut next) = (None, 0);
            let mut grown: Vec<String> = Vec::new();
            for change in changes {
                match change {
                    Change::Opened(index) => {
                        prop_assert_eq!((open, index), (None, next));
                        open = Some(index);
                        next += 1;
                        grown.push(String::new());
                    }
                    Change::Grown(index, growth) => {
                        prop_assert_eq!(open, Some(index));
                        prop_assert!(!growth.text.is_empty());
                        grown[index].push_str(&growth.text);
                    }
                    Change::Closed(index) => prop_assert_eq!(open.take(), Some(index)),
                }
            }
            prop_assert_eq!((open, next), (None, blocks.all().len()));
            prop_assert!(next > 0);

            let mut seen = (String::new(), String::new(), 0);
            for (block, grown) in blocks.all().iter().zip(grown) {
                match block {
                    Block::Thinking(text) => {
                        prop_assert_eq!(text, &grown);
                        seen.0.push_str(text);
                    }
                    Block::Text { text, .. } => {
                        prop_assert_eq!(text, &grown);
                        seen.1.push_str(text);
                    }
                    Block::Call(_) => seen.2 += 1,
                }
            }
            prop_assert_eq!(seen, (thinking, content, calls));
        }
    }
}

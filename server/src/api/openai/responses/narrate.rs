//! A response told event by event: what was opened is closed, numbers run from 0 without a gap, and the last event is
//! `response.completed`, `response.incomplete` or `response.failed`.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::tools::arguments_text;
use super::record::{ItemRecord, PartRecord, Shown, Status, SummaryRecord, logprobs_of};
use crate::api::Error;
use crate::api::answer::{Delta, Ending};
use crate::api::blocks::{Block, Blocks, Change, Growth};
use crate::api::sse::{Narrator, Sent};

/// The response so far.
pub struct Narrated {
    shown: Shown,
    blocks: Blocks,
    /// Of all blocks.
    ids: Vec<String>,
    /// Of the closed blocks.
    items: Vec<ItemRecord>,
    next_number: u64,
}

/// An event: its name, its number and what it is about.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    sequence_number: u64,
    #[serde(flatten)]
    about: Value,
}

impl Narrated {
    /// Nothing told yet.
    pub fn new(shown: Shown) -> Self {
        Self {
            shown,
            blocks: Blocks::default(),
            ids: Vec::new(),
            items: Vec::new(),
            next_number: 0,
        }
    }

    fn event(&mut self, kind: &str, about: Value) -> Sent {
        let sequence_number = self.next_number;
        self.next_number += 1;
        let event = Event {
            kind,
            sequence_number,
            about,
        };
        Sent::named(kind, &event)
    }

    fn tell(&mut self, changes: Vec<Change>) -> Vec<Sent> {
        let mut sent = Vec::new();
        for change in changes {
            match change {
                Change::Opened(index) => self.opened(index, &mut sent),
                Change::Grown(index, growth) => sent.push(self.grown(index, growth)),
                Change::Closed(index) => self.closed(index, &mut sent),
            }
        }
        sent
    }

    fn opened(&mut self, index: usize, sent: &mut Vec<Sent>) {
        let block = &self.blocks.all()[index];
        let id = ItemRecord::id(block);
        let item = ItemRecord::named(block, Status::InProgress, id.clone());
        let part = match block {
            Block::Thinking(_) => Some((
                "response.reasoning_summary_part.added",
                json!({
                    "item_id": id, "output_index": index, "summary_index": 0,
                    "part": SummaryRecord::default(),
                }),
            )),
            Block::Text { .. } => Some((
                "response.content_part.added",
                json!({
                    "item_id": id, "output_index": index, "content_index": 0, "part": PartRecord::default(),
                }),
            )),
            Block::Call(_) => None,
        };
        self.ids.push(id);
        let about = json!({"output_index": index, "item": item});
        sent.push(self.event("response.output_item.added", about));
        if let Some((kind, about)) = part {
            sent.push(self.event(kind, about));
        }
    }

    fn grown(&mut self, index: usize, growth: Growth) -> Sent {
        let id = &self.ids[index];
        if matches!(self.blocks.all()[index], Block::Thinking(_)) {
            let about = json!({
                "item_id": id, "output_index": index, "summary_index": 0, "delta": growth.text,
            });
            self.event("response.reasoning_summary_text.delta", about)
        } else {
            let about = json!({
                "item_id": id, "output_index": index, "content_index": 0, "delta": growth.text,
                "logprobs": logprobs_of(growth.logprobs),
            });
            self.event("response.output_text.delta", about)
        }
    }

    fn closed(&mut self, index: usize, sent: &mut Vec<Sent>) {
        let block = self.blocks.all()[index].clone();
        let id = self.ids[index].clone();
        let item = ItemRecord::named(&block, Status::Completed, id.clone());
        match block {
            Block::Thinking(text) => {
                let about = json!({
                    "item_id": id, "output_index": index, "summary_index": 0, "text": text,
                });
                sent.push(self.event("response.reasoning_summary_text.done", about));
                let about = json!({
                    "item_id": id, "output_index": index, "summary_index": 0, "part": SummaryRecord { text },
                });
                sent.push(self.event("response.reasoning_summary_part.done", about));
            }
            Block::Text { text, logprobs } => {
                let part = PartRecord::new(text, logprobs);
                let about = json!({
                    "item_id": id, "output_index": index, "content_index": 0, "text": part.text,
                    "logprobs": part.logprobs,
                });
                sent.push(self.event("response.output_text.done", about));
                let about = json!({
                    "item_id": id, "output_index": index, "content_index": 0, "part": part,
                });
                sent.push(self.event("response.content_part.done", about));
            }
            Block::Call(call) => {
                let arguments = arguments_text(&call);
                let about = json!({"item_id": id, "output_index": index, "delta": arguments});
                sent.push(self.event("response.function_call_arguments.delta", about));
                let about = json!({
                    "item_id": id, "output_index": index, "name": call.name, "arguments": arguments,
                });
                sent.push(self.event("response.function_call_arguments.done", about));
            }
        }
        let about = json!({"output_index": index, "item": item});
        self.items.push(item);
        sent.push(self.event("response.output_item.done", about));
    }
}

impl Narrator for Narrated {
    fn opening(&mut self) -> Vec<Sent> {
        let about = json!({"response": self.shown.begun()});
        vec![
            self.event("response.created", about.clone()),
            self.event("response.in_progress", about),
        ]
    }

    fn delta(&mut self, _: usize, delta: Delta) -> Vec<Sent> {
        let changes = self.blocks.add(delta);
        self.tell(changes)
    }

    fn ending(&mut self, _: usize, tail: Delta, ending: Ending) -> Vec<Sent> {
        let mut changes = self.blocks.add(tail);
        changes.extend(self.blocks.fill());
        changes.extend(self.blocks.finish());
        let mut sent = self.tell(changes);
        let response = self.shown.ended(self.items.clone(), &ending);
        let kind = match Status::of(ending.finish) {
            Status::Incomplete => "response.incomplete",
            _ => "response.completed",
        };
        sent.push(self.event(kind, json!({"response": response})));
        sent
    }

    fn closing(&mut self) -> Vec<Sent> {
        Vec::new()
    }

    fn failure(&mut self, error: &Error) -> Vec<Sent> {
        let response = self.shown.failed(self.items.clone(), error);
        vec![self.event("response.failed", json!({"response": response}))]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Echo;
    use super::*;
    use crate::api::testing::{Read, Script, told};
    use crate::inference::generate::Finish;

    fn tell(script: &Script) -> Vec<Read> {
        let shown = Shown::new("tiny".into(), Echo::default());
        told(std::slice::from_ref(script), Narrated::new(shown))
    }

    fn names(read: &[Read]) -> Vec<&str> {
        read.iter()
            .map(|read| read.name.as_deref().unwrap())
            .collect()
    }

    #[test]
    fn events_come_in_openai_s_order() {
        let script = Script::of(
            &[("h", "", 0), ("m", "", 0), ("", "y", 0), ("", "es", 1)],
            Some(Finish::Stop),
        );
        let expected = [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ];
        assert_eq!(names(&tell(&script)), expected);
    }

    #[test]
    fn an_answer_that_was_cut_is_incomplete_and_one_without_a_word_has_an_empty_text() {
        let read = tell(&Script::of(&[], Some(Finish::Length)));
        let last = read.last().unwrap();
        assert_eq!(last.name.as_deref(), Some("response.incomplete"));
        let response = &last.data["response"];
        assert_eq!(
            response["incomplete_details"]["reason"],
            "max_output_tokens"
        );
        assert_eq!(response["output"][0]["content"][0]["text"], "");
    }

    proptest! {
        #[test]
        fn what_is_opened_is_closed_numbers_have_no_gap_and_one_event_is_the_last(script in Script::any()) {
            let read = tell(&script);
            for (number, event) in read.iter().enumerate() {
                prop_assert_eq!(&event.data["sequence_number"], number);
                prop_assert_eq!(event.data["type"].as_str(), event.name.as_deref());
            }
            let terminal = |name: &&str| ["response.completed", "response.incomplete", "response.failed"].contains(name);
            let names = names(&read);
            prop_assert_eq!(names.iter().position(terminal), Some(names.len() - 1));
            prop_assert_eq!(names.last() == Some(&"response.failed"), script.finish.is_none());

            let of = |name: &str| -> Vec<&Value> {
                read.iter().filter(|read| read.name.as_deref() == Some(name)).map(|read| &read.data).collect()
            };
            let added = of("response.output_item.added");
            let done = of("response.output_item.done");
            let open = usize::from(script.finish.is_none() && added.len() > done.len());
            prop_assert_eq!(added.len(), done.len() + open);
            for (index, (added, done)) in added.iter().zip(&done).enumerate() {
                prop_assert_eq!(&added["output_index"], index);
                prop_assert_eq!(&done["output_index"], index);
                prop_assert_eq!(&added["item"]["id"], &done["item"]["id"]);
            }
            let items: Vec<Value> = done.iter().map(|done| done["item"].clone()).collect();
            prop_assert_eq!(&read.last().unwrap().data["response"]["output"], &json!(items));

            let told = |name: &str| -> String {
                of(name).iter().filter_map(|event| event["delta"].as_str()).collect()
            };
            prop_assert_eq!(told("response.reasoning_summary_text.delta"), script.text(0));
            prop_assert_eq!(told("response.output_text.delta"), script.text(1));
            prop_assert_eq!(of("response.function_call_arguments.done").len(), script.calls());
        }
    }
}

//! A response told event by event: what was opened is closed, numbers run from 0 without a gap, and the last event is
//! `response.completed`, `response.incomplete` or `response.failed`.

use serde::Serialize;
use utoipa::ToSchema;

use super::super::tools::arguments_text;
use super::record::{
    ItemRecord, PartRecord, ResponseRecord, Shown, Status, SummaryRecord, logprobs_of,
};
use crate::api::Error;
use crate::api::answer::{Delta, Ending};
use crate::api::blocks::{Block, Blocks, Change, Growth};
use crate::api::logprob::LogprobRecord;
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

/// An event.
#[derive(Serialize, ToSchema)]
pub struct ResponseEvent {
    #[serde(flatten)]
    step: Step,
    sequence_number: u64,
}

/// What happens in an event; its name is the event's.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type")]
enum Step {
    #[serde(rename = "response.created")]
    Created { response: Box<ResponseRecord> },
    #[serde(rename = "response.in_progress")]
    InProgress { response: Box<ResponseRecord> },
    #[serde(rename = "response.completed")]
    Completed { response: Box<ResponseRecord> },
    #[serde(rename = "response.incomplete")]
    Incomplete { response: Box<ResponseRecord> },
    #[serde(rename = "response.failed")]
    Failed { response: Box<ResponseRecord> },
    #[serde(rename = "response.output_item.added")]
    ItemAdded {
        output_index: usize,
        item: ItemRecord,
    },
    #[serde(rename = "response.output_item.done")]
    ItemDone {
        output_index: usize,
        item: ItemRecord,
    },
    #[serde(rename = "response.reasoning_summary_part.added")]
    SummaryPartAdded {
        #[serde(flatten)]
        place: SummaryPlace,
        part: SummaryRecord,
    },
    #[serde(rename = "response.reasoning_summary_part.done")]
    SummaryPartDone {
        #[serde(flatten)]
        place: SummaryPlace,
        part: SummaryRecord,
    },
    #[serde(rename = "response.reasoning_summary_text.delta")]
    SummaryTextDelta {
        #[serde(flatten)]
        place: SummaryPlace,
        delta: String,
    },
    #[serde(rename = "response.reasoning_summary_text.done")]
    SummaryTextDone {
        #[serde(flatten)]
        place: SummaryPlace,
        text: String,
    },
    #[serde(rename = "response.content_part.added")]
    ContentPartAdded {
        #[serde(flatten)]
        place: ContentPlace,
        part: PartRecord,
    },
    #[serde(rename = "response.content_part.done")]
    ContentPartDone {
        #[serde(flatten)]
        place: ContentPlace,
        part: PartRecord,
    },
    #[serde(rename = "response.output_text.delta")]
    TextDelta {
        #[serde(flatten)]
        place: ContentPlace,
        delta: String,
        logprobs: Vec<LogprobRecord>,
    },
    #[serde(rename = "response.output_text.done")]
    TextDone {
        #[serde(flatten)]
        place: ContentPlace,
        text: String,
        logprobs: Vec<LogprobRecord>,
    },
    #[serde(rename = "response.function_call_arguments.delta")]
    ArgumentsDelta {
        item_id: String,
        output_index: usize,
        delta: String,
    },
    #[serde(rename = "response.function_call_arguments.done")]
    ArgumentsDone {
        item_id: String,
        output_index: usize,
        name: String,
        arguments: String,
    },
}

/// Where a part of a reasoning's summary is; there is one.
#[derive(Clone, Serialize, ToSchema)]
struct SummaryPlace {
    item_id: String,
    output_index: usize,
    summary_index: usize,
}

/// Where a part of a message is; there is one.
#[derive(Clone, Serialize, ToSchema)]
struct ContentPlace {
    item_id: String,
    output_index: usize,
    content_index: usize,
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

    fn event(&mut self, step: Step) -> Sent {
        let sequence_number = self.next_number;
        self.next_number += 1;
        let event = ResponseEvent {
            step,
            sequence_number,
        };
        let event = serde_json::to_value(event).expect("an event is JSON");
        Sent::named(event["type"].as_str().expect("a step has a name"), &event)
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

    fn opened(&mut self, output_index: usize, sent: &mut Vec<Sent>) {
        let block = &self.blocks.all()[output_index];
        let id = ItemRecord::id(block);
        let item = ItemRecord::named(block, Status::InProgress, id.clone());
        self.ids.push(id);
        let part = match block {
            Block::Thinking(_) => Some(Step::SummaryPartAdded {
                place: self.summary(output_index),
                part: SummaryRecord::default(),
            }),
            Block::Text { .. } => Some(Step::ContentPartAdded {
                place: self.content(output_index),
                part: PartRecord::default(),
            }),
            Block::Call(_) => None,
        };
        sent.push(self.event(Step::ItemAdded { output_index, item }));
        sent.extend(part.map(|part| self.event(part)));
    }

    fn grown(&mut self, index: usize, growth: Growth) -> Sent {
        let delta = growth.text;
        let step = match self.blocks.all()[index] {
            Block::Thinking(_) => Step::SummaryTextDelta {
                place: self.summary(index),
                delta,
            },
            Block::Text { .. } | Block::Call(_) => Step::TextDelta {
                place: self.content(index),
                delta,
                logprobs: logprobs_of(growth.logprobs),
            },
        };
        self.event(step)
    }

    fn closed(&mut self, output_index: usize, sent: &mut Vec<Sent>) {
        let block = self.blocks.all()[output_index].clone();
        let item_id = self.ids[output_index].clone();
        let item = ItemRecord::named(&block, Status::Completed, item_id.clone());
        let steps = match block {
            Block::Thinking(text) => {
                let place = self.summary(output_index);
                let part = SummaryRecord { text: text.clone() };
                [
                    Step::SummaryTextDone {
                        place: place.clone(),
                        text,
                    },
                    Step::SummaryPartDone { place, part },
                ]
            }
            Block::Text { text, logprobs } => {
                let place = self.content(output_index);
                let part = PartRecord::new(text.clone(), logprobs.clone());
                [
                    Step::TextDone {
                        place: place.clone(),
                        text,
                        logprobs: logprobs_of(logprobs),
                    },
                    Step::ContentPartDone { place, part },
                ]
            }
            Block::Call(call) => {
                let arguments = arguments_text(&call);
                [
                    Step::ArgumentsDelta {
                        item_id: item_id.clone(),
                        output_index,
                        delta: arguments.clone(),
                    },
                    Step::ArgumentsDone {
                        item_id,
                        output_index,
                        name: call.name,
                        arguments,
                    },
                ]
            }
        };
        sent.extend(steps.map(|step| self.event(step)));
        self.items.push(item.clone());
        sent.push(self.event(Step::ItemDone { output_index, item }));
    }

    fn summary(&self, output_index: usize) -> SummaryPlace {
        SummaryPlace {
            item_id: self.ids[output_index].clone(),
            output_index,
            summary_index: 0,
        }
    }

    fn content(&self, output_index: usize) -> ContentPlace {
        ContentPlace {
            item_id: self.ids[output_index].clone(),
            output_index,
            content_index: 0,
        }
    }
}

impl Narrator for Narrated {
    fn opening(&mut self) -> Vec<Sent> {
        let response = || Box::new(self.shown.begun());
        let steps = [
            Step::Created {
                response: response(),
            },
            Step::InProgress {
                response: response(),
            },
        ];
        steps.map(|step| self.event(step)).into()
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
        let response = Box::new(self.shown.ended(self.items.clone(), &ending));
        sent.push(self.event(match Status::of(ending.finish) {
            Status::Incomplete => Step::Incomplete { response },
            _ => Step::Completed { response },
        }));
        sent
    }

    fn closing(&mut self) -> Vec<Sent> {
        Vec::new()
    }

    fn failure(&mut self, error: &Error) -> Vec<Sent> {
        let response = Box::new(self.shown.failed(self.items.clone(), error));
        vec![self.event(Step::Failed { response })]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

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

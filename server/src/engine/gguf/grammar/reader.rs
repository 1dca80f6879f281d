//! Where the calls begin in a free answer, by its text alone.

use crate::inference::generate::{Calls, Thoughts};

/// Reads an answer byte by byte up to the mark of a call.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    watched: std::sync::Arc<Watched>,
    place: Place,
    /// The latest text, as much of it as can be a mark.
    tail: Vec<u8>,
}

#[derive(Debug)]
struct Watched {
    thoughts: Option<Thoughts>,
    /// The marks of calls.
    marks: Vec<String>,
    /// As many bytes as the longest text that is looked for.
    longest: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    /// Nothing but whitespace was written: thoughts may begin.
    Beginning,
    /// In the thoughts.
    Thoughts,
    /// Wherever a call may begin.
    Free,
    /// In the free part of a call that ends with this.
    Call(String),
}

/// The mark of a call was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Opened {
    /// Which of the openings it is.
    pub(super) opening: usize,
    /// Bytes of the text up to the end of the mark.
    pub(super) length: usize,
}

impl Reader {
    pub(super) fn new(calls: &Calls) -> Self {
        let marks: Vec<String> = (calls.openings.iter())
            .map(|opening| opening.mark.clone())
            .collect();
        let thoughts = calls.thoughts.clone();
        let closes = calls
            .openings
            .iter()
            .filter_map(|opening| opening.close.as_ref());
        let tags = thoughts
            .iter()
            .flat_map(|thoughts| [&thoughts.open, &thoughts.close]);
        let longest = marks
            .iter()
            .chain(closes)
            .chain(tags)
            .map(String::len)
            .max();
        let place = match &thoughts {
            Some(thoughts) if thoughts.are_begun => Place::Thoughts,
            Some(_) => Place::Beginning,
            None => Place::Free,
        };
        let mut reader = Self {
            watched: std::sync::Arc::new(Watched {
                thoughts,
                marks,
                longest: longest.unwrap_or(0),
            }),
            place,
            tail: Vec::new(),
        };
        if reader.place == Place::Free {
            reader.remember(calls.before.as_bytes());
        }
        reader
    }

    /// Reads on, up to the mark of a call if there is one.
    pub(super) fn read(&mut self, text: &[u8]) -> Option<Opened> {
        for (index, byte) in text.iter().enumerate() {
            self.remember(&[*byte]);
            if let Some(opening) = self.step() {
                self.tail.clear();
                return Some(Opened {
                    opening,
                    length: index + 1,
                });
            }
        }
        None
    }

    /// Reads what belongs to a call that is held to its grammar.
    pub(super) fn pass(&mut self, text: &[u8]) {
        self.remember(text);
    }

    /// Goes on behind the grammar of a call, which may go on itself up to its close.
    pub(super) fn leave(&mut self, close: Option<&str>) {
        self.place = match close {
            Some(close) if !self.tail.ends_with(close.as_bytes()) => Place::Call(close.to_owned()),
            _ => Place::Free,
        };
        self.tail.clear();
    }

    fn remember(&mut self, text: &[u8]) {
        self.tail.extend(text);
        let surplus = self.tail.len().saturating_sub(self.watched.longest);
        self.tail.drain(..surplus);
    }

    /// Looks at the latest byte. Some if it ends the mark of a call.
    fn step(&mut self) -> Option<usize> {
        let watched = &self.watched;
        let ends_with = |text: &str| self.tail.ends_with(text.as_bytes());
        let next = match (&self.place, &watched.thoughts) {
            (Place::Beginning, Some(thoughts)) => {
                let written = self.tail.trim_ascii_start();
                if written == thoughts.open.as_bytes() {
                    Some(Place::Thoughts)
                } else if thoughts.open.as_bytes().starts_with(written) {
                    return None;
                } else {
                    self.place = Place::Free;
                    return self.mark();
                }
            }
            (Place::Thoughts, Some(thoughts)) => ends_with(&thoughts.close).then_some(Place::Free),
            (Place::Call(close), _) => ends_with(close).then_some(Place::Free),
            (Place::Free, Some(thoughts)) if thoughts.come_again && ends_with(&thoughts.open) => {
                Some(Place::Thoughts)
            }
            (Place::Free | Place::Beginning | Place::Thoughts, _) => return self.mark(),
        };
        if let Some(next) = next {
            self.place = next;
            self.tail.clear();
        }
        None
    }

    fn mark(&self) -> Option<usize> {
        (self.watched.marks.iter()).position(|mark| self.tail.ends_with(mark.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::generate::{Grammar, Opening};

    fn reader(thoughts: Option<Thoughts>) -> Reader {
        let opening = |mark: &str| Opening {
            mark: mark.into(),
            grammar: Grammar::Json,
            close: None,
            is_last: false,
        };
        Reader::new(&Calls {
            before: "<start>".into(),
            thoughts,
            openings: vec![opening("<call>"), opening("<start>to=")],
        })
    }

    fn thoughts(are_begun: bool, come_again: bool) -> Option<Thoughts> {
        Some(Thoughts {
            open: "<think>".into(),
            close: "</think>".into(),
            are_begun,
            come_again,
        })
    }

    /// Where the first call begins, however the text is cut.
    fn check(reader: &Reader, text: &str, expected: Option<(usize, usize)>) {
        let whole = reader.clone().read(text.as_bytes());
        let whole = whole.map(|opened| (opened.opening, opened.length));
        assert_eq!(whole, expected, "{text}");
        let mut slow = reader.clone();
        let found = (0..text.len()).find_map(|at| {
            let opened = slow.read(&text.as_bytes()[at..=at])?;
            Some((opened.opening, at + opened.length))
        });
        assert_eq!(found, expected, "{text} byte by byte");
    }

    #[test]
    fn a_call_begins_with_its_mark() {
        let reader = reader(None);
        check(&reader, "nothing", None);
        check(&reader, "<call>", Some((0, 6)));
        check(&reader, "say: <<call>{", Some((0, 12)));
        check(&reader, "<cal", None);
        check(&reader, "ñ<call>", Some((0, 8)));
        check(&reader, "to=f", Some((1, 3)));
        check(&reader, "now to=f", None);
    }

    #[test]
    fn what_is_thought_is_no_call() {
        let opened = reader(thoughts(true, false));
        check(&opened, "a <call> b</think><call>", Some((0, 24)));
        check(&opened, "a <call> b", None);
        let may_open = reader(thoughts(false, false));
        check(&may_open, " \n<think><call></think>", None);
        check(&may_open, "\n<call>", Some((0, 7)));
        check(&may_open, "<th<call>", Some((0, 9)));
        check(&may_open, "a<think><call>", Some((0, 14)));
        let again = reader(thoughts(false, true));
        check(&again, "a<think><call></think>b<call>", Some((0, 29)));
    }

    #[test]
    fn a_call_may_go_on_behind_its_grammar() {
        let mut reader = reader(None);
        reader.pass(b"name");
        reader.leave(Some("</call>"));
        check(&reader, "<call></call>", None);
        check(&reader, "<call></call><call>", Some((0, 19)));
        reader.pass(b"name</call>");
        reader.leave(Some("</call>"));
        check(&reader, "<call>", Some((0, 6)));
    }
}

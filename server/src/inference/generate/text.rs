//! Tokens to text: whole UTF-8 characters, and no byte of a stop string.
//!
//! Bytes arrive token by token and are held back while they could still be the start of a stop string or an unfinished
//! character. Stop strings are searched in the bytes; what is no UTF-8 becomes U+FFFD, once it can become nothing else.

use super::{Text, TokenLogprob};

/// Assembles the answer of one job.
#[derive(Debug)]
pub struct Assembler {
    /// None of them is empty.
    stops: Vec<String>,
    /// Bytes that arrived and were not delivered.
    held: Vec<u8>,
    /// Tokens that arrived and were not reported, with the range of `held` that is theirs.
    tokens: Vec<HeldToken>,
    reported_tokens: usize,
    /// The stop string that ended the answer.
    found: Option<String>,
}

/// What a token changed.
#[derive(Debug, Default, PartialEq)]
pub struct Assembled {
    /// What may be delivered now.
    pub text: Text,
    /// Whether a stop string is complete: the answer ends here.
    pub stopped: bool,
}

#[derive(Debug)]
struct HeldToken {
    start: usize,
    end: usize,
    /// Whether bytes of it were delivered already.
    shown: bool,
    logprob: Option<TokenLogprob>,
}

impl Assembler {
    /// Begins an answer that ends before the first occurrence of any of `stops`; empty ones are ignored.
    #[must_use]
    pub fn new(stops: &[String]) -> Self {
        Self {
            stops: stops
                .iter()
                .filter(|stop| !stop.is_empty())
                .cloned()
                .collect(),
            held: Vec::new(),
            tokens: Vec::new(),
            reported_tokens: 0,
            found: None,
        }
    }

    /// Takes the bytes of the next token, and its log probability if the job wants it.
    ///
    /// A token is reported with the piece that holds its last byte. When a stop string is complete, the tokens that lie
    /// wholly in it or behind it are not reported at all; one that also brought shown text is. Nothing may be pushed
    /// after that.
    pub fn push(&mut self, bytes: &[u8], logprob: Option<TokenLogprob>) -> Assembled {
        let start = self.held.len();
        self.held.extend_from_slice(bytes);
        self.tokens.push(HeldToken {
            start,
            end: self.held.len(),
            shown: false,
            logprob,
        });

        if let Some((cut, stop)) = self.first_stop() {
            self.found = Some(stop);
            self.held.truncate(cut);
            self.tokens.retain_mut(|token| {
                let reported = token.shown || token.start < cut || token.end <= cut;
                token.end = token.end.min(cut);
                reported
            });
            return Assembled {
                text: self.finish(),
                stopped: true,
            };
        }
        let possible_stop = self.possible_stop();
        // A stop string begins with the first byte of a character, so a character that is unfinished before it never
        // will be finished; only at the very end of what arrived is there hope.
        let deliverable = if possible_stop == self.held.len() {
            complete_characters(&self.held)
        } else {
            possible_stop
        };
        Assembled {
            text: self.deliver(deliverable),
            stopped: false,
        }
    }

    /// Delivers what is still held: the answer is over, so it was no stop string after all.
    pub fn finish(&mut self) -> Text {
        self.deliver(self.held.len())
    }

    /// How many of the tokens so far were reported.
    #[must_use]
    pub fn reported_tokens(&self) -> usize {
        self.reported_tokens
    }

    /// The stop string that ended the answer, if one did.
    #[must_use]
    pub fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// Where in `held` the first complete stop string begins, and which it is.
    fn first_stop(&self) -> Option<(usize, String)> {
        self.stops
            .iter()
            .filter_map(|stop| {
                let mut windows = self.held.windows(stop.len());
                let start = windows.position(|window| window == stop.as_bytes())?;
                Some((start, stop))
            })
            .min_by_key(|(start, _)| *start)
            .map(|(start, stop)| (start, stop.clone()))
    }

    /// Where in `held` the longest end begins that is the beginning of a stop string; its length if none is.
    fn possible_stop(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let earliest = (self.held.len() + 1).saturating_sub(longest);
        (earliest..self.held.len())
            .find(|&start| {
                let end = &self.held[start..];
                self.stops
                    .iter()
                    .any(|stop| stop.as_bytes().starts_with(end))
            })
            .unwrap_or(self.held.len())
    }

    fn deliver(&mut self, length: usize) -> Text {
        let text = String::from_utf8_lossy(&self.held[..length]).into_owned();
        self.held.drain(..length);
        let whole = self
            .tokens
            .iter()
            .take_while(|token| token.end <= length)
            .count();
        self.reported_tokens += whole;
        let logprobs = self
            .tokens
            .drain(..whole)
            .filter_map(|token| token.logprob)
            .collect();
        for token in &mut self.tokens {
            token.shown |= token.start < length;
            token.start = token.start.saturating_sub(length);
            token.end -= length;
        }
        Text {
            text,
            tokens: u32::try_from(whole).expect("an answer's tokens are counted in 32 bits"),
            logprobs,
        }
    }
}

/// Length of `bytes` without an unfinished character at their end.
fn complete_characters(bytes: &[u8]) -> usize {
    // Only the last three bytes can belong to an unfinished character.
    let tail = bytes.len().saturating_sub(3);
    (tail..bytes.len())
        .find(|&start| {
            !is_continuation(bytes[start])
                && std::str::from_utf8(&bytes[start..])
                    .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .unwrap_or(bytes.len())
}

/// Whether a byte can only be the second to fourth of a character.
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::generate::Logprob;
    use proptest::prelude::*;

    /// What was delivered of `pieces`, the tokens' numbers that were reported, and whether a stop string ended it.
    #[derive(Debug, Default, PartialEq)]
    struct Outcome {
        text: String,
        reported: Vec<usize>,
        stopped: bool,
    }

    fn numbered(number: usize) -> TokenLogprob {
        let chosen = Logprob {
            bytes: number.to_string().into_bytes(),
            logprob: -1.0,
        };
        TokenLogprob {
            chosen,
            top: Vec::new(),
        }
    }

    fn assemble(stops: &[String], pieces: &[Vec<u8>]) -> (Outcome, Vec<Text>) {
        let mut assembler = Assembler::new(stops);
        let mut texts = Vec::new();
        let mut stopped = false;
        for (number, piece) in pieces.iter().enumerate() {
            let assembled = assembler.push(piece, Some(numbered(number)));
            texts.push(assembled.text);
            stopped = assembled.stopped;
            if stopped {
                break;
            }
        }
        texts.push(assembler.finish());
        let reported: Vec<usize> = texts
            .iter()
            .flat_map(|text| &text.logprobs)
            .map(|logprob| {
                String::from_utf8_lossy(&logprob.chosen.bytes)
                    .parse()
                    .unwrap()
            })
            .collect();
        assert_eq!(assembler.reported_tokens(), reported.len());
        let text = texts.iter().map(|text| text.text.as_str()).collect();
        (
            Outcome {
                text,
                reported,
                stopped,
            },
            texts,
        )
    }

    /// The same from the whole of the bytes, without holding anything back.
    fn reference(stops: &[String], pieces: &[Vec<u8>]) -> Outcome {
        let mut bytes: Vec<u8> = Vec::new();
        let mut ranges = Vec::new();
        let mut cut = None;
        for piece in pieces {
            ranges.push(bytes.len()..bytes.len() + piece.len());
            bytes.extend(piece);
            cut = (0..bytes.len()).find(|&start| {
                stops
                    .iter()
                    .any(|stop| !stop.is_empty() && bytes[start..].starts_with(stop.as_bytes()))
            });
            if cut.is_some() {
                break;
            }
        }
        bytes.truncate(cut.unwrap_or(bytes.len()));
        Outcome {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            reported: (0..ranges.len())
                .filter(|&i| ranges[i].end <= bytes.len() || ranges[i].start < bytes.len())
                .collect(),
            stopped: cut.is_some(),
        }
    }

    fn check(stops: &[&str], pieces: &[&[u8]], expected: &[&str]) {
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let (_, texts) = assemble(&stops, &pieces);
        let delivered: Vec<&str> = texts.iter().map(|text| text.text.as_str()).collect();
        assert_eq!(delivered, expected);
    }

    #[test]
    fn text_without_stops_is_delivered_at_once() {
        check(&[], &[b"one", b" two"], &["one", " two", ""]);
    }

    #[test]
    fn an_unfinished_character_waits_for_its_rest() {
        check(
            &[],
            &[b"a\xF0\x9F", b"\x98", b"\x80b"],
            &["a", "", "\u{1F600}b", ""],
        );
    }

    #[test]
    fn invalid_bytes_are_replaced_when_they_can_become_nothing_else() {
        check(
            &[],
            &[b"\xE2\x82", b"x\xFF", b"\xC3"],
            &["", "\u{FFFD}x\u{FFFD}", "", "\u{FFFD}"],
        );
    }

    #[test]
    fn only_what_may_become_a_stop_string_is_held_back() {
        check(
            &["</s>"],
            &[b"a <", b"/", b"b", b"</", b"s>c"],
            &["a ", "", "</b", "", "", ""],
        );
    }

    #[test]
    fn what_was_held_for_a_stop_string_comes_at_the_end() {
        check(&["stop"], &[b"a st", b"o"], &["a ", "", "sto"]);
    }

    #[test]
    fn an_unfinished_character_before_a_possible_stop_is_invalid() {
        check(
            &["END"],
            &[b"\xE2\x82", b"E", b"x"],
            &["", "\u{FFFD}", "Ex", ""],
        );
    }

    #[test]
    fn a_token_with_shown_text_is_reported_even_if_a_stop_string_begins_in_it() {
        let pieces = [b"ab".to_vec(), b"c<".to_vec(), b"".to_vec(), b">d".to_vec()];
        let (outcome, _) = assemble(&["<>".into()], &pieces);
        let expected = Outcome {
            text: "abc".into(),
            reported: vec![0, 1],
            stopped: true,
        };
        assert_eq!(outcome, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn it_delivers_what_the_whole_of_the_bytes_would_give(
            stops in prop::collection::vec("[ab€]{0,4}", 0..4),
            pieces in prop::collection::vec(
                prop::collection::vec(
                    prop::sample::select(b"abc\xE2\x82\xAC\xF0\x9F\xFF\xC3".to_vec()),
                    0..5,
                ),
                0..20,
            ),
        ) {
            let (outcome, _) = assemble(&stops, &pieces);
            prop_assert_eq!(outcome, reference(&stops, &pieces));
        }

        #[test]
        fn it_holds_back_no_more_than_a_stop_string_and_a_character(
            text in "[ab€😀]{0,40}",
            stops in prop::collection::vec("[ab€]{1,4}", 0..4),
            width in 1_usize..5,
        ) {
            let mut assembler = Assembler::new(&stops);
            let longest = stops.iter().map(String::len).max().unwrap_or(1);
            for piece in text.as_bytes().chunks(width) {
                if assembler.push(piece, None).stopped {
                    break;
                }
                prop_assert!(assembler.held.len() < longest.max(4));
                prop_assert!(assembler.tokens.len() <= assembler.held.len());
            }
        }
    }
}

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use serde::{Deserialize, Serialize};

use super::{Cache, Input, Kind, Source, Workload, nonce::Nonces, texts};

/// Who says something in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instructions.
    System,
    /// The client.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// One request's work, the same for every target.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What to send.
    pub input: Input,
    /// Most tokens to generate.
    pub max_tokens: u64,
    /// The sampling seed to send. Ollama's is a signed 32-bit number, so this one is never negative.
    pub seed: i32,
    /// The right label, where the source knows it.
    pub label: Option<String>,
}

/// Requests of which each waits for the one before: the turns of a conversation, or just one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// At least one.
    pub turns: Vec<Item>,
}

/// What randomness is for. Each use has a stream of its own, so that changing one leaves the others as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Texts and lengths.
    Data,
    /// Which target goes first, and which part of a mix comes next.
    Order,
    /// Times between requests.
    Arrival,
    /// The seeds that are sent along.
    Sampling,
}

/// The random numbers of one use, from the run's seed and a name such as the workload's.
pub fn stream(seed: u64, name: &str, stream: Stream) -> Xoshiro256PlusPlus {
    const FNV_PRIME: u64 = 0x0100_0000_01b3;
    let mixed = name
        .bytes()
        .chain([stream as u8])
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
        });
    Xoshiro256PlusPlus::seed_from_u64(mixed)
}

/// An endless, seeded supply of work for one workload; the same seed gives the same work. On cold prompts no two texts are
/// equal, nor begin alike, so that no prompt cache and no reply cache can shorten the work.
#[derive(Debug)]
pub struct Inputs {
    workload: Workload,
    nonces: Nonces,
    data: Xoshiro256PlusPlus,
    sampling: Xoshiro256PlusPlus,
    prefixes: Vec<String>,
    hot: Option<Session>,
    next_row: usize,
}

impl Inputs {
    /// The supply of `workload` for `seed`.
    pub fn new(workload: &Workload, seed: u64) -> Self {
        let mut data = stream(seed, &workload.name, Stream::Data);
        let mut nonces = Nonces::new(&mut data);
        let prefix = workload.prompt.prefix;
        let words = to_words(prefix.tokens, workload.prompt.tokens_per_word);
        let groups = if prefix.tokens == 0 { 0 } else { prefix.groups };
        let prefixes = (0..groups)
            .map(|_| texts::beginning_with(&nonces.next_words(), words, &mut data))
            .collect();
        Self {
            workload: workload.clone(),
            nonces,
            data,
            sampling: stream(seed, &workload.name, Stream::Sampling),
            prefixes,
            hot: None,
            next_row: 0,
        }
    }

    /// The next `count` requests or conversations to measure.
    pub fn take(&mut self, count: usize) -> Vec<Session> {
        (0..count)
            .map(|_| {
                let shares = self.workload.prompt.prefix.share;
                let group = (!self.prefixes.is_empty() && self.data.random_bool(shares))
                    .then(|| self.data.random_range(0..self.prefixes.len()));
                self.next_session(group)
            })
            .collect()
    }

    /// The next `count` requests to discard. They bring every shared beginning into the server's cache, and nothing else that
    /// is measured.
    pub fn take_warmup(&mut self, count: usize) -> Vec<Session> {
        let count = if count == 0 {
            0
        } else {
            count.max(self.prefixes.len())
        };
        (0..count)
            .map(|index| {
                let group = (!self.prefixes.is_empty()).then(|| index % self.prefixes.len());
                let mut session = self.next_session(group);
                // One turn warms as well as several.
                session.turns.truncate(1);
                session
            })
            .collect()
    }

    fn next_session(&mut self, group: Option<usize>) -> Session {
        if self.workload.prompt.cache == Cache::Hot
            && let Some(hot) = &self.hot
        {
            return hot.clone();
        }
        let session = match &self.workload.prompt.source {
            Source::Jsonl { .. } => self.recorded(),
            Source::Synthetic | Source::Inline(_) => Session {
                turns: (0..self.workload.turns.count)
                    .map(|turn| self.made_up(turn, group))
                    .collect(),
            },
        };
        if self.workload.prompt.cache == Cache::Hot {
            self.hot = Some(session.clone());
        }
        session
    }

    /// The next row, with the rows of the same session that follow it.
    fn recorded(&mut self) -> Session {
        let Source::Jsonl { rows, .. } = self.workload.prompt.source.clone() else {
            unreachable!("only called for recorded work");
        };
        let first = &rows[self.next_row % rows.len()];
        let mut turns = Vec::new();
        loop {
            let row = &rows[self.next_row % rows.len()];
            let mut item = self.item(row.input.clone());
            item.label.clone_from(&row.label);
            item.max_tokens = row.max_tokens.unwrap_or(item.max_tokens);
            if turns.is_empty() && self.workload.prompt.cache == Cache::Cold {
                self.make_cold(&mut item.input);
            }
            turns.push(item);
            self.next_row = (self.next_row + 1) % rows.len();
            let same = first.session.is_some() && rows[self.next_row].session == first.session;
            if !same || turns.len() == rows.len() {
                return Session { turns };
            }
        }
    }

    /// Puts words that no other text begins with in front, where servers cache prompts. Vectors and labels are not cached by
    /// their beginnings, and a recorded text with a known label shall stay what it is.
    fn make_cold(&mut self, input: &mut Input) {
        if !self.workload.kind.streams() {
            return;
        }
        let nonce = self.nonces.next_words().join(" ");
        match input {
            Input::Text(text) => *text = format!("{nonce}. {text}"),
            Input::Messages(messages) => {
                if let Some(first) = messages.first_mut() {
                    first.content = format!("{nonce}. {}", first.content);
                }
            }
            Input::Texts(_) => {}
        }
    }

    fn made_up(&mut self, turn: usize, group: Option<usize>) -> Item {
        let input = match self.workload.kind {
            Kind::Embed if self.workload.prompt.batch > 1 => {
                let texts = (0..self.workload.prompt.batch).map(|_| self.text(0));
                Input::Texts(texts.collect())
            }
            Kind::Embed | Kind::Classify => Input::Text(self.text(0)),
            Kind::Generate => {
                let text = self.text(turn);
                Input::Text(match group {
                    Some(group) => format!("{}\n\n{text}", self.prefixes[group]),
                    None => text,
                })
            }
            Kind::Chat => {
                let mut messages = Vec::new();
                if let (0, Some(group)) = (turn, group) {
                    messages.push(Message {
                        role: Role::System,
                        content: self.prefixes[group].clone(),
                    });
                }
                messages.push(Message {
                    role: Role::User,
                    content: self.text(turn),
                });
                Input::Messages(messages)
            }
        };
        self.item(input)
    }

    fn item(&mut self, input: Input) -> Item {
        Item {
            input,
            max_tokens: self.workload.output.tokens.draw(&mut self.data),
            seed: self.sampling.random_range(0..=i32::MAX),
            label: None,
        }
    }

    /// One text. The first of a conversation begins like no other.
    fn text(&mut self, turn: usize) -> String {
        let nonce = self.nonces.next_words();
        let kind = self.workload.kind;
        if let Source::Inline(texts) = &self.workload.prompt.source {
            let text = &texts[self.data.random_range(0..texts.len())];
            let separator = match kind {
                Kind::Generate | Kind::Chat => ". ",
                Kind::Embed => " ",
                Kind::Classify => ": ",
            };
            return format!("{}{separator}{text}", nonce.join(" "));
        }
        let tokens = self.workload.prompt.tokens.draw(&mut self.data);
        let words = to_words(tokens, self.workload.prompt.tokens_per_word);
        let ending = if kind.streams() {
            texts::endless(turn)
        } else {
            ""
        };
        let rest = words.saturating_sub(ending.split_whitespace().count());
        let text = texts::beginning_with(&nonce, rest.max(nonce.len()), &mut self.data);
        if ending.is_empty() {
            text
        } else {
            format!("{text}. {ending}")
        }
    }
}

fn to_words(tokens: u64, tokens_per_word: f64) -> usize {
    (tokens as f64 / tokens_per_word).round() as usize
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;
    use crate::workload::{Lengths, Prefix, Row, nonce, preset};

    fn workload(name: &str) -> Workload {
        preset(name).unwrap().parts.remove(0).workload
    }

    fn texts(sessions: &[Session]) -> Vec<String> {
        let of = |input: &Input| match input {
            Input::Text(text) => vec![text.clone()],
            Input::Texts(texts) => texts.clone(),
            Input::Messages(messages) => messages.iter().map(|one| one.content.clone()).collect(),
        };
        sessions
            .iter()
            .flat_map(|session| &session.turns)
            .flat_map(|item| of(&item.input))
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_work_and_another_seed_other_work() {
        for name in crate::workload::names() {
            for part in preset(name).unwrap().parts {
                let take = |seed| Inputs::new(&part.workload, seed).take(20);
                assert_eq!(take(42), take(42));
                assert_ne!(texts(&take(42)), texts(&take(43)), "{name}");
            }
        }
    }

    #[test]
    fn no_two_cold_texts_begin_alike() {
        for name in ["generate", "embed", "classify", "embed-bulk"] {
            let texts = texts(&Inputs::new(&workload(name), 1).take(5_000));
            let beginnings: HashSet<Vec<&str>> = texts
                .iter()
                .map(|text| text.split([' ', '.', ':']).take(nonce::WORDS).collect())
                .collect();
            assert_eq!(beginnings.len(), texts.len(), "{name}");
        }
    }

    #[test]
    fn texts_have_the_lengths_that_the_description_states() {
        let lengths = |name, nonce: usize| {
            let texts = texts(&Inputs::new(&workload(name), 5).take(2_000));
            let words = texts.iter().map(|text| text.split(' ').count() - nonce);
            let words: Vec<usize> = words.collect();
            (*words.iter().min().unwrap(), *words.iter().max().unwrap())
        };
        assert_eq!(lengths("generate", nonce::WORDS), (5, 7));
        assert_eq!(lengths("embed", 0), (8, 32));
        assert_eq!(lengths("classify", nonce::WORDS), (5, 11));
    }

    #[test]
    fn synthetic_prompts_are_as_long_as_asked_for() {
        let mut chat = workload("chat-short");
        chat.prompt.tokens = Lengths::Const { value: 400 };
        chat.prompt.tokens_per_word = 2.0;
        for text in texts(&Inputs::new(&chat, 1).take(10)) {
            assert_eq!(text.split_whitespace().count(), 200, "{text}");
        }
    }

    #[test]
    fn shared_beginnings_are_shared_by_their_groups_and_all_warmed() {
        let mut rag = workload("rag-shared-prefix");
        rag.prompt.prefix = Prefix {
            share: 0.5,
            tokens: 100,
            groups: 3,
        };
        let mut inputs = Inputs::new(&rag, 1);
        let system = |session: &Session| match &session.turns[0].input {
            Input::Messages(messages) if messages.len() == 2 => Some(messages[0].content.clone()),
            _ => None,
        };
        let warm: HashSet<String> = inputs.take_warmup(1).iter().filter_map(system).collect();
        assert_eq!(warm.len(), 3, "a request for every group");
        let measured = inputs.take(1_000);
        let shared: Vec<String> = measured.iter().filter_map(system).collect();
        assert!((400..600).contains(&shared.len()), "{}", shared.len());
        assert_eq!(shared.into_iter().collect::<HashSet<_>>(), warm);
    }

    #[test]
    fn a_hot_prompt_is_always_the_same_one() {
        let mut hot = workload("generate");
        hot.prompt.cache = Cache::Hot;
        let mut inputs = Inputs::new(&hot, 1);
        let warm = texts(&inputs.take_warmup(1));
        assert_eq!(texts(&inputs.take(2)), [warm.clone(), warm].concat());
    }

    #[test]
    fn recorded_sessions_keep_their_turns_and_begin_cold() {
        let row = |text: &str, session: Option<&str>| Row {
            input: Input::Text(text.into()),
            label: None,
            max_tokens: Some(7),
            at: Some(Duration::ZERO),
            session: session.map(Into::into),
        };
        let mut recorded = workload("generate");
        recorded.prompt.source = Source::Jsonl {
            path: "rows.jsonl".into(),
            rows: vec![row("a", Some("s")), row("b", Some("s")), row("c", None)].into(),
        };
        let sessions = Inputs::new(&recorded, 1).take(3);
        let turns: Vec<usize> = sessions.iter().map(|session| session.turns.len()).collect();
        assert_eq!(turns, [2, 1, 2], "rows are used over and over");
        let texts = texts(&sessions);
        assert!(texts[0].ends_with(". a") && texts[1] == "b", "{texts:?}");
        assert_ne!(texts[0], texts[3], "and are cold again");
        assert_eq!(sessions[0].turns[0].max_tokens, 7);
    }
}

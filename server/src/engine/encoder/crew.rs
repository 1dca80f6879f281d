//! The threads of an encoder.
//!
//! A short batch is one pack that all threads share: the caller's leads, and the others help as soon as they are awake. A longer one is cut into packs, and
//! each thread takes one after another for itself, without waiting for the others: that is faster as soon as there is work for all.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::network::{Memory, Network, Pack, SHORT_TOKENS, Team};
use super::simd::Kernels;
use crate::inference::encode::Tokenized;

/// Tokens of a pack that a thread computes for itself: so many that every weight is used often while it is near, and so few that the
/// activations stay near as well.
const PACK_TOKENS: usize = 128;

/// Pieces for each thread that a step is cut into. More than one, so that a thread that is late or slow finds less to do. Attention
/// of a pack that is not shared has as many.
const PIECES: usize = 2;

/// Tokens from which on a pack is shared. A smaller one is done before another thread is awake.
const SHARED_TOKENS: usize = 6;

/// The threads; the one that asks is the first of them.
#[derive(Debug)]
pub(super) struct Crew {
    network: Arc<Network>,
    kernels: Kernels,
    /// Those who share a pack; nobody helps the caller's thread with others.
    team: Arc<Team>,
    memory: Memory,
    hands: Vec<Hand>,
}

/// Another thread.
#[derive(Debug)]
struct Hand {
    orders: Sender<Order>,
    done: Receiver<()>,
    /// Whether it was called to help and has not seen that yet.
    called: Arc<AtomicBool>,
}

/// What a thread is asked to do.
enum Order {
    /// Help with what the leader computes, if that still goes on. Not answered.
    Help,
    /// Packs, as long as there are any.
    Packs(Arc<Work>),
}

/// Packs to be computed, and their results.
struct Work {
    packs: Vec<Pack>,
    next: AtomicUsize,
    results: Vec<Mutex<Vec<Vec<f32>>>>,
}

impl Crew {
    /// Starts the threads.
    pub fn new(network: &Arc<Network>, kernels: Kernels, threads: usize) -> Self {
        let heads = network.shape.heads;
        let threads = threads.clamp(1, heads);
        let pieces = (PIECES * threads).min(heads);
        let team = Arc::new(Team::new(pieces));
        let hands = (1..threads)
            .map(|number| Hand::start(Arc::clone(network), kernels, Arc::clone(&team), number))
            .collect();
        Self {
            network: Arc::clone(network),
            kernels,
            team,
            memory: Memory::default(),
            hands,
        }
    }

    /// The vectors of every text's tokens.
    pub fn encode(&mut self, texts: &[&Tokenized]) -> Vec<Vec<f32>> {
        let is_short = |text: &Tokenized| text.ids.len() <= SHORT_TOKENS;
        let (short, long): (Vec<&Tokenized>, Vec<&Tokenized>) =
            texts.iter().partition(|text| is_short(text));
        let mut encoded = if texts.len() > 1 && tokens(texts) > PACK_TOKENS {
            self.in_packs(&short, &long)
        } else {
            [(&short, true), (&long, false)].map(|(texts, is_precise)| match texts.is_empty() {
                true => Vec::new(),
                false => self.together(texts, is_precise),
            })
        }
        .map(Vec::into_iter);
        let of = |text: &&Tokenized| encoded[usize::from(!is_short(text))].next();
        texts.iter().map_while(of).collect()
    }

    /// Texts of a pack that all threads share. They are all short, and so to be computed precisely, or all not.
    fn together(&mut self, texts: &[&Tokenized], is_precise: bool) -> Vec<Vec<f32>> {
        let pack = Pack {
            is_precise,
            is_shared: !self.hands.is_empty() && tokens(texts) >= SHARED_TOKENS,
            ..Pack::of(texts.iter().copied())
        };
        let team = &*self.team;
        if pack.is_shared {
            team.board().begin();
            self.hands.iter().for_each(Hand::call);
        }
        let memory = &mut self.memory;
        let vectors = self
            .network
            .lead(self.kernels, &pack, team, memory, &mut |_, _, _| {});
        team.board().end();
        split(&self.network, &pack, vectors)
    }

    /// Short texts and long ones in packs, of which every thread takes one after another: the vectors of both.
    fn in_packs(&mut self, short: &[&Tokenized], long: &[&Tokenized]) -> [Vec<Vec<f32>>; 2] {
        let threads = 1 + self.hands.len();
        let mut packs = cut(long, threads);
        let long_packs = packs.len();
        // Beside long ones they keep nobody from work: no more packs than there must be.
        packs.extend(cut(short, if long.is_empty() { threads } else { 1 }));
        for pack in &mut packs[long_packs..] {
            pack.is_precise = true;
        }
        let work = Arc::new(Work {
            results: packs.iter().map(|_| Mutex::default()).collect(),
            packs,
            next: AtomicUsize::new(0),
        });
        for hand in &self.hands {
            hand.order(Order::Packs(Arc::clone(&work)));
        }
        work.take(&self.network, self.kernels, &self.team, &mut self.memory);
        self.await_hands();
        let take =
            |result: &Mutex<Vec<Vec<f32>>>| std::mem::take(&mut *result.lock().expect(UNHARMED));
        let (long, short) = work.results.split_at(long_packs);
        [short, long].map(|results| results.iter().flat_map(take).collect())
    }

    fn await_hands(&self) {
        for hand in &self.hands {
            hand.done.recv().expect(UNHARMED);
        }
    }
}

/// Tokens of texts.
fn tokens(texts: &[&Tokenized]) -> usize {
    texts.iter().map(|text| text.ids.len()).sum()
}

/// Cuts texts into packs: as equal as can be, and one for each thread at least.
pub(super) fn cut(texts: &[&Tokenized], threads: usize) -> Vec<Pack> {
    let tokens = tokens(texts);
    let packs = tokens.div_ceil(PACK_TOKENS).max(threads.min(texts.len()));
    let most = tokens.div_ceil(packs.max(1));
    let mut cut: Vec<Vec<&Tokenized>> = Vec::new();
    let mut room = 0;
    for &text in texts {
        // A text that goes beyond by half or less is still nearer here than in a pack of its own.
        if text.ids.len() > room + most / 2 || cut.is_empty() {
            cut.push(Vec::new());
            room = most;
        }
        room = room.saturating_sub(text.ids.len());
        cut.last_mut().expect("one was pushed").push(text);
    }
    cut.into_iter().map(Pack::of).collect()
}

/// Why locks and channels between the threads hold.
const UNHARMED: &str = "a thread of the crew panics only together with the process";

impl Hand {
    fn start(network: Arc<Network>, kernels: Kernels, team: Arc<Team>, number: usize) -> Self {
        let (orders, ordered) = channel();
        let (tell, done) = channel();
        let called = Arc::new(AtomicBool::new(false));
        let is_called = Arc::clone(&called);
        let work = move || {
            let alone = Team::new(team.board().pieces());
            let mut memory = Memory::default();
            while let Ok(order) = ordered.recv() {
                match order {
                    Order::Help => {
                        // Before looking whether there is anything to help with, so that no call is missed.
                        is_called.store(false, Ordering::SeqCst);
                        network.help(kernels, &team, &mut memory.tools);
                    }
                    Order::Packs(work) => {
                        work.take(&network, kernels, &alone, &mut memory);
                        if tell.send(()).is_err() {
                            break;
                        }
                    }
                }
            }
        };
        // A panic in one thread would leave the others waiting for it: the process ends instead, and is started anew.
        let guarded = move || {
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
                std::process::abort();
            }
        };
        thread::Builder::new()
            .name(format!("encoder-{number}"))
            .spawn(guarded)
            .expect("a thread can be started while a model is loaded");
        Self {
            orders,
            done,
            called,
        }
    }

    /// Calls it to help. It may be asleep: whoever calls does not wait for it, and one call at a time is enough.
    fn call(&self) {
        if !self.called.swap(true, Ordering::SeqCst) {
            self.order(Order::Help);
        }
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect(UNHARMED);
    }
}

impl Work {
    fn take(&self, network: &Network, kernels: Kernels, team: &Team, memory: &mut Memory) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(pack) = self.packs.get(index) else {
                return;
            };
            let vectors = network.lead(kernels, pack, team, memory, &mut |_, _, _| {});
            *self.results[index].lock().expect(UNHARMED) = split(network, pack, vectors);
        }
    }
}

/// The vectors of each text's tokens, without what fills them up.
fn split(network: &Network, pack: &Pack, vectors: &[f32]) -> Vec<Vec<f32>> {
    let (width, padded) = (network.shape.width, network.shape.padded_width());
    let text = |text: &std::ops::Range<usize>| {
        let rows = vectors[text.start * padded..text.end * padded].chunks_exact(padded);
        rows.flat_map(|row| &row[..width]).copied().collect()
    };
    pack.texts.iter().map(text).collect()
}

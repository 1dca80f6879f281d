//! How the room for tokens is divided among the sequences of a context.
//!
//! Most models have one pool of cells for all: a sequence takes as many as it has tokens, sequences that begin alike share
//! those of the beginning, and a step computes prompts and streams together. Where llama.cpp cannot do that without
//! changing what is computed, each sequence has room of its own for a whole context.

use llama_cpp_2::model::LlamaModel;

use super::ffi;
use super::load::of_architecture;

/// Sequences beyond those that advance: each keeps one ended conversation for the next turn. They cost nothing but the
/// cells that are wanted for nothing else.
const SPARE_SEQUENCES: u32 = 24;

/// llama.cpp's `LLAMA_MAX_SEQ`.
const MOST_SEQUENCES: u32 = 256;

/// See the module.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pool {
    /// Sequences that can advance together.
    pub(super) slots: u32,
    /// Sequences that are kept.
    pub(super) sequences: u32,
    /// Tokens of all of them.
    pub(super) cells: u32,
    /// Whether sequences share cells.
    pub(super) shares: bool,
}

/// What of a model decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    /// It keeps a state that is no list of tokens.
    pub(super) is_recurrent: bool,
    /// Some layers look only at the newest tokens. In a common pool llama.cpp would overwrite the older ones of others, and
    /// a conversation could not be gone on from.
    pub(super) has_window: bool,
    /// Tokens up to which positions are turned as trained. llama.cpp chooses how to turn them by the size of the pool, as
    /// it was meant for one sequence.
    pub(super) plain_context: Option<u32>,
}

impl Traits {
    pub(super) fn of(model: &LlamaModel) -> Self {
        let plain = of_architecture(model, "rope.scaling.original_context_length");
        Self {
            is_recurrent: model.is_recurrent() || model.is_hybrid(),
            has_window: ffi::has_window(model),
            plain_context: plain.and_then(|length| length.parse().ok()),
        }
    }
}

impl Pool {
    /// For sequences of this context, if so many tokens may be held and so many sequences are to advance together. `None`
    /// for more tokens than can be counted.
    pub(super) fn new(traits: Traits, context: u32, slots: u32, cells: u32) -> Option<Self> {
        let slots = slots.clamp(1, MOST_SEQUENCES);
        let cells = cells.max(context);
        if traits.is_recurrent || traits.has_window {
            let slots = slots.min(cells / context);
            return Some(Self {
                slots,
                sequences: slots,
                cells: context.checked_mul(slots)?,
                shares: false,
            });
        }
        let most = match traits.plain_context {
            Some(plain) if context <= plain => plain,
            _ => u32::MAX,
        };
        Some(Self {
            slots,
            sequences: (slots + SPARE_SEQUENCES).min(MOST_SEQUENCES),
            cells: cells.min(most),
            shares: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Traits = Traits {
        is_recurrent: false,
        has_window: false,
        plain_context: None,
    };

    #[test]
    fn sequences_share_one_pool_where_that_changes_nothing() {
        let pool = Pool::new(PLAIN, 4096, 8, 10_000).unwrap();
        assert_eq!(
            (pool.slots, pool.sequences, pool.cells, pool.shares),
            (8, 32, 10_000, true)
        );
        // At least one conversation.
        assert_eq!(Pool::new(PLAIN, 4096, 8, 0).unwrap().cells, 4096);
    }

    #[test]
    fn others_have_room_of_their_own() {
        for traits in [
            Traits {
                is_recurrent: true,
                ..PLAIN
            },
            Traits {
                has_window: true,
                ..PLAIN
            },
        ] {
            let pool = Pool::new(traits, 4096, 8, 10_000).unwrap();
            assert_eq!(
                (pool.slots, pool.sequences, pool.cells, pool.shares),
                (2, 2, 8192, false)
            );
            assert_eq!(Pool::new(traits, 4096, 8, 0).unwrap().slots, 1);
        }
    }

    #[test]
    fn a_pool_does_not_change_how_positions_are_turned() {
        let check = |context, expected| {
            let traits = Traits {
                plain_context: Some(4096),
                ..PLAIN
            };
            assert_eq!(
                Pool::new(traits, context, 8, 32_768).unwrap().cells,
                expected
            );
        };
        check(2048, 4096);
        check(4096, 4096);
        check(8192, 32_768);
    }
}

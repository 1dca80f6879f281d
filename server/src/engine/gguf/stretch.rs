//! How deep splitting a text goes.
//!
//! For many vocabularies (`gpt-4o`, `tekken`, `deepseek-v3` and a dozen more) llama.cpp splits texts with `std::regex`, which
//! recurses for every character of a piece: 26,000 spaces or letters in a row fill a stack of 8 MiB, and the process dies of it
//! (<https://github.com/ggml-org/llama.cpp/issues/17786>). Texts like that are split on a stack that is long enough.

/// Stack for a character of a piece: GCC's library takes 326 bytes.
const BYTES_PER_CHARACTER: usize = 512;

/// Longest piece that any thread's stack has room for.
const ANYWHERE: usize = 2048;

/// Stack for everything but the recursion.
const BASE_BYTES: usize = 1 << 20;

/// The stack that splitting this text may take; `None` if any will do.
pub(super) fn stack_bytes(text: &str) -> Option<usize> {
    let longest = longest(text);
    (longest > ANYWHERE)
        .then(|| BASE_BYTES.saturating_add(longest.saturating_mul(BYTES_PER_CHARACTER)))
}

/// Characters of the longest piece that a pattern may find: a word, however it is written, with the space on both sides of it.
fn longest(text: &str) -> usize {
    let (mut before, mut word, mut after) = (0, 0, 0);
    let mut longest = 0;
    for character in text.chars() {
        match (character.is_whitespace(), after) {
            (true, _) => after += 1,
            (false, 0) => word += 1,
            (false, _) => {
                longest = longest.max(before + word + after);
                (before, word, after) = (after, 1, 0);
            }
        }
    }
    longest.max(before + word + after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_a_word_with_the_space_around_it() {
        for (text, expected) in [
            ("", 0),
            ("word", 4),
            ("one two three", 6),
            ("   ", 3),
            ("a    bb  c", 8),
            ("a\n\n\n\nb", 5),
            ("日本語のテキスト です", 9),
        ] {
            assert_eq!(longest(text), expected, "{text:?}");
        }
    }

    #[test]
    fn only_long_pieces_need_a_stack_of_their_own() {
        assert_eq!(stack_bytes(&"some words ".repeat(100_000)), None);
        let spaces = " ".repeat(100_000);
        assert!(stack_bytes(&spaces).is_some_and(|bytes| bytes > 326 * 100_000));
    }
}

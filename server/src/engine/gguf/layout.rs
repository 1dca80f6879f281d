//! Where the tokens of a sequence lie. The loop counts tokens: each takes one cell of the cache. llama.cpp counts
//! positions, and where a model turns its keys in several dimensions (M-RoPE, as Qwen-VL) an image of many tokens takes
//! only as many positions as its longer side has patches. Behind such an image the two counts part.

/// What an image takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Extent {
    /// Cells of the cache.
    pub(super) tokens: u32,
    /// Positions until the next token.
    pub(super) positions: u32,
}

/// The tokens of one sequence.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Layout {
    tokens: u32,
    /// In the order in which they lie.
    images: Vec<Shown>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Shown {
    /// Its first token.
    start: u32,
    extent: Extent,
}

impl Shown {
    fn end(&self) -> u32 {
        self.start + self.extent.tokens
    }
}

impl Layout {
    /// How many tokens there are.
    pub(super) fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Whether images are among them.
    pub(super) fn has_images(&self) -> bool {
        !self.images.is_empty()
    }

    /// The position of a token outside of images, or of an image's first one; of the next one to come too.
    pub(super) fn position(&self, token: u32) -> u32 {
        let before = self.images.iter().take_while(|image| image.end() <= token);
        before.fold(token, |position, image| {
            position + image.extent.positions - image.extent.tokens
        })
    }

    /// Adds tokens of text.
    pub(super) fn extend(&mut self, tokens: u32) {
        self.tokens += tokens;
    }

    /// Adds an image.
    pub(super) fn show(&mut self, extent: Extent) {
        self.images.push(Shown {
            start: self.tokens,
            extent,
        });
        self.tokens += extent.tokens;
    }

    /// The last token at or before this one where a cut goes through no image: the rest of an image cannot be computed
    /// alone.
    pub(super) fn whole(&self, token: u32) -> u32 {
        let through = (self.images.iter()).find(|image| image.start < token && token < image.end());
        through.map_or(token.min(self.tokens), |image| image.start)
    }

    /// Forgets what begins at this token or behind it.
    pub(super) fn truncate(&mut self, token: u32) {
        self.images.retain(|image| image.end() <= token);
        self.tokens = self.tokens.min(token);
    }

    /// Forgets tokens in the middle of a sequence without images, where tokens are positions.
    pub(super) fn remove(&mut self, count: u32) {
        self.tokens -= count;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(tokens: u32, positions: u32) -> Extent {
        Extent { tokens, positions }
    }

    #[test]
    fn positions_fall_behind_tokens_after_an_image() {
        let mut layout = Layout::default();
        layout.extend(3);
        // 4 by 3 patches between two tokens of their own.
        layout.show(image(14, 6));
        layout.extend(2);
        layout.show(image(5, 5));
        assert_eq!(layout.tokens(), 24);
        let positions = [0, 2, 3, 17, 18, 19, 24].map(|token| layout.position(token));
        assert_eq!(positions, [0, 2, 3, 9, 10, 11, 16]);
    }

    #[test]
    fn no_cut_goes_through_an_image() {
        let mut layout = Layout::default();
        layout.extend(3);
        layout.show(image(14, 6));
        layout.extend(2);
        let whole = [0, 3, 4, 16, 17, 18, 40].map(|token| layout.whole(token));
        assert_eq!(whole, [0, 3, 3, 3, 17, 18, 19]);
        layout.truncate(17);
        assert!(layout.has_images());
        layout.truncate(3);
        assert_eq!((layout.tokens(), layout.has_images()), (3, false));
    }

    proptest! {
        /// Whatever was laid down one after the other, every part begins where the part before it ended.
        #[test]
        fn positions_are_the_sum_of_what_lies_before(parts in prop::collection::vec((0_u32..50, 1_u32..50, 1_u32..50), 0..8)) {
            let mut layout = Layout::default();
            let mut expected = 0;
            for (text, tokens, positions) in parts {
                let positions = positions.min(tokens);
                layout.extend(text);
                expected += text;
                prop_assert_eq!(layout.position(layout.tokens()), expected);
                let start = layout.tokens();
                layout.show(image(tokens, positions));
                prop_assert_eq!(layout.position(start), expected);
                expected += positions;
                prop_assert_eq!(layout.position(layout.tokens()), expected);
            }
        }
    }
}

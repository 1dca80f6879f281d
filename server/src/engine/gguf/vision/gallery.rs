//! The numbers of images: the same for the same file, as long as it is remembered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use crate::inference::Token;

/// Images whose numbers are remembered. One that is forgotten and comes again is only computed again.
const KNOWN_IMAGES: usize = 4096;

/// SHA-256 of a file.
pub(super) type Hash = [u8; 32];

/// What is known of images: numbers of files, and what jobs hold of them.
pub(super) struct Gallery<P> {
    /// The placeholder of each known image.
    known: HashMap<Hash, Token>,
    /// The same images, the oldest first.
    order: VecDeque<Hash>,
    /// Images that a job holds, by placeholder.
    held: HashMap<Token, Weak<P>>,
    /// Placeholders given so far.
    given: i32,
}

impl<P> Default for Gallery<P> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
            held: HashMap::new(),
            given: 0,
        }
    }
}

impl<P> Gallery<P> {
    /// The image of this placeholder, if a job holds it.
    pub(super) fn held(&self, token: Token) -> Option<Arc<P>> {
        self.held.get(&token)?.upgrade()
    }

    /// The image of this file, if a job holds it.
    pub(super) fn known(&self, hash: &Hash) -> Option<Arc<P>> {
        self.held(*self.known.get(hash)?)
    }

    /// Notes what the image of a file is and gives its placeholder.
    pub(super) fn hang(&mut self, hash: Hash, picture: &Arc<P>) -> Token {
        let known = self.known.get(&hash).copied();
        let token = known.unwrap_or_else(|| self.number(hash));
        self.held.retain(|_, picture| picture.strong_count() > 0);
        self.held.insert(token, Arc::downgrade(picture));
        token
    }

    /// A placeholder for an image that has none. They come round after two billion images, when nothing of the first is
    /// left in a cache.
    fn number(&mut self, hash: Hash) -> Token {
        if self.order.len() >= KNOWN_IMAGES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.given = self.given.checked_add(1).unwrap_or(1);
        let token = -self.given;
        self.known.insert(hash, token);
        self.order.push_back(hash);
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_number_and_its_picture_as_long_as_it_is_held() {
        let mut gallery = Gallery::default();
        let [one, other] = [Arc::new(1), Arc::new(2)];
        let first = gallery.hang([1; 32], &one);
        let second = gallery.hang([2; 32], &other);
        assert!(first < 0 && second < 0 && first != second);
        assert_eq!(gallery.held(first).as_deref(), Some(&1));
        drop(one);
        assert!(gallery.known(&[1; 32]).is_none());
        let again = Arc::new(1);
        assert_eq!(gallery.hang([1; 32], &again), first);
        assert_eq!(gallery.known(&[2; 32]).as_deref(), Some(&2));
    }

    #[test]
    fn the_oldest_files_are_forgotten() {
        let mut gallery = Gallery::default();
        let picture = Arc::new(());
        let hash = |number: usize| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            hash
        };
        let first = gallery.hang(hash(0), &picture);
        for number in 1..=KNOWN_IMAGES {
            gallery.hang(hash(number), &picture);
        }
        assert_ne!(gallery.hang(hash(0), &picture), first);
        assert!(gallery.known.len() <= KNOWN_IMAGES);
    }
}

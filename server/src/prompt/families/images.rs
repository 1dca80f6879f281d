//! Where images stand in a prompt: a mark for each, numbered through the conversation, which whoever holds the images
//! replaces by them.

use crate::prompt::Message;

/// What the user writes where an image belongs.
const PLACE: &str = "[img]";

/// The mark of an image, by its place among all images of the conversation, from 0.
#[must_use]
pub fn image_mark(index: usize) -> String {
    format!("[img-{index}]")
}

/// Counts images through a conversation.
#[derive(Debug, Default)]
pub(super) struct Images {
    next: usize,
}

impl Images {
    /// A message's content with the marks of its images: where the user put them, or else in front.
    pub(super) fn place(&mut self, message: &Message) -> String {
        self.place_in(&message.content, message.images)
    }

    /// The same of a content that was changed before.
    pub(super) fn place_in(&mut self, content: &str, images: usize) -> String {
        let first = self.next;
        self.next += images;
        if images == 0 || content.contains("[img-") {
            return content.to_owned();
        }
        let mut content = content.to_owned();
        let mut front = String::new();
        for mark in (first..self.next).map(image_mark) {
            if content.contains(PLACE) {
                content = content.replacen(PLACE, &mark, 1);
            } else {
                front.push_str(&mark);
            }
        }
        if !front.is_empty() && content.starts_with(|first: char| !first.is_whitespace()) {
            front.push(' ');
        }
        front + &content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_where_the_user_put_them_or_in_front() {
        let check = |content: &str, images, expected: &str| {
            let mut counted = Images { next: 3 };
            assert_eq!(counted.place_in(content, images), expected);
            assert_eq!(counted.next, 3 + images);
        };
        check("Hi", 0, "Hi");
        check("Hi", 2, "[img-3][img-4] Hi");
        check(" Hi", 1, "[img-3] Hi");
        check("", 1, "[img-3]");
        check("a [img] b [img] c", 3, "[img-5] a [img-3] b [img-4] c");
        check("a [img-0]", 1, "a [img-0]");
    }
}

use std::time::Instant;

use bytes::Bytes;

/// Splits a streamed body into its lines, whatever the pieces in which it was read: a line may span several reads, a
/// read may hold several lines. Each line carries the time of the read that completed it, which is when a client could
/// first use it. A last line without a newline is still a line; blank ones are not.
pub(super) fn lines(reads: &[(Instant, Bytes)]) -> Vec<(Instant, Vec<u8>)> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    for (at, bytes) in reads {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        line.extend_from_slice(pieces.next().unwrap_or_default());
        for piece in pieces {
            lines.push((*at, std::mem::replace(&mut line, piece.to_vec())));
        }
    }
    if let Some((at, _)) = reads.last() {
        lines.push((*at, line));
    }
    lines.retain(|(_, line)| !line.trim_ascii().is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_body_is_cut(
            texts in prop::collection::vec("[a-zéñ漢]{1,12}", 1..8),
            cuts in prop::collection::vec(0.0..1.0f64, 0..10),
            newline_at_end: bool,
        ) {
            let mut body = texts.join("\n").into_bytes();
            if newline_at_end {
                body.push(b'\n');
            }
            let mut ends: Vec<usize> = cuts.iter().map(|cut| (cut * body.len() as f64) as usize).collect();
            ends.push(body.len());
            ends.sort_unstable();

            let start = Instant::now();
            let stamp = |read: usize| start + Duration::from_millis(read as u64);
            let mut from = 0;
            let mut reads = Vec::new();
            for (read, end) in ends.iter().enumerate() {
                reads.push((stamp(read), Bytes::copy_from_slice(&body[from..*end])));
                from = *end;
            }

            let got = lines(&reads);
            let words: Vec<String> = got.iter().map(|(_, line)| String::from_utf8(line.clone()).unwrap()).collect();
            prop_assert_eq!(words, texts.clone());

            // A line's time is that of the read in which its newline (or the body's end) lies.
            let mut position = 0;
            for (index, text) in texts.iter().enumerate() {
                position += text.len() + 1;
                let needed = if index + 1 == texts.len() && !newline_at_end { body.len() } else { position };
                let read = if needed == body.len() && !newline_at_end {
                    ends.len() - 1
                } else {
                    ends.iter().position(|end| *end >= needed).unwrap()
                };
                prop_assert_eq!(got[index].0, stamp(read));
            }
        }
    }
}

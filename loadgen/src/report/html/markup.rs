//! Text into HTML and SVG. Names, versions and error words come from servers: all of them pass through [`escape`].

use std::fmt::Write;

/// `text` as it may stand in an element or in a quoted attribute. Characters that would hide or reorder what follows are
/// replaced, because a server's version string may hold them.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{fffd}');
            }
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// A coordinate with one decimal: a tenth of a unit is finer than a pixel.
pub(super) fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A table with a head; every cell is escaped. The first column names its row.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = String::from("<div class=\"scroll\"><table><thead><tr>");
    for cell in head {
        add(
            &mut out,
            format_args!("<th scope=\"col\">{}</th>", escape(cell)),
        );
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            if index == 0 {
                add(&mut out, format_args!("<th scope=\"row\">{cell}</th>"));
            } else {
                add(&mut out, format_args!("<td>{cell}</td>"));
            }
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// Adds formatted text to `out`.
pub(super) fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_strangers_text_is_markup() {
        assert_eq!(
            escape("<script>alert('1')</script> & \"x\""),
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;"
        );
        assert_eq!(
            escape("v1\u{202e}3.2\u{0}\u{1b}[31m"),
            "v1\u{fffd}3.2\u{fffd}\u{fffd}[31m"
        );
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!(
            [1.0, 1.04, 12.34, -3.0].map(coordinate),
            ["1", "1", "12.3", "-3"]
        );
    }
}

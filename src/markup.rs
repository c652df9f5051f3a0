//! Text in pages and pictures.

use crate::printable::printable_lines;

/// The text as HTML and XML show it, between tags or as a quoted attribute: nothing of it is
/// markup, and nothing of it is obeyed by a terminal.
pub fn escaped(text: &str) -> String {
    let mut markup = String::with_capacity(text.len());
    for character in printable_lines(text).chars() {
        match character {
            '&' => markup.push_str("&amp;"),
            '<' => markup.push_str("&lt;"),
            '>' => markup.push_str("&gt;"),
            '"' => markup.push_str("&quot;"),
            '\'' => markup.push_str("&#39;"),
            _ => markup.push(character),
        }
    }
    markup
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_markup_is_made_of_is_escaped() {
        assert_eq!(
            escaped("<a href=\"x\" title='y'>&\u{1b}\n"),
            "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;\u{fffd}\n"
        );
    }

    proptest! {
        #[test]
        fn no_text_is_markup(text in "(?s).*") {
            let markup = escaped(&text);
            prop_assert!(!markup.contains(['<', '>', '"', '\'']));
            let ends = |rest: &str| ["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|it| rest.starts_with(it));
            prop_assert!(markup.split('&').skip(1).all(ends), "{markup}");
            let read = markup.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
            prop_assert_eq!(read.replace("&amp;", "&"), printable_lines(&text));
        }
    }
}

//! Text of others for logs and answers.

use std::fmt::{self, Display, Write};

/// Characters that are shown of one text. 256: more than any name or message for people has, and a
/// bound on lines and answers that repeat what came in a body of 1 MiB.
pub(super) const MAX_SHOWN: usize = 256;

/// Shows a text on one line: its beginning, with control characters escaped, so that no text can
/// look like another line.
pub(super) struct Shown<T>(pub(super) T);

impl<T: Display> Display for Shown<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cut = Cut {
            out: formatter,
            left: MAX_SHOWN,
            is_over: false,
        };
        match write!(cut, "{}", self.0) {
            Err(_) if cut.is_over => formatter.write_char('…'),
            written => written,
        }
    }
}

struct Cut<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    left: usize,
    is_over: bool,
}

impl Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let Some(left) = self.left.checked_sub(1) else {
                self.is_over = true;
                // Whoever writes has no need to go on.
                return Err(fmt::Error);
            };
            self.left = left;
            if character.is_control() {
                write!(self.out, "{}", character.escape_default())?;
            } else {
                self.out.write_char(character)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_shown_as_it_is_and_what_is_long_is_cut() {
        assert_eq!(Shown("für 1 € \"x\"").to_string(), "für 1 € \"x\"");
        let whole = "é".repeat(MAX_SHOWN);
        assert_eq!(Shown(&whole).to_string(), whole);
        assert_eq!(Shown(format!("{whole}é")).to_string(), format!("{whole}…"));
        assert_eq!(Shown("").to_string(), "");
    }

    #[test]
    fn what_would_be_another_line_is_escaped() {
        let shown = Shown("a\r\nb\u{1b}[2J\u{85}").to_string();
        assert_eq!(shown, "a\\r\\nb\\u{1b}[2J\\u{85}");
    }
}

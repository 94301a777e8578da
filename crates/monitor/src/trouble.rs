//! Trouble that goes on: told when it changes, and then once in a while.

use std::time::Duration;

use tokio::time::Instant;

/// The same trouble is told again after so long: enough to see that it goes on, and no flood.
const AGAIN: Duration = Duration::from_mins(1);

/// What was told last, and when.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Option<(String, Instant)>);

impl Trouble {
    /// Whether it is to be told now.
    pub(crate) fn is_news(&mut self, what: &str, now: Instant) -> bool {
        let told = self
            .0
            .as_ref()
            .is_some_and(|(last, at)| last == what && now.saturating_duration_since(*at) < AGAIN);
        if !told {
            self.0 = Some((what.to_owned(), now));
        }
        !told
    }

    /// All is well: what comes next is news.
    pub(crate) fn is_over(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_told_once_a_minute_and_another_at_once() {
        let (mut trouble, start) = (Trouble::default(), Instant::now());
        assert!(trouble.is_news("away", start));
        assert!(!trouble.is_news("away", start + AGAIN / 2));
        assert!(trouble.is_news("forbidden", start + AGAIN / 2));
        assert!(trouble.is_news("forbidden", start + AGAIN * 2));
        trouble.is_over();
        assert!(trouble.is_news("forbidden", start + AGAIN * 2));
    }
}

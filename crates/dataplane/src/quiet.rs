//! Log lines that may come in floods.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How often one kind of line is logged in one place; metrics count each.
const EVERY: Duration = Duration::from_secs(10);

/// Lets one line through, then none for a while.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    state: Mutex<(Option<Instant>, u64)>,
}

impl Quiet {
    /// Whether to log now; then how many lines were held back since the last one.
    pub(crate) fn allow(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (logged, silent) = &mut *state;
        let now = Instant::now();
        if logged.is_some_and(|logged| now.saturating_duration_since(logged) < EVERY) {
            *silent += 1;
            return None;
        }
        *logged = Some(now);
        Some(std::mem::take(silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_one_line_and_a_count() {
        let quiet = Quiet::default();
        let allowed: Vec<_> = (0..5).map(|_| quiet.allow()).collect();
        assert_eq!(allowed, [Some(0), None, None, None, None]);
        tokio::time::advance(EVERY).await;
        assert_eq!(quiet.allow(), Some(4));
    }
}

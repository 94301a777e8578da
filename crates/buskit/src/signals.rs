//! The signals that end a process in order.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at SIGTERM or Ctrl-C, with the signal's name.
pub async fn terminated() -> &'static str {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without handlers a signal ends the process at once: nothing to wait for here.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

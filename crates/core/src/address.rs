//! Addresses: of a channel (in a request), and of a subscriber (in a resource).

mod channel;
mod hosts;
mod subscriber;

pub use channel::{ChannelAddressError, DEFAULT_CLUSTER_DOMAIN, channel_of};
pub use hosts::{HostMap, InvalidHost};
pub use subscriber::{Destination, InvalidDestination};

/// A DNS label as Kubernetes writes names: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

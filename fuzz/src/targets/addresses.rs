//! Addresses: a line each of path, Host, cluster domain, subscriber, and where its answer redirects.

use busway_core::{
    ChannelRef,
    address::{ChannelAddressError, DEFAULT_CLUSTER_DOMAIN, Destination, channel_of},
};

pub(super) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (path, host, domain) = (next(), next(), next());
    for host in [Some(host), None] {
        match channel_of(path, host, domain) {
            Ok(channel) => is_found_again(&channel),
            Err(error @ (ChannelAddressError::Malformed(_) | ChannelAddressError::NotAChannel)) => {
                assert!(!error.to_string().is_empty());
            }
        }
    }
    let (subscriber, location) = (next(), next());
    if let Ok(to) = Destination::parse(subscriber, "shop", DEFAULT_CLUSTER_DOMAIN) {
        is_sound(&to);
        if let Some(there) = to.on_same_host(location) {
            is_sound(&there);
            assert!(there.is_same_host(&to), "{to} {there}");
            assert_eq!(there.authorization(), to.authorization());
        }
    }
}

/// By either form, whatever it was called by.
fn is_found_again(channel: &ChannelRef) {
    let (namespace, name) = (channel.namespace(), channel.name());
    let by_path = channel_of(&format!("/{namespace}/{name}"), None, "");
    assert_eq!(by_path.as_ref(), Ok(channel));
    for host in [
        format!("{name}-channel.{namespace}.svc.{DEFAULT_CLUSTER_DOMAIN}"),
        format!("{name}.{namespace}.channels.{DEFAULT_CLUSTER_DOMAIN}"),
    ] {
        let by_host = channel_of("/", Some(&host), DEFAULT_CLUSTER_DOMAIN);
        // A label has 63 characters, and `-channel` takes eight.
        if name.len() <= 55 {
            assert_eq!(by_host.as_ref(), Ok(channel), "{host}");
        }
    }
}

/// What is shown has nothing secret, and is an address of the same place.
fn is_sound(to: &Destination) {
    let shown = to.as_str();
    assert!(!shown.contains(['?', '#']), "{shown}");
    let authority = shown
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next());
    assert!(authority.is_some_and(|it| !it.contains('@')), "{shown}");
    assert_eq!(to.to_string(), format!("{to:?}"));
    assert!(to.host_header().to_str().is_ok());
    assert!(to.target().path().starts_with('/'), "{shown}");
    assert!(
        to.authorization()
            .is_none_or(http::HeaderValue::is_sensitive)
    );
    let again = Destination::parse(shown, "other", DEFAULT_CLUSTER_DOMAIN);
    // What was as long as it may be can be longer with its names spelt out.
    if shown.len() <= 2048 {
        match again {
            Ok(again) => {
                assert!(again.is_same_host(to), "{shown} is read as {again}");
                assert_eq!(again.as_str(), shown);
            }
            Err(error) => panic!("{shown}: {error}"),
        }
    }
}

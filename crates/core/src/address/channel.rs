use super::is_label;
use crate::ChannelRef;

/// The cluster domain where nobody set another.
pub const DEFAULT_CLUSTER_DOMAIN: &str = "cluster.local";

/// Why a request names no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelAddressError {
    /// The host or the path has characters, or a form, that no channel's address has: 400.
    #[error("the {0} is malformed")]
    Malformed(&'static str),
    /// Well formed, but not the address of a channel: 404.
    #[error(
        "no channel has this address; POST to /<namespace>/<channel>, or to / with Host: <channel>-channel.<namespace>"
    )]
    NotAChannel,
}

/// The channel that a request's path and Host name; whether it exists is not asked here.
///
/// `/<namespace>/<channel>` wins over the Host and may end in one slash. With path `/` the Host is
/// `<channel>-channel.<namespace>[.svc[.<cluster domain>]][:port]` or
/// `<channel>.<namespace>.channels.<cluster domain>[:port]`; its case and a trailing dot do not
/// matter. (Source: the delivery specification, §1.)
///
/// # Errors
/// [`ChannelAddressError`], which tells 400 from 404.
pub fn channel_of(
    path: &str,
    host: Option<&str>,
    cluster_domain: &str,
) -> Result<ChannelRef, ChannelAddressError> {
    let inner = path
        .strip_prefix('/')
        .ok_or(ChannelAddressError::Malformed("path"))?;
    if inner.is_empty() {
        return by_host(host, cluster_domain);
    }
    by_path(inner)
}

fn by_path(inner: &str) -> Result<ChannelRef, ChannelAddressError> {
    if !inner
        .bytes()
        .all(|b| b.is_ascii_graphic() && b != b'%' && b != b'\\')
    {
        return Err(ChannelAddressError::Malformed("path"));
    }
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let mut segments = inner.split('/');
    let (Some(namespace), Some(name), None) = (segments.next(), segments.next(), segments.next())
    else {
        return Err(ChannelAddressError::NotAChannel);
    };
    if namespace.is_empty() || name.is_empty() {
        return Err(ChannelAddressError::NotAChannel);
    }
    if !is_label(namespace) || !is_label(name) {
        return Err(ChannelAddressError::Malformed("path"));
    }
    ChannelRef::parse(inner).map_err(|_| ChannelAddressError::Malformed("path"))
}

fn by_host(host: Option<&str>, cluster_domain: &str) -> Result<ChannelRef, ChannelAddressError> {
    let host = host.ok_or(ChannelAddressError::Malformed("host"))?;
    // An IPv6 literal is a well-formed host, and no channel's.
    if host.starts_with('[') {
        return Err(ChannelAddressError::NotAChannel);
    }
    let name = match host.split_once(':') {
        None => host,
        Some((name, port)) if port.parse::<u16>().is_ok() || port.is_empty() => name,
        Some(_) => return Err(ChannelAddressError::Malformed("host")),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(ChannelAddressError::Malformed("host"));
    }
    let domain = cluster_domain.to_ascii_lowercase();
    let inside = name
        .strip_suffix(&domain)
        .and_then(|rest| rest.strip_suffix('.'));
    let service = inside
        .and_then(|rest| rest.strip_suffix(".svc"))
        .or_else(|| name.strip_suffix(".svc"))
        .unwrap_or(&name);
    let channel = if let Some(own) = inside.and_then(|rest| rest.strip_suffix(".channels")) {
        own.split_once('.')
    } else {
        service
            .split_once('.')
            .and_then(|(first, ns)| Some((first.strip_suffix("-channel")?, ns)))
    };
    match channel {
        Some((channel, namespace)) if is_label(channel) && is_label(namespace) => {
            Ok(ChannelRef::new(namespace, channel))
        }
        _ => Err(ChannelAddressError::NotAChannel),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(path: &str, host: &str) -> Result<String, ChannelAddressError> {
        channel_of(path, Some(host), DEFAULT_CLUSTER_DOMAIN).map(|c| c.to_string())
    }

    #[test]
    fn both_forms_name_a_channel() {
        for (path, host) in [
            ("/shop/orders", "anything"),
            ("/shop/orders/", "b-channel.a"),
            ("/", "orders-channel.shop"),
            ("/", "orders-channel.shop.svc"),
            ("/", "Orders-Channel.SHOP.svc.cluster.local.:8080"),
            ("/", "orders.shop.channels.cluster.local"),
            ("/", "orders.shop.channels.cluster.local:80"),
        ] {
            assert_eq!(
                of(path, host).as_deref(),
                Ok("shop/orders"),
                "{path} {host}"
            );
        }
        assert_eq!(of("/", "a-channel-channel.b").as_deref(), Ok("b/a-channel"));
    }

    #[test]
    fn malformed_is_told_from_unknown() {
        use ChannelAddressError::{Malformed, NotAChannel};
        for (path, host, error) in [
            ("/shop", "x", NotAChannel),
            ("/a/b/c", "x", NotAChannel),
            ("/a//", "x", NotAChannel),
            ("//a", "x", NotAChannel),
            ("/shop/orders//", "x", NotAChannel),
            ("/Shop/orders", "x", Malformed("path")),
            ("/sh%6Fp/orders", "x", Malformed("path")),
            ("/shop/or_ders", "x", Malformed("path")),
            ("/", "localhost:8080", NotAChannel),
            ("/", "127.0.0.1", NotAChannel),
            ("/", "[::1]:80", NotAChannel),
            ("/", "orders-channel.shop.example.com", NotAChannel),
            ("/", "-channel.shop", Malformed("host")),
            ("/", "orders-channel.sh_op", Malformed("host")),
            ("/", "orders-channel.shop:http", Malformed("host")),
            ("/", "orders-channel..shop", Malformed("host")),
            ("/", "", Malformed("host")),
        ] {
            assert_eq!(of(path, host), Err(error), "{path} {host}");
        }
        assert_eq!(
            channel_of("/", None, "cluster.local"),
            Err(Malformed("host"))
        );
    }

    #[test]
    fn names_as_long_as_they_may_be_are_found_and_longer_ones_are_malformed() {
        use ChannelAddressError::Malformed;
        // As `<name>-channel` is a Service's name, a channel has 55 characters at most.
        let (namespace, channel) = ("n".repeat(63), "c".repeat(55));
        let expected = format!("{namespace}/{channel}");
        let inside = "svc.cluster.local.:65535";
        let host = format!("{channel}-channel.{namespace}.{inside}");
        assert_eq!(of(&format!("/{expected}"), "x"), Ok(expected.clone()));
        assert_eq!(of("/", &host), Ok(expected));
        let longer = format!("/{namespace}n/{channel}");
        assert_eq!(of(&longer, "x"), Err(Malformed("path")));
        let longer = format!("{channel}-channel.{namespace}n");
        assert_eq!(of("/", &longer), Err(Malformed("host")));
        for (labels, error) in [
            (126, ChannelAddressError::NotAChannel),
            (127, Malformed("host")),
        ] {
            let host = format!("{}a", "a.".repeat(labels));
            assert_eq!(of("/", &host), Err(error), "{} characters", host.len());
        }
    }

    #[test]
    fn names_that_look_alike_are_told_apart() {
        for (host, expected) in [
            ("a-channel.b", "b/a"),
            ("a-channel-channel.b", "b/a-channel"),
            ("a-b-channel.c", "c/a-b"),
            ("a-channel.b-c", "b-c/a"),
            ("svc-channel.svc.svc", "svc/svc"),
            ("a-channel.channels", "channels/a"),
            ("a-channel.b.channels.cluster.local", "b/a-channel"),
        ] {
            assert_eq!(of("/", host).as_deref(), Ok(expected), "{host}");
        }
    }

    #[test]
    fn the_cluster_domain_is_a_setting() {
        let of = |host| channel_of("/", Some(host), "farm.example").map(|c| c.to_string());
        for host in [
            "orders-channel.shop.svc.farm.example",
            "orders.shop.channels.Farm.Example",
            "orders-channel.shop",
        ] {
            assert_eq!(of(host).as_deref(), Ok("shop/orders"), "{host}");
        }
        for host in [
            "orders-channel.shop.svc.cluster.local",
            "orders.shop.channels.cluster.local",
            "orders-channel.shop.svcfarm.example",
        ] {
            assert_eq!(of(host), Err(ChannelAddressError::NotAChannel), "{host}");
        }
    }

    proptest! {
        #[test]
        fn no_request_panics(path in ".{0,80}", host in ".{0,300}") {
            let _ = channel_of(&path, Some(&host), DEFAULT_CLUSTER_DOMAIN);
        }

        #[test]
        fn every_valid_name_is_found_by_either_form(
            ns in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?",
            name in "[a-z]([-a-z0-9]{0,20}[a-z0-9])?",
        ) {
            let expected = format!("{ns}/{name}");
            for (path, host) in [
                (format!("/{ns}/{name}"), String::new()),
                ("/".to_owned(), format!("{name}-channel.{ns}.svc.cluster.local:80")),
                ("/".to_owned(), format!("{name}.{ns}.channels.cluster.local")),
            ] {
                prop_assert_eq!(of(&path, &host), Ok(expected.clone()));
            }
        }
    }
}

use std::borrow::Cow;

use crate::value::is_scheme;

/// What stands for the host of a URL that may hide a password in it.
const WITHHELD: &str = "withheld";

/// A URL without user-info, query and fragment.
///
/// What is no URL loses everything that could be one of these. A host with a port that is no
/// number is withheld: it is what an unencoded `/`, `?` or `#` in a password looks like.
#[must_use]
pub fn redact_url(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        // Whatever it is, what stands before an @ may be a password.
        _ => return after_last_at(url).to_owned(),
    };
    let end = rest.find(['/', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = after_last_at(authority);
    let host = if has_valid_port(host) {
        Cow::Borrowed(host)
    } else {
        Cow::Borrowed(WITHHELD)
    };
    [scheme, "://", &host, path].concat()
}

fn after_last_at(text: &str) -> &str {
    text.rsplit('@').next().unwrap_or_default()
}

fn has_valid_port(host: &str) -> bool {
    // The colons of an IPv6 address stand in brackets.
    let after_address = host.rsplit(']').next().unwrap_or_default();
    after_address
        .split_once(':')
        .is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_keeps_scheme_host_port_and_path() {
        for url in [
            "http://web.default.svc.cluster.local",
            "https://host:8443/a/b@c;d",
            "http://[::1]:80/",
            "http://[fe80::1]/x",
            "",
            "host",
            "host:80/path",
        ] {
            assert_eq!(redact_url(url), url);
        }
    }

    #[test]
    fn user_info_query_and_fragment_are_gone() {
        for (url, redacted) in [
            (
                "http://user:secret@host/p?token=secret#secret",
                "http://host/p",
            ),
            ("http://secret@host", "http://host"),
            ("http://a@secret@host:1/", "http://host:1/"),
            ("http://user:secret@[::1]:80/", "http://[::1]:80/"),
            ("http://host?secret", "http://host"),
            ("http://host#secret?", "http://host"),
            ("//user:secret@host/p", "host/p"),
            ("user:secret@host/p?secret", "host/p"),
            ("user:secret@http://host/p", "http://host/p"),
            ("http:/user:secret@host", "host"),
            ("http:user:secret@host", "host"),
            ("http://user:secret\\@host/", "http://withheld\\@host/"),
            ("http://user:sec/ret@host/", "http://withheld/ret@host/"),
            ("http://user:secret?@host/", "http://withheld"),
        ] {
            assert_eq!(redact_url(url), redacted, "{url}");
        }
    }

    proptest! {
        #[test]
        fn nothing_secret_survives(
            scheme in "[a-z][a-z0-9+.-]{0,5}://|//|",
            user in "[a-z:%!$&;=,-]{0,8}SECRET[a-z:@%!$&;=,-]{0,8}@",
            host in "[a-z0-9.-]{1,12}|\\[::1\\]",
            port in "(:[0-9]{1,5})?",
            path in "(/[a-z0-9:@%-]{0,8}){0,3}",
            query in "(\\?[ -~]{0,8}SECRET[ -~]{0,8})?",
            fragment in "(#[ -~]{0,8}SECRET[ -~]{0,8})?",
        ) {
            let redacted = redact_url(&format!("{scheme}{user}{host}{port}{path}{query}{fragment}"));
            prop_assert!(!redacted.contains("SECRET"), "{}", redacted);
            if scheme.len() > 2 {
                prop_assert_eq!(redacted, format!("{scheme}{host}{port}{path}"));
            }
        }

        #[test]
        fn any_text_is_redacted_once_and_for_all(text in any::<String>()) {
            let redacted = redact_url(&text);
            prop_assert!(!redacted.contains(['?', '#']));
            prop_assert_eq!(redact_url(&redacted), redacted);
        }
    }
}

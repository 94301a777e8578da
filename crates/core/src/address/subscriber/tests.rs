#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Destination, InvalidDestination> {
    Destination::parse(text, "shop", "cluster.local")
}

#[test]
fn every_form_resolves_to_a_url() {
    for (text, url) in [
        ("web", "http://web.shop.svc.cluster.local/"),
        ("web:8080/in", "http://web.shop.svc.cluster.local:8080/in"),
        ("web.other.svc", "http://web.other.svc.cluster.local/"),
        ("web.example.com/a?b=c#d", "http://web.example.com/a"),
        ("http://web/hook", "http://web.shop.svc.cluster.local/hook"),
        ("https://Example.com:443/x", "https://example.com/x"),
        (
            "https://u:p%40@example.com:8443",
            "https://example.com:8443/",
        ),
        ("http://localhost:9000/", "http://localhost:9000/"),
        ("10.1.2.3:80/x", "http://10.1.2.3/x"),
        ("[::1]:9000", "http://[::1]:9000/"),
    ] {
        assert_eq!(parse(text).unwrap().to_string(), url, "{text}");
    }
}

#[test]
fn the_request_is_made_of_it() {
    let d = parse("https://u:p%40@example.com:8443/a%20b?q=1#f").unwrap();
    assert_eq!(d.host_header(), "example.com:8443");
    assert_eq!(d.target().to_string(), "/a%20b?q=1");
    assert_eq!((d.is_https(), d.port(), d.ip()), (true, 8443, None));
    let authorization = d.authorization().unwrap();
    assert_eq!(authorization, "Basic dTpwQA==");
    assert!(authorization.is_sensitive());
    assert_eq!(parse("[::1]:80").unwrap().ip(), "::1".parse().ok());
}

#[test]
fn what_is_no_address_is_refused_without_repeating_it() {
    for text in [
        "",
        "ftp://x",
        "http://",
        "a b",
        "http://a:99999",
        "ü",
        "http://[::1",
        ".",
        "https://./x",
        "web..svc",
        "web..",
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(!error.contains("99999"), "{error}");
    }
    assert_eq!(
        parse("pack://x").unwrap_err().to_string(),
        "scheme `pack` is not supported; use http or https"
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,120}") {
        let _ = parse(&text);
    }

    #[test]
    fn nothing_secret_is_ever_shown(
        user in "[a-z]{3,8}SECRET", password in "SECRET[a-z]{3,8}", query in "SECRET[a-z=&]{3,8}",
    ) {
        let d = parse(&format!("http://{user}:{password}@example.com/p?{query}#SECRET")).unwrap();
        let all = format!("{d} {d:?} {:?}", d.authorization());
        prop_assert!(!all.contains("SECRET"), "{}", all);
    }
}

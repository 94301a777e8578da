#![allow(clippy::unwrap_used, reason = "tests")]

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: OperatorArgs,
}

fn parse(more: &[&str]) -> Result<Settings, String> {
    let args = ["x", "--image", "busway:1"].iter().chain(more);
    let cli = Cli::try_parse_from(args).map_err(|error| error.to_string())?;
    let settings = cli.args.settings("system".to_owned(), "id".to_owned());
    settings.map_err(|error| error.to_string())
}

#[test]
fn the_scope_says_which_namespaces_are_looked_after() {
    assert_eq!(parse(&[]).unwrap().scope, Scope::All);
    let own = parse(&["--scope", "own"]).unwrap().scope;
    assert!(own.covers("system") && !own.covers("shop"));
    let list = parse(&["--scope", "list", "--namespaces", "shop,bar,shop"]).unwrap();
    let names = vec!["bar".to_owned(), "shop".to_owned()];
    assert_eq!(list.scope, Scope::Namespaces(names));
}

#[test]
fn a_scope_and_namespaces_that_do_not_fit_are_refused() {
    for (args, why) in [
        (vec!["--scope", "list"], "needs --namespaces"),
        (vec!["--namespaces", "shop"], "goes with --scope list"),
        (
            vec!["--scope", "own", "--namespaces", "shop"],
            "goes with --scope list",
        ),
        (vec!["--scope", "some"], "possible values"),
        (vec!["--deletion-bound", "soon"], "--deletion-bound"),
        (vec!["--deletion-bound=-5m"], "--deletion-bound"),
        (vec!["--own-histograms=100001"], "--own-histograms"),
    ] {
        let refused = parse(&args).unwrap_err();
        assert!(refused.contains(why), "{args:?}: {refused}");
    }
}

#[test]
fn words_are_as_the_chart_writes_them() {
    let settings = parse(&[
        "--third-party-buses=Namespaced",
        "--channel-service=ExternalName",
        "--deletion-bound=1h30m",
    ])
    .unwrap();
    assert_eq!(settings.third_party_buses, ThirdPartyBuses::Namespaced);
    assert_eq!(settings.channel_service, ChannelService::ExternalName);
    assert_eq!(settings.deletion_bound, Duration::from_secs(5400));
    let iso = parse(&["--deletion-bound=PT10M"]).unwrap();
    assert_eq!(iso.deletion_bound, Duration::from_secs(600));
}

//! Start: with many objects, after an expired watch, and with the API server away.

use std::time::Duration;

use busway_core::bus::Scope;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    bus::FakeBus,
    cluster::Cluster,
    rig::{Rig, Setup, settle, standard},
};

#[tokio::test(start_paused = true)]
async fn thousands_of_objects_start_without_an_artificial_limit_and_with_one_write_each() {
    let setup = Setup::new(Scope::PerReplica);
    standard(&setup.cluster);
    for channel in 0..20 {
        let name = format!("shop/c{channel}");
        setup
            .cluster
            .apply("Channel", &name, &json!({"clusterBus": "main"}));
        for n in 0..50 {
            let name = format!("shop/s{channel}-{n}");
            let spec = json!({"channel": format!("c{channel}"), "subscriber": "mail"});
            setup.cluster.apply("Subscription", &name, &spec);
        }
    }
    let began = Instant::now();
    let rig = setup.run();
    for channel in 0..20 {
        rig.until_ready("Channel", &format!("shop/c{channel}"))
            .await;
        for n in 0..50 {
            rig.until_ready("Subscription", &format!("shop/s{channel}-{n}"))
                .await;
        }
    }
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "in virtual time: {:?}",
        began.elapsed()
    );
    settle().await;
    for n in 0..50 {
        let name = format!("shop/s7-{n}");
        let writes = rig
            .cluster
            .writes_of(busway_monitor::source::Kind::Subscription, &name);
        assert_eq!(writes.len(), 1, "{writes:?}");
    }
    assert!(
        rig.plane.snapshots() < 200,
        "{} snapshots",
        rig.plane.snapshots()
    );
}

#[tokio::test(start_paused = true)]
async fn what_went_while_the_watch_was_down_is_removed_when_it_lists_again() {
    let rig = Rig::ready(Scope::PerReplica).await;
    rig.cluster.vanish_quietly("Subscription", "shop/mail");
    settle().await;
    assert_eq!(rig.bus.count("unsubscribe"), 0);
    rig.cluster.relist();
    rig.until_calls("unsubscribe shop/mail", 1).await;
    assert_eq!(rig.routed("shop/mail"), None);
}

#[tokio::test(start_paused = true)]
async fn before_the_first_load_nothing_is_said_to_be_loaded() {
    let setup = Setup::new(Scope::Shared);
    setup.cluster.go_away();
    let rig = setup.run();
    settle().await;
    assert!(!rig.plane.routes().loaded);
    assert!(rig.monitor.wait_for_cache_sync().now_or_never().is_none());
}

use futures::FutureExt as _;

#[tokio::test(start_paused = true)]
async fn a_process_started_with_the_api_server_away_serves_what_the_last_one_kept() {
    for scope in [Scope::Shared, Scope::PerReplica] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Setup::new(scope).cache(folder.path().to_owned()).run();
        rig.standard();
        rig.until_ready("Subscription", "shop/mail").await;
        rig.until_ready("Channel", "shop/orders").await;
        settle().await;
        let route = rig.routed("shop/mail");
        rig.stop().await;
        crate::rig::until("the file is there", || {
            let file = folder.path().join("clusterbus.main.json");
            if file.exists() {
                Ok(())
            } else {
                Err("no file")
            }
        })
        .await;

        let gone = Cluster::default();
        gone.go_away();
        let bus = FakeBus::new(scope);
        let setup = Setup {
            cluster: gone,
            bus,
            ..Setup::new(scope)
        };
        let rig = setup.cache(folder.path().to_owned()).run();
        settle().await;
        assert_eq!(rig.routed("shop/mail"), route, "{scope:?}");
        assert!(rig.plane.routes().loaded);
        assert!(rig.monitor.routes_age().is_some());
        assert!(rig.monitor.wait_for_cache_sync().await.is_ok());
        let shared = scope == Scope::Shared;
        assert_eq!(
            rig.bus.calls().is_empty(),
            shared,
            "{scope:?}: {:?}",
            rig.bus.calls()
        );
        rig.stop().await;
    }
}

#![allow(clippy::unwrap_used, reason = "tests")]

use busway_core::{
    Uid,
    address::Destination,
    policy::DeliveryPolicy,
    routes::{Accepting, Flow},
};

use super::*;

fn channel(name: &str, generation: i64) -> (ChannelRef, ChannelRoute) {
    let channel = ChannelRef::new("shop", name);
    let route = ChannelRoute {
        channel: channel.clone(),
        uid: Uid::new(name),
        generation,
        accepting: Accepting::Yes,
        subscriptions: Vec::new(),
    };
    (channel, route)
}

fn subscription(name: &str, channel: &str, flow: Flow) -> (SubscriptionRef, SubscriptionRoute) {
    let subscription = SubscriptionRef::new("shop", name);
    let route = SubscriptionRoute {
        subscription: subscription.clone(),
        uid: Uid::new(name),
        generation: 1,
        channel: ChannelRef::new("shop", channel),
        subscriber: Destination::parse("web", "shop", "cluster.local").unwrap(),
        reply_to: None,
        dead_letter_sink: None,
        filter: Arc::default(),
        ordering: None,
        policy: DeliveryPolicy::default(),
        flow,
    };
    (subscription, route)
}

#[test]
fn what_did_not_change_keeps_its_pointer() {
    let mut table = RouteTable::default();
    for name in ["a", "b"] {
        let (r, route) = channel(name, 1);
        table.set_channel(&r, Some(route));
    }
    for (name, of) in [("s1", "a"), ("s2", "a"), ("s3", "b")] {
        let (r, route) = subscription(name, of, Flow::Running);
        table.set_subscription(&r, Some(route));
    }
    let first = table.snapshot();
    assert!(!table.is_dirty());
    let (r, same) = subscription("s2", "a", Flow::Running);
    table.set_subscription(&r, Some(same));
    assert!(!table.is_dirty(), "nothing differs");
    let (r, paused) = subscription("s1", "a", Flow::Paused);
    table.set_subscription(&r, Some(paused));
    let second = table.snapshot();
    let part = |routes: &Routes, name: &str| Arc::clone(routes.channel(name).unwrap());
    assert!(Arc::ptr_eq(
        &part(&first, "shop/b"),
        &part(&second, "shop/b")
    ));
    assert!(!Arc::ptr_eq(
        &part(&first, "shop/a"),
        &part(&second, "shop/a")
    ));
    let of = |routes: &Routes, name: &str| {
        let all = routes.subscriptions();
        let mut all = all.filter(|s| s.subscription.name() == name);
        Arc::clone(all.next().unwrap())
    };
    assert!(Arc::ptr_eq(&of(&first, "s2"), &of(&second, "s2")));
    assert_eq!(of(&second, "s1").flow, Flow::Paused);
}

#[test]
fn what_goes_is_in_the_next_snapshot_no_more() {
    let mut table = RouteTable::default();
    let (c, route) = channel("a", 1);
    table.set_channel(&c, Some(route));
    let (s, route) = subscription("s1", "a", Flow::Running);
    table.set_subscription(&s, Some(route));
    assert_eq!(table.snapshot().subscriptions().count(), 1);
    assert!(table.was_published(&Key::Subscription(s.clone())));
    table.set_subscription(&s, None);
    assert_eq!(table.snapshot().subscriptions().count(), 0);
    table.set_channel(&c, None);
    assert!(table.snapshot().channels.is_empty());
}

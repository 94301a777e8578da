//! The data plane in a simulated network: each run is repeated from the seed that it prints.

#![cfg(tokio_unstable)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "tests"
)]

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use busway_core::{
    BusRef, ChannelRef, Routes, SubscriptionRef, Uid,
    address::Destination,
    bus::Fate,
    pacing::{Backoff, BackoffPolicy, Jitter},
    policy::DeliveryPolicy,
    routes::{Accepting, ChannelRoute, Flow, SubscriptionRoute},
    serving::DataPlane as _,
    world::{Clock, Entropy},
};
use busway_dataplane::{
    DataPlane, Network, Settings, World,
    connect::{BoxIo, Connect, Resolve, Trust},
};
use busway_message::Message;
use busway_testkit::fakes::FakeBus;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use turmoil::{Sim, net};

const PORT: u16 = 80;
const MESSAGES: u64 = 100;

struct Simulated;

#[async_trait]
impl Connect for Simulated {
    async fn connect(&self, address: SocketAddr) -> io::Result<BoxIo> {
        Ok(Box::new(net::TcpStream::connect(address).await?))
    }
}

#[async_trait]
impl Resolve for Simulated {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let host = host.split('.').next().unwrap_or(host);
        Ok(vec![turmoil::lookup(host)])
    }
}

struct SimClock;

impl Clock for SimClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + turmoil::sim_elapsed().unwrap_or_default()
    }
}

/// Splitmix64: the same numbers for the same seed.
struct Seeded(AtomicU64);

impl Entropy for Seeded {
    fn next(&self) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn seed() -> u64 {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        u64::from(now.unwrap_or_default().subsec_nanos())
    });
    println!("SEED={seed}");
    seed
}

/// What subscribers got: name and body, and how often.
type Seen = Arc<Mutex<BTreeMap<(String, String), u32>>>;

fn subscriber(sim: &mut Sim<'_>, name: &'static str, seen: &Seen) {
    let seen = Arc::clone(seen);
    sim.host(name, move || {
        let seen = Arc::clone(&seen);
        async move {
            let listener = net::TcpListener::bind((IpAddr::from([0, 0, 0, 0]), PORT)).await?;
            loop {
                let (stream, _) = listener.accept().await?;
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let service =
                        service_fn(move |request: http::Request<hyper::body::Incoming>| {
                            let seen = Arc::clone(&seen);
                            async move {
                                let body = request.into_body().collect().await;
                                let Ok(body) = body else {
                                    return Err(io::Error::other("broken"));
                                };
                                let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                                *seen
                                    .lock()
                                    .unwrap()
                                    .entry((name.to_owned(), body))
                                    .or_default() += 1;
                                Ok(Response::new(Full::<bytes::Bytes>::default()))
                            }
                        });
                    let _closed = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        }
    });
}

fn route(name: &str) -> Arc<SubscriptionRoute> {
    Arc::new(SubscriptionRoute {
        subscription: SubscriptionRef::new("shop", name),
        uid: Uid::new(name),
        generation: 1,
        channel: ChannelRef::new("shop", "orders"),
        subscriber: Destination::parse(name, "shop", "cluster.local").unwrap(),
        reply_to: None,
        dead_letter_sink: None,
        filter: Arc::default(),
        ordering: None,
        policy: DeliveryPolicy {
            retry: 1000,
            backoff: Backoff {
                policy: BackoffPolicy::Exponential,
                delay: Duration::from_millis(50),
                max: Duration::from_secs(1),
                jitter: Jitter::Full,
            },
            timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            ..DeliveryPolicy::default()
        },
        flow: Flow::Running,
    })
}

/// A data plane that sends a message every 50 ms to two subscribers, and ends when all are settled.
fn busway(sim: &mut Sim<'_>, seed: u64) {
    sim.client("busway", async move {
        let mut world = World::new(Network::new(
            Arc::new(Simulated),
            Arc::new(Simulated),
            Trust::mozilla(),
        ));
        world.clock = Arc::new(SimClock);
        world.entropy = Arc::new(Seeded(AtomicU64::new(seed)));
        let dataplane = DataPlane::start_local(None, Settings::default(), world)?;
        let bus = FakeBus::new();
        let channel = ChannelRef::new("shop", "orders");
        let routes = [route("one"), route("two")];
        for route in &routes {
            bus.join(&channel, &route.subscription);
        }
        let plane = dataplane.add(&BusRef::parse("b")?, Arc::new(bus.clone()));
        let channel_route = ChannelRoute {
            channel: channel.clone(),
            uid: Uid::new("c"),
            generation: 1,
            accepting: Accepting::Yes,
            subscriptions: routes.to_vec(),
        };
        plane.publish(Arc::new(Routes {
            loaded: true,
            receiver: Arc::default(),
            egress: Arc::new(busway_core::egress::Egress::open()),
            channels: HashMap::from([(channel, Arc::new(channel_route))]),
        }));
        for number in 0..MESSAGES {
            for route in &routes {
                let message = Message::default().with_body(number.to_string().into());
                bus.put(
                    &route.subscription,
                    message,
                    0,
                    SimClock.now(),
                    Fate::Deliver,
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let left = || -> usize {
            let each = routes
                .iter()
                .map(|r| bus.waiting(&r.subscription) + bus.out(&r.subscription));
            each.sum()
        };
        while left() > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let settled = dataplane
            .metrics()
            .get("busway_dispatcher_settled", &["Delivered"]);
        assert_eq!(settled, 2 * MESSAGES);
        Ok(())
    });
}

fn simulation(seed: u64) -> Sim<'static> {
    turmoil::Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .simulation_duration(Duration::from_secs(120))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(10))
        .build()
}

fn step_until(sim: &mut Sim<'_>, at: Duration) {
    while sim.elapsed() < at {
        sim.step().unwrap();
    }
}

/// Every message came to both; the one in trouble may have got some twice, the other none.
fn check(seen: &Seen) {
    let seen = seen.lock().unwrap();
    for number in 0..MESSAGES {
        let times = |name: &str| seen.get(&(name.to_owned(), number.to_string())).copied();
        assert_eq!(times("two"), Some(1), "message {number}");
        assert!(times("one").is_some(), "message {number}");
    }
}

#[test]
fn a_partition_delays_one_subscriber_and_loses_nothing() {
    let seed = seed();
    let seen = Seen::default();
    let mut sim = simulation(seed);
    subscriber(&mut sim, "one", &seen);
    subscriber(&mut sim, "two", &seen);
    busway(&mut sim, seed);
    step_until(&mut sim, Duration::from_secs(1));
    sim.partition("busway", "one");
    step_until(&mut sim, Duration::from_secs(9));
    sim.repair("busway", "one");
    sim.run().unwrap();
    check(&seen);
}

#[test]
fn a_subscriber_that_crashes_and_comes_back_gets_everything() {
    let seed = seed();
    let seen = Seen::default();
    let mut sim = simulation(seed);
    subscriber(&mut sim, "one", &seen);
    subscriber(&mut sim, "two", &seen);
    busway(&mut sim, seed);
    for second in [1, 3] {
        step_until(&mut sim, Duration::from_secs(second));
        sim.crash("one");
        step_until(&mut sim, Duration::from_secs(second + 1));
        sim.bounce("one");
    }
    sim.run().unwrap();
    check(&seen);
}

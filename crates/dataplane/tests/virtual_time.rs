//! Waits, timeouts and deadlines to the millisecond: tokio's paused clock, and a network of pipes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
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
    world::Clock,
};
use busway_dataplane::{
    DataPlane, Network, Plane, Settings, World,
    connect::{BoxIo, Connect, Resolve, Trust},
};
use busway_message::Message;
use busway_testkit::fakes::{Call, FakeBus};
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{task::LocalSet, time::Instant};

/// How the only subscriber answers an attempt, by its number from 0.
type Answering = Arc<dyn Fn(usize) -> Answer + Send + Sync>;

enum Answer {
    Status(u16, Option<&'static str>),
    Never,
}

/// Pipes to one subscriber; notes when each attempt came, and each connection.
#[derive(Clone)]
struct Pipes {
    answering: Answering,
    began: Instant,
    attempts: Arc<Mutex<Vec<u64>>>,
    connections: Arc<Mutex<usize>>,
    connects: bool,
    /// Look-ups of the name fail before this many were made.
    missing: Arc<Mutex<usize>>,
}

impl Pipes {
    fn answering(answering: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            answering: Arc::new(answering),
            began: Instant::now(),
            attempts: Arc::default(),
            connections: Arc::default(),
            connects: true,
            missing: Arc::default(),
        }
    }

    /// When attempts came, in milliseconds.
    fn attempts(&self) -> Vec<u64> {
        self.attempts.lock().unwrap().clone()
    }
}

#[async_trait]
impl Connect for Pipes {
    async fn connect(&self, _: SocketAddr) -> io::Result<BoxIo> {
        *self.connections.lock().unwrap() += 1;
        if !self.connects {
            std::future::pending::<()>().await;
        }
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let this = self.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let this = this.clone();
                async move {
                    let _body = request.into_body().collect().await;
                    let number = {
                        let mut attempts = this.attempts.lock().unwrap();
                        attempts.push(u64::try_from(this.began.elapsed().as_millis()).unwrap());
                        attempts.len() - 1
                    };
                    let mut response = Response::new(Full::<bytes::Bytes>::default());
                    match (this.answering)(number) {
                        Answer::Never => std::future::pending().await,
                        Answer::Status(status, retry_after) => {
                            *response.status_mut() = status.try_into().unwrap();
                            if let Some(after) = retry_after {
                                let value = after.try_into().unwrap();
                                response.headers_mut().insert("retry-after", value);
                            }
                        }
                    }
                    Ok::<_, Infallible>(response)
                }
            });
            let io = TokioIo::new(theirs);
            let _closed = http1::Builder::new().serve_connection(io, service).await;
        });
        Ok(Box::new(ours))
    }
}

#[async_trait]
impl Resolve for Pipes {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let mut missing = self.missing.lock().unwrap();
        if *missing > 0 {
            *missing -= 1;
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }
}

/// The wall clock that goes with tokio's.
struct Wall(SystemTime, Instant);

impl Clock for Wall {
    fn now(&self) -> SystemTime {
        self.0 + self.1.elapsed()
    }
}

const NAME: &str = "shop/s";

struct Run {
    bus: FakeBus,
    dataplane: DataPlane,
    plane: Arc<Plane>,
    pipes: Pipes,
    name: SubscriptionRef,
}

/// Runs a data plane with one subscription in paused time.
async fn run<Fut: Future<Output = ()>>(
    policy: DeliveryPolicy,
    pipes: impl FnOnce() -> Pipes,
    with: impl FnOnce(Run) -> Fut,
) {
    let pipes = pipes();
    LocalSet::new()
        .run_until(async move {
            let parts = Arc::new(pipes.clone());
            let network = Network::new(
                Arc::clone(&parts) as Arc<dyn Resolve>,
                parts,
                Trust::mozilla(),
            );
            let mut world = World::new(network);
            let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            world.clock = Arc::new(Wall(start, Instant::now()));
            let dataplane = DataPlane::start_local(None, Settings::default(), world).unwrap();
            let bus = FakeBus::new();
            let name = SubscriptionRef::parse(NAME).unwrap();
            let channel = ChannelRef::new("shop", "orders");
            bus.join(&channel, &name);
            let plane = dataplane.add(&BusRef::parse("b").unwrap(), Arc::new(bus.clone()));
            let route = SubscriptionRoute {
                subscription: name.clone(),
                uid: Uid::new("s"),
                generation: 1,
                channel: channel.clone(),
                subscriber: Destination::parse("web", "shop", "cluster.local").unwrap(),
                reply_to: None,
                dead_letter_sink: None,
                filter: Arc::default(),
                ordering: None,
                policy,
                flow: Flow::Running,
            };
            let channel_route = ChannelRoute {
                channel: channel.clone(),
                uid: Uid::new("c"),
                generation: 1,
                accepting: Accepting::Yes,
                subscriptions: vec![Arc::new(route)],
            };
            plane.publish(Arc::new(Routes {
                loaded: true,
                receiver: Arc::default(),
                channels: HashMap::from([(channel, Arc::new(channel_route))]),
            }));
            bus.put(&name, Message::default(), 0, start, Fate::Deliver);
            with(Run {
                bus,
                dataplane,
                plane,
                pipes,
                name,
            })
            .await;
        })
        .await;
}

fn policy(backoff: BackoffPolicy, delay_ms: u64, max_ms: u64) -> DeliveryPolicy {
    DeliveryPolicy {
        retry: 5,
        backoff: Backoff {
            policy: backoff,
            delay: Duration::from_millis(delay_ms),
            max: Duration::from_millis(max_ms),
            jitter: Jitter::None,
        },
        ..DeliveryPolicy::default()
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn waits_grow_as_the_policy_says_and_end_with_the_last_attempt() {
    for (backoff, expected) in [
        (BackoffPolicy::Linear, [0, 100, 300, 600, 950, 1300]),
        (BackoffPolicy::Exponential, [0, 100, 300, 650, 1000, 1350]),
    ] {
        let failing = || Pipes::answering(|_| Answer::Status(500, None));
        run(policy(backoff, 100, 350), failing, |run| async move {
            pass(60).await;
            let attempts = run.pipes.attempts();
            let off = attempts.iter().zip(expected).map(|(at, due)| at - due);
            // Timers have milliseconds: each wait may be one late.
            assert!(off.clone().all(|late| late <= 6), "{attempts:?}");
            assert_eq!(attempts.len(), expected.len());
            let dropped = run
                .dataplane
                .metrics()
                .get("busway_dispatcher_dropped", &["RetriesExhausted"]);
            assert_eq!(dropped, 1);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_in_seconds_and_as_a_date_is_waited_for() {
    let answers = || {
        Pipes::answering(|number| match number {
            0 => Answer::Status(503, Some("7")),
            // Twenty seconds after the wall clock began.
            1 => Answer::Status(429, Some("Sun, 09 Sep 2001 01:47:00 GMT")),
            _ => Answer::Status(202, None),
        })
    };
    run(
        policy(BackoffPolicy::Linear, 10, 10),
        answers,
        |run| async move {
            pass(60).await;
            let seconds: Vec<_> = run.pipes.attempts().iter().map(|ms| ms / 1000).collect();
            assert_eq!(seconds, [0, 7, 20]);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_timeout_ends_an_attempt_and_the_next_has_a_new_connection() {
    let mut policy = policy(BackoffPolicy::Linear, 1000, 1000);
    policy.timeout = Duration::from_secs(3);
    let answers = || {
        Pipes::answering(|number| match number {
            0 => Answer::Never,
            _ => Answer::Status(202, None),
        })
    };
    run(policy, answers, |run| async move {
        pass(10).await;
        let seconds: Vec<_> = run.pipes.attempts().iter().map(|ms| ms / 1000).collect();
        assert_eq!(seconds, [0, 4]);
        assert_eq!(*run.pipes.connections.lock().unwrap(), 2);
        let timeouts = run
            .dataplane
            .metrics()
            .get("busway_dispatcher_attempts", &["subscriber", "Timeout"]);
        assert_eq!(timeouts, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connecting_has_its_own_timeout() {
    let mut policy = policy(BackoffPolicy::Linear, 1000, 1000);
    policy.connect_timeout = Duration::from_secs(2);
    let deaf = || Pipes {
        connects: false,
        ..Pipes::answering(|_| Answer::Never)
    };
    run(policy, deaf, |run| async move {
        pass(7).await;
        let failed = run.dataplane.metrics().get(
            "busway_dispatcher_attempts",
            &["subscriber", "ConnectError"],
        );
        assert_eq!(failed, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_missing_and_then_back_is_a_retry() {
    let back = || {
        let pipes = Pipes::answering(|_| Answer::Status(202, None));
        *pipes.missing.lock().unwrap() = 2;
        pipes
    };
    run(
        policy(BackoffPolicy::Linear, 100, 100),
        back,
        |run| async move {
            pass(5).await;
            let metrics = run.dataplane.metrics();
            assert_eq!(
                metrics.get("busway_dispatcher_attempts", &["subscriber", "DnsError"]),
                2
            );
            assert_eq!(metrics.get("busway_dispatcher_settled", &["Delivered"]), 1);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn while_a_message_is_held_the_bus_hears_of_it_every_twenty_seconds() {
    let mut policy = policy(BackoffPolicy::Linear, 1000, 1000);
    policy.timeout = Duration::from_secs(95);
    run(
        policy,
        || Pipes::answering(|_| Answer::Never),
        |run| async move {
            pass(90).await;
            let calls = run.bus.calls(&run.name);
            let kept = calls
                .iter()
                .filter(|call| **call == Call::Extended(0))
                .count();
            assert!((4..=5).contains(&kept), "{calls:?}");
            let health = run.plane.health(&Uid::new("s")).unwrap();
            assert_eq!(health.backlog.map(|backlog| backlog.count), Some(1));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_past_the_age_ends_in_the_dead_letter() {
    let mut policy = policy(BackoffPolicy::Linear, 10_000, 10_000);
    policy.max_age = Some(Duration::from_secs(15));
    run(
        policy,
        || Pipes::answering(|_| Answer::Status(500, None)),
        |run| async move {
            pass(60).await;
            assert_eq!(run.pipes.attempts().len(), 2);
            let expired = run
                .dataplane
                .metrics()
                .get("busway_dispatcher_dropped", &["Expired"]);
            assert_eq!(expired, 1);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_work_is_closed_after_half_a_minute() {
    let answers = || Pipes::answering(|_| Answer::Status(202, None));
    run(
        policy(BackoffPolicy::Linear, 10, 10),
        answers,
        |run| async move {
            pass(29).await;
            let lanes = || run.dataplane.metrics().get("busway_dispatcher_lanes", &[]);
            assert_eq!(lanes(), 1);
            run.bus.put(
                &run.name,
                Message::default(),
                0,
                SystemTime::now(),
                Fate::Deliver,
            );
            pass(29).await;
            assert_eq!((lanes(), run.pipes.attempts().len()), (1, 2));
            assert_eq!(*run.pipes.connections.lock().unwrap(), 1);
            pass(2).await;
            assert_eq!(lanes(), 0);
        },
    )
    .await;
}

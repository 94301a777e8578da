//! A data plane with one subscription in paused time, over a network of pipes.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
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
    world::Clock,
};
use busway_dataplane::{
    DataPlane, Network, Plane, Settings, World,
    connect::{BoxIo, Connect, Resolve, Trust},
};
use busway_message::Message;
use busway_testkit::fakes::FakeBus;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{task::LocalSet, time::Instant};

/// How the only subscriber answers an attempt.
pub(crate) type Answering = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// An attempt, as the subscriber sees it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// From 0.
    pub(crate) number: usize,
    /// When it came, in milliseconds.
    pub(crate) at: u64,
    /// Header `ce-subject`.
    pub(crate) subject: String,
    /// The path that was asked for.
    pub(crate) path: String,
}

pub(crate) enum Answer {
    /// With this Retry-After.
    Status(u16, Option<&'static str>),
    /// After so many milliseconds.
    LateStatus(u64, u16),
    /// A redirect to there.
    Moved(u16, &'static str),
    /// 202 after so many milliseconds.
    After(u64),
    Never,
}

/// Pipes to one subscriber; notes when each attempt came, and each connection.
#[derive(Clone)]
pub(crate) struct Pipes {
    answering: Answering,
    began: Instant,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Attempts that are being answered, and the most at once.
    at_once: Arc<Mutex<(usize, usize)>>,
    pub(crate) connections: Arc<Mutex<usize>>,
    pub(crate) connects: bool,
    /// Look-ups of the name fail before this many were made.
    pub(crate) missing: Arc<Mutex<usize>>,
}

impl Pipes {
    pub(crate) fn answering(answering: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::seeing(move |seen| answering(seen.number))
    }

    pub(crate) fn seeing(answering: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            answering: Arc::new(answering),
            began: Instant::now(),
            seen: Arc::default(),
            at_once: Arc::default(),
            connections: Arc::default(),
            connects: true,
            missing: Arc::default(),
        }
    }

    /// When attempts came, in milliseconds.
    pub(crate) fn attempts(&self) -> Vec<u64> {
        self.seen().iter().map(|seen| seen.at).collect()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Whole seconds, and how many attempts came in each.
    pub(crate) fn per_second(&self) -> Vec<(u64, usize)> {
        let mut all: Vec<(u64, usize)> = Vec::new();
        for at in self.attempts() {
            match all.last_mut() {
                Some((second, count)) if *second == at / 1000 => *count += 1,
                _ => all.push((at / 1000, 1)),
            }
        }
        all
    }

    /// The most attempts that were in flight at once, since this was last asked.
    pub(crate) fn most_at_once(&self) -> usize {
        let mut at_once = self.at_once.lock().unwrap();
        let (now, most) = *at_once;
        at_once.1 = now;
        most
    }
}

/// One attempt that is being answered.
struct Going(Arc<Mutex<(usize, usize)>>);

impl Going {
    fn new(at_once: &Arc<Mutex<(usize, usize)>>) -> Self {
        let mut both = at_once.lock().unwrap();
        both.0 += 1;
        both.1 = both.1.max(both.0);
        Self(Arc::clone(at_once))
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.0.lock().unwrap().0 -= 1;
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
                    let subject = request.headers().get("ce-subject");
                    let subject = subject.and_then(|subject| subject.to_str().ok());
                    let subject = subject.unwrap_or_default().to_owned();
                    let path = request.uri().path().to_owned();
                    let _body = request.into_body().collect().await;
                    let seen = {
                        let mut all = this.seen.lock().unwrap();
                        let seen = Seen {
                            number: all.len(),
                            at: u64::try_from(this.began.elapsed().as_millis()).unwrap(),
                            subject,
                            path,
                        };
                        all.push(seen.clone());
                        seen
                    };
                    let _going = Going::new(&this.at_once);
                    let mut response = Response::new(Full::<bytes::Bytes>::default());
                    let mut say = |status: u16, header: Option<(&'static str, &'static str)>| {
                        *response.status_mut() = status.try_into().unwrap();
                        if let Some((name, value)) = header {
                            response
                                .headers_mut()
                                .insert(name, value.try_into().unwrap());
                        }
                    };
                    match (this.answering)(&seen) {
                        Answer::Never => std::future::pending().await,
                        Answer::Status(status, None) => say(status, None),
                        Answer::Status(status, Some(after)) => {
                            say(status, Some(("retry-after", after)))
                        }
                        Answer::Moved(status, to) => say(status, Some(("location", to))),
                        Answer::LateStatus(millis, status) => {
                            tokio::time::sleep(Duration::from_millis(millis)).await;
                            say(status, None);
                        }
                        Answer::After(millis) => {
                            tokio::time::sleep(Duration::from_millis(millis)).await;
                            say(202, None);
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
pub(crate) struct Wall(SystemTime, Instant);

impl Clock for Wall {
    fn now(&self) -> SystemTime {
        self.0 + self.1.elapsed()
    }
}

pub(crate) const NAME: &str = "shop/s";

pub(crate) struct Run {
    pub(crate) bus: FakeBus,
    pub(crate) dataplane: DataPlane,
    pub(crate) plane: Arc<Plane>,
    pub(crate) pipes: Pipes,
    pub(crate) name: SubscriptionRef,
    pub(crate) route: SubscriptionRoute,
    put: AtomicUsize,
}

impl Run {
    /// Serves another form of the subscription.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut SubscriptionRoute)) {
        edit(&mut self.route);
        self.route.generation += 1;
        publish(&self.plane, &self.route);
    }

    /// A message with this subject comes.
    pub(crate) fn put(&self, subject: &str) {
        let id = self.put.fetch_add(1, Ordering::Relaxed).to_string();
        let mut headers = http::HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", subject),
            ("ce-type", "t"),
            ("ce-source", "/s"),
            ("ce-subject", subject),
            ("busway-id", &id),
        ] {
            headers.insert(name, value.try_into().unwrap());
        }
        let message = Message::new(headers, bytes::Bytes::new());
        self.bus.put(&self.name, message, 0, began(), Fate::Deliver);
    }

    pub(crate) fn count(&self, metric: &str, labels: &[&str]) -> u64 {
        self.dataplane.metrics().get(metric, labels)
    }
}

fn began() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

fn publish(plane: &Plane, route: &SubscriptionRoute) {
    let channel = ChannelRoute {
        channel: route.channel.clone(),
        uid: Uid::new("c"),
        generation: 1,
        accepting: Accepting::Yes,
        subscriptions: vec![Arc::new(route.clone())],
    };
    plane.publish(Arc::new(Routes {
        loaded: true,
        receiver: Arc::default(),
        egress: Arc::new(busway_core::egress::Egress::open()),
        channels: HashMap::from([(route.channel.clone(), Arc::new(channel))]),
    }));
}

/// Runs a data plane with one subscription in paused time, and one message of no kind.
pub(crate) async fn run<Fut: Future<Output = ()>>(
    policy: DeliveryPolicy,
    pipes: impl FnOnce() -> Pipes,
    with: impl FnOnce(Run) -> Fut,
) {
    let edit = move |route: &mut SubscriptionRoute| route.policy = policy;
    run_as(edit, pipes, |run| async move {
        run.bus
            .put(&run.name, Message::default(), 0, began(), Fate::Deliver);
        with(run).await;
    })
    .await;
}

/// Runs a data plane with one subscription, edited so, and no message yet.
pub(crate) async fn run_as<Fut: Future<Output = ()>>(
    edit: impl FnOnce(&mut SubscriptionRoute),
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
            world.clock = Arc::new(Wall(began(), Instant::now()));
            let dataplane = DataPlane::start_local(None, Settings::default(), world).unwrap();
            let bus = FakeBus::new();
            let name = SubscriptionRef::parse(NAME).unwrap();
            let channel = ChannelRef::new("shop", "orders");
            bus.join(&channel, &name);
            let plane = dataplane.add(&BusRef::parse("b").unwrap(), Arc::new(bus.clone()));
            let mut route = SubscriptionRoute {
                subscription: name.clone(),
                uid: Uid::new("s"),
                generation: 1,
                channel: channel.clone(),
                subscriber: Destination::parse("web", "shop", "cluster.local").unwrap(),
                reply_to: None,
                dead_letter_sink: None,
                filter: Arc::default(),
                ordering: None,
                policy: DeliveryPolicy::default(),
                flow: Flow::Running,
            };
            edit(&mut route);
            publish(&plane, &route);
            with(Run {
                bus,
                dataplane,
                plane,
                pipes,
                name,
                route,
                put: AtomicUsize::new(0),
            })
            .await;
        })
        .await;
}

pub(crate) fn policy(backoff: BackoffPolicy, delay_ms: u64, max_ms: u64) -> DeliveryPolicy {
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

pub(crate) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

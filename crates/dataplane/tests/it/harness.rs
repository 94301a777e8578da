use std::{
    collections::HashMap,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use busway_core::{
    BusRef, ChannelRef, Routes, SubscriptionRef, Uid,
    address::Destination,
    egress::Egress,
    pacing::{Backoff, BackoffPolicy, Jitter},
    policy::DeliveryPolicy,
    routes::{Accepting, ChannelRoute, Flow, ReceiverSettings, SubscriptionRoute},
    serving::DataPlane as _,
};
use busway_dataplane::{DataPlane, Network, Plane, Settings, World};
use busway_testkit::{fakes::FakeBus, wait::until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub const DEADLINE: Duration = Duration::from_secs(10);

/// A data plane with one bus and one channel, `shop/orders`.
pub struct Harness {
    pub dataplane: DataPlane,
    pub plane: Arc<Plane>,
    pub bus: FakeBus,
    pub settings: Mutex<ReceiverSettings>,
    egress: Mutex<Arc<Egress>>,
    subscriptions: Mutex<HashMap<String, Arc<SubscriptionRoute>>>,
    generation: AtomicI64,
}

pub fn orders() -> ChannelRef {
    ChannelRef::new("shop", "orders")
}

pub fn subscription(name: &str) -> SubscriptionRef {
    SubscriptionRef::new("shop", name)
}

pub fn destination(url: &str) -> Destination {
    Destination::parse(url, "shop", "cluster.local").unwrap()
}

/// Retries come every few milliseconds, and attempts end soon.
pub fn quick() -> DeliveryPolicy {
    DeliveryPolicy {
        retry: 3,
        backoff: Backoff {
            policy: BackoffPolicy::Linear,
            delay: Duration::from_millis(5),
            max: Duration::from_millis(50),
            jitter: Jitter::None,
        },
        timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(2),
        ..DeliveryPolicy::default()
    }
}

impl Harness {
    pub fn start() -> Self {
        Self::with(FakeBus::new())
    }

    pub fn with(bus: FakeBus) -> Self {
        let this = Self::unloaded(bus, World::new(Network::system()));
        this.publish();
        this
    }

    pub fn unloaded(bus: FakeBus, world: World) -> Self {
        Self::set(bus, world, Settings::default())
    }

    pub fn set(bus: FakeBus, world: World, settings: Settings) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let shards = NonZeroUsize::new(2).unwrap();
        let dataplane = DataPlane::start(any, shards, settings, world).unwrap();
        let name = BusRef::parse("memory").unwrap();
        let plane = dataplane.add(&name, Arc::new(bus.clone()));
        Self {
            dataplane,
            plane,
            bus,
            settings: Mutex::default(),
            egress: Mutex::new(Arc::new(Egress::open())),
            subscriptions: Mutex::default(),
            generation: AtomicI64::new(1),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.dataplane.address().unwrap()
    }

    /// A route to a URL, by `quick`.
    pub fn route(&self, name: &str, url: &str) -> SubscriptionRoute {
        SubscriptionRoute {
            subscription: subscription(name),
            uid: Uid::new(&format!("uid-{name}")),
            generation: self.generation.fetch_add(1, Ordering::Relaxed),
            channel: orders(),
            subscriber: destination(url),
            reply_to: None,
            dead_letter_sink: None,
            filter: Arc::default(),
            ordering: None,
            policy: quick(),
            flow: Flow::Running,
        }
    }

    /// Publishes a route, and waits until it is served.
    pub async fn serve(&self, route: SubscriptionRoute) {
        let (uid, generation) = (route.uid.clone(), route.generation);
        self.bus.join(&orders(), &route.subscription);
        self.put(route);
        until("the route is served", DEADLINE, || async {
            match self.plane.loaded().generation(&uid) {
                Some(loaded) if loaded == generation => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
    }

    pub fn put(&self, route: SubscriptionRoute) {
        let name = route.subscription.name().to_owned();
        self.subscriptions
            .lock()
            .unwrap()
            .insert(name, Arc::new(route));
        self.publish();
    }

    pub fn delete(&self, name: &str) {
        self.subscriptions.lock().unwrap().remove(name);
        self.publish();
    }

    /// Publishes another guard on what is dialled; until then everything is open.
    pub fn guard(&self, egress: Egress) {
        *self.egress.lock().unwrap() = Arc::new(egress);
        self.publish();
    }

    pub fn publish(&self) {
        let subscriptions: Vec<_> = self
            .subscriptions
            .lock()
            .unwrap()
            .values()
            .cloned()
            .collect();
        let channel = |name: &ChannelRef, accepting, subscriptions| {
            let route = ChannelRoute {
                channel: name.clone(),
                uid: Uid::new(name.as_str()),
                generation: 1,
                accepting,
                subscriptions,
            };
            (name.clone(), Arc::new(route))
        };
        let pending = ChannelRef::new("shop", "pending");
        let revoked = ChannelRef::new("shop", "revoked");
        self.plane.publish(Arc::new(Routes {
            loaded: true,
            receiver: Arc::new(self.settings.lock().unwrap().clone()),
            egress: Arc::clone(&self.egress.lock().unwrap()),
            channels: HashMap::from([
                channel(&orders(), Accepting::Yes, subscriptions),
                channel(&pending, Accepting::NotProvisioned, Vec::new()),
                channel(&revoked, Accepting::Revoked, Vec::new()),
            ]),
        }));
    }

    /// POSTs a body to the channel and expects 202.
    pub async fn send(&self, body: &str) -> Response {
        let response = self.post("/shop/orders", &[], body).await;
        assert_eq!(response.status, 202, "{response:?}");
        response
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        self.request("POST", path, headers, body).await
    }

    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        if !headers.iter().any(|(name, _)| *name == "host") {
            text.push_str("host: localhost\r\n");
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        self.raw(format!("{text}\r\n{body}").as_bytes()).await
    }

    /// Sends bytes and reads until the other side closes.
    pub async fn raw(&self, bytes: &[u8]) -> Response {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut text = Vec::new();
        let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text)).await;
        read.expect("the connection is closed").unwrap();
        Response::parse(&text)
    }

    pub fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        self.dataplane.metrics().get(name, labels)
    }

    /// Waits until a metric has a value.
    pub async fn wait_metric(&self, name: &str, labels: &[&str], value: u64) {
        until(
            &format!("{name} {labels:?} is {value}"),
            DEADLINE,
            || async {
                match self.metric(name, labels) {
                    now if now == value => Ok(()),
                    now => Err(now),
                }
            },
        )
        .await
        .unwrap();
    }

    /// Waits until nothing is held or queued for a subscription.
    pub async fn wait_settled(&self, name: &str) {
        let name = subscription(name);
        until("everything is settled", DEADLINE, || async {
            match self.bus.waiting(&name) + self.bus.out(&name) {
                0 => Ok(()),
                left => Err(left),
            }
        })
        .await
        .unwrap();
    }
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Response {
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        // Interim answers are left out.
        let text = text
            .strip_prefix("HTTP/1.1 100 Continue\r\n\r\n")
            .unwrap_or(&text)
            .to_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        Self {
            status: status.and_then(|s| s.parse().ok()).unwrap_or(0),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The stable type of a problem, without its prefix.
    pub fn problem(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        assert_eq!(json["status"], self.status);
        let kind = json["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:busway:problem:")
            .unwrap_or(kind)
            .to_owned()
    }
}

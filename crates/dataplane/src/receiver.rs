//! The HTTP server that takes messages.

mod alone;
mod body;
mod compact;
mod connection;
mod desk;
mod inbox;
mod watched;

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::{select, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

pub use alone::{MessageReceiver, MessageService};
use connection::Connection;
use desk::Desk;
pub(crate) use inbox::Inbox;
use inbox::Planes;

use crate::{
    connect::BoxIo,
    handle::{Phase, Shared},
    listen::Accept,
    metrics::{Family, Up},
    problem::Problem,
    quiet::Quiet,
};

/// How long accepting rests after it failed, which means that the process is out of descriptors.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(100);

/// Accepts and answers on one shard until the data plane drains and every connection is done.
pub(crate) async fn run(shard: usize, shared: Arc<Shared>, mut accept: Box<dyn Accept>) {
    let counts = shared.metrics.process(shard);
    let desk = Rc::new(Desk {
        inbox: match &shared.inbox {
            Some(inbox) => Arc::clone(inbox),
            None => Arc::new(Planes::new(Arc::clone(&shared), shard)),
        },
        world: shared.world.clone(),
        counts: Arc::clone(&counts),
        budget: shared.settings.budget.clone(),
        cluster_domain: shared.settings.cluster_domain.clone(),
        publish_failed: Quiet::default(),
    });
    let leaving = CancellationToken::new();
    let mut phase = shared.phase.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let accepted = select! {
            biased;
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept.accept() => accepted,
        };
        let io = match accepted {
            Ok(io) => io,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(AFTER_ACCEPT_ERROR).await;
                continue;
            }
        };
        let limits = desk.inbox.limits();
        let Some(open) = shared.connections.sender(limits.max_connections) else {
            counts.one(Family::ConnectionsRefused);
            refuse(io);
            continue;
        };
        counts.one(Family::ConnectionsOpened);
        let up = Up::new(&counts, Family::Connections, 0);
        let connection = Connection {
            desk: Rc::clone(&desk),
            header_timeout: limits.header_timeout,
            leaving: leaving.clone(),
            phase: shared.phase.subscribe(),
        };
        connections.spawn_local(async move {
            let _held = (open, up);
            connection.serve(io).await;
        });
    }
    drop(accept);
    leaving.cancel();
    let stopped = phase.wait_for(|phase| *phase >= Phase::Stopped);
    select! {
        _ = stopped => connections.shutdown().await,
        () = async { while connections.join_next().await.is_some() {} } => {}
    }
}

/// Says 503 as far as that goes without waiting, and closes.
fn refuse(mut io: BoxIo) {
    let answer = Problem::TooManyConnections.raw();
    let write = tokio::io::AsyncWriteExt::write_all(&mut io, &answer);
    let _written = futures::FutureExt::now_or_never(write);
}

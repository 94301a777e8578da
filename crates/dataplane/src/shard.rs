//! One shard: a thread with a runtime of its own, or the caller's runtime.

use std::{io, sync::Arc, thread};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::watch,
    task::JoinSet,
};

use crate::{
    dispatcher,
    handle::{Phase, Shared},
    listen::Listener,
    receiver,
};

/// Tells when a shard has ended: its sender is dropped then.
pub(crate) struct Running {
    ended: watch::Receiver<()>,
}

impl Running {
    pub(crate) fn ended(&self) -> watch::Receiver<()> {
        self.ended.clone()
    }
}

/// Starts a shard on a thread of its own.
pub(crate) fn thread(
    shard: usize,
    shared: &Arc<Shared>,
    listener: Listener,
) -> io::Result<Running> {
    let runtime_of_shard = || {
        Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
    };
    let (alive, ended) = watch::channel(());
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name(format!("busway-shard-{shard}"))
        .spawn(move || {
            let _alive = alive;
            let result = runtime_of_shard().and_then(|runtime| {
                runtime.block_on(async {
                    let accept = listener()?;
                    run(shard, shared, Some(accept)).await;
                    Ok(())
                })
            });
            if let Err(error) = result {
                tracing::error!(shard, %error, "a shard could not be started");
            }
        })?;
    Ok(Running { ended })
}

/// Starts a shard as a task on the caller's runtime.
pub(crate) fn local(shared: &Arc<Shared>, listener: Option<Listener>) -> io::Result<Running> {
    let (alive, ended) = watch::channel(());
    let shared = Arc::clone(shared);
    let accept = listener.map(|listener| listener()).transpose()?;
    tokio::task::spawn_local(async move {
        let _alive = alive;
        run(0, shared, accept).await;
    });
    Ok(Running { ended })
}

async fn run(shard: usize, shared: Arc<Shared>, accept: Option<Box<dyn crate::listen::Accept>>) {
    let mut parts = JoinSet::new();
    if let Some(accept) = accept {
        parts.spawn_local(receiver::run(shard, Arc::clone(&shared), accept));
    }
    parts.spawn_local(dispatcher::run(shard, Arc::clone(&shared)));
    while let Some(ended) = parts.join_next().await {
        // Parts end by themselves only while draining; else the shard is broken, and so the process.
        if ended.is_err() || *shared.phase.borrow() < Phase::Draining {
            tracing::error!(shard, "a part of the shard has ended");
            return;
        }
    }
}

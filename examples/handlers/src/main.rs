//! A small service of three event handlers.

mod orders;

use std::{env, net::SocketAddr};

use anyhow::Context as _;
use busway_sdk::events::{self, Mux, TracingTracker, typed};
use tokio::{
    net::TcpListener,
    signal::{
        ctrl_c,
        unix::{SignalKind, signal},
    },
};

use orders::{CancelOrder, Order, Placed, Price};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let mux = Mux::builder()
        .tracker(TracingTracker)
        .add(
            "order:price",
            1,
            typed(orders::price).documented(
                "What an order costs.",
                &Order {
                    item: "book".into(),
                    amount: 2,
                },
                &Price { cents: 2500 },
            ),
        )
        .add(
            "order:place",
            1,
            typed(orders::place).documented(
                "Places an order.",
                &Order {
                    item: "book".into(),
                    amount: 2,
                },
                &Placed {
                    order: 1,
                    cents: 2500,
                },
            ),
        )
        .add("order:cancel", 1, CancelOrder)
        .add_batch("batch", 1)
        .build()?;

    let address = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9100".to_owned());
    let address: SocketAddr = address
        .parse()
        .context("the first argument is no address")?;
    let listener = TcpListener::bind(address).await?;
    // What a terminal sends, and what Kubernetes does.
    let mut terminate = signal(SignalKind::terminate())?;
    println!("listening handlers={}", listener.local_addr()?);
    let shutdown = async {
        tokio::select! {
            _ = ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    events::serve(listener, mux.service(), shutdown).await?;
    Ok(())
}

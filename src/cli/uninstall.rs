//! `busway uninstall`: deletes every Subscription, Channel, Bus and ClusterBus of a cluster or of some namespaces, in this
//! order, and says what each waits for. The program itself, its roles and the definitions are their installer's to remove, after it.

mod cluster;
mod force;
mod leases;
mod words;

use std::{
    collections::BTreeSet,
    io::{BufRead as _, IsTerminal as _, Write as _},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use tokio::time::Instant;

use self::cluster::{Cluster, Kind, Left};

/// How often it is looked what is left.
const LOOK: Duration = Duration::from_secs(1);
/// How long hooks of dispatchers that still run may take with `--force`, for each kind.
const FORCE_AFTER: Duration = Duration::from_secs(10);
/// The longest an API server may keep an object whose finalizers are gone.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// `busway uninstall`
#[derive(Clone, Debug, Args)]
pub struct UninstallArgs {
    /// There is no operator any more: lift what holds the objects, and list what may be left on brokers. Refused while
    /// an operator holds its Lease.
    #[arg(long)]
    pub force: bool,

    /// Do not ask. Needed where nobody can be asked.
    #[arg(long, short)]
    pub yes: bool,

    /// Only what is in this namespace, and no ClusterBus: for an operator that does not look after all. Repeatable.
    #[arg(long = "namespace", short, value_name = "NAME")]
    pub namespaces: Vec<String>,

    /// How long all of it may take. Subscriptions may take the operator's bound for deletions (10m), and Channels as long
    /// again.
    #[arg(long, value_name = "DURATION", default_value = "25m", value_parser = busway_api::text::parse_duration)]
    pub timeout: Duration,
}

/// Deletes them.
///
/// # Errors
/// When it is not confirmed, something is left when the time is over, or the API server says no.
pub async fn run(args: UninstallArgs) -> anyhow::Result<()> {
    let until = Instant::now() + args.timeout;
    let cluster = Cluster::connect(args.namespaces).await?;
    let operator = leases::operator(&cluster, cluster.namespaces()).await?;
    if let Some(holder) = operator.as_ref().filter(|_| args.force) {
        anyhow::bail!(
            "an operator works: {holder}. Leave --force out, so that it and the dispatchers clean up; or stop it first"
        );
    }
    let mut all = Vec::new();
    for kind in Kind::ORDER {
        all.push((kind, cluster.left(kind).await?));
    }
    if all.iter().all(|(_, left)| left.is_empty()) {
        say(format!(
            "there is no Subscription, Channel, Bus or ClusterBus{}",
            words::within(cluster.namespaces())
        ));
    } else {
        if !args.yes {
            confirm(&all)?;
        }
        match &operator {
            Some(holder) => say(format!("an operator works: {holder}")),
            None if !args.force => say(
                "no operator holds a Lease: what no dispatcher can clean up will wait until one does, or for --force",
            ),
            None => {}
        }
    }
    let mut let_go = 0;
    for kind in Kind::ORDER {
        if args.force {
            let_go += force::remove(&cluster, kind, until).await?;
        } else {
            remove(&cluster, kind, until).await?;
        }
    }
    say(format!(
        "every Subscription, Channel, Bus and ClusterBus{} is gone",
        words::within(cluster.namespaces())
    ));
    if args.force {
        force::tell_left(&cluster, let_go).await?;
    }
    Ok(())
}

/// Deletes all of a kind and waits until they are gone.
async fn remove(cluster: &Cluster, kind: Kind, until: Instant) -> anyhow::Result<()> {
    cluster.delete_all(kind, &cluster.left(kind).await?).await?;
    let gone = wait(cluster, kind, until).await?;
    if let Some(left) = gone {
        anyhow::bail!(
            "{} left when the time was over; the operator ends each wait within its deletion bound, so call it again, \
             or stop the operator and use --force:\n{}",
            words::count(kind, left.len()),
            words::lines(&left).join("\n")
        );
    }
    Ok(())
}

/// Waits until none is left, and says what they wait for whenever that changes. Nothing when none is left.
async fn wait(cluster: &Cluster, kind: Kind, until: Instant) -> anyhow::Result<Option<Vec<Left>>> {
    let mut told = BTreeSet::new();
    let mut last = None;
    loop {
        let left = cluster.left(kind).await?;
        if last.is_some_and(|last| last != left.len()) || (last.is_none() && !left.is_empty()) {
            say(format!("{} left", words::count(kind, left.len())));
        }
        last = Some(left.len());
        if left.is_empty() {
            return Ok(None);
        }
        let lines: BTreeSet<_> = words::lines(&left).into_iter().collect();
        for line in lines.difference(&told) {
            say(format!("  {line}"));
        }
        told = lines;
        // What was made since then goes too.
        cluster.delete_all(kind, &left).await?;
        if Instant::now() >= until {
            return Ok(Some(left));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn confirm(all: &[(Kind, Vec<Left>)]) -> anyhow::Result<()> {
    say("This deletes, with the messages that are still in them:");
    for (kind, left) in all {
        say(format!("  {}", words::count_where(*kind, left)));
    }
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "nothing was deleted: there is nobody to ask; pass --yes"
    );
    write_out("Go on? [yes/no] ");
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .context("reading the answer")?;
    anyhow::ensure!(answer.trim() == "yes", "nothing was deleted");
    Ok(())
}

/// A line for the person at the terminal; who does not read it does not stop the work.
fn say(line: impl AsRef<str>) {
    write_out(&format!("{}\n", line.as_ref()));
}

fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

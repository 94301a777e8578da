mod addresses;
mod answers;
mod cesql;
mod durations;
mod events;
mod filters;
mod handlers;
mod manifests;
mod retry_after;

/// Something that reads untrusted bytes.
#[derive(Debug)]
pub struct Target {
    /// Its name, and its folder's in `corpus/`.
    pub name: &'static str,
    /// Reads an input. Panics when what must hold does not.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "addresses",
        run: addresses::run,
    },
    Target {
        name: "answers",
        run: answers::run,
    },
    Target {
        name: "cesql",
        run: cesql::run,
    },
    Target {
        name: "durations",
        run: durations::run,
    },
    Target {
        name: "events",
        run: events::run,
    },
    Target {
        name: "filters",
        run: filters::run,
    },
    Target {
        name: "handlers",
        run: handlers::run,
    },
    Target {
        name: "manifests",
        run: manifests::run,
    },
    Target {
        name: "retry-after",
        run: retry_after::run,
    },
];

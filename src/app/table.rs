//! The objects of a folder with their conditions, as a person reads them.

use std::{fmt::Write as _, sync::Arc};

use serde_json::Value;

/// Our objects, as an API server would show them.
pub(crate) struct Objects(pub(crate) Vec<Arc<Value>>);

/// One object's line.
struct Row<'a> {
    kind: &'a str,
    name: String,
    ready: &'a str,
    reason: &'a str,
    message: &'a str,
}

impl Objects {
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.0.iter().map(|object| {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
            let name = text("/metadata/name").unwrap_or_default();
            let ready = object
                .pointer("/status/conditions")
                .and_then(Value::as_array)
                .and_then(|all| all.iter().find(|c| c.get("type") == Some(&"Ready".into())));
            let of = |field: &str| {
                ready
                    .and_then(|ready| ready.get(field))
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            Row {
                kind: text("/kind").unwrap_or_default(),
                name: match text("/metadata/namespace") {
                    Some(namespace) => format!("{namespace}/{name}"),
                    None => name.to_owned(),
                },
                ready: if ready.is_some() { of("status") } else { "-" },
                reason: of("reason"),
                message: of("message"),
            }
        })
    }

    /// A table; the message only where something is not ready.
    pub(crate) fn table(&self) -> String {
        let rows: Vec<_> = self.rows().collect();
        let width = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or_default();
        let names = width(&mut rows.iter().map(|row| row.name.len())).max(4);
        let reasons = width(&mut rows.iter().map(|row| row.reason.len())).max(6);
        let mut table = format!(
            "{:<12}  {:<names$}  {:<7}  {:<reasons$}\n",
            "KIND", "NAME", "READY", "REASON"
        );
        for row in rows {
            let message = if row.ready == "True" { "" } else { row.message };
            let line = format!(
                "{:<12}  {:<names$}  {:<7}  {:<reasons$}  {message}",
                row.kind, row.name, row.ready, row.reason
            );
            let _ = writeln!(table, "{}", line.trim_end());
        }
        table
    }

    /// Whether every object is Ready.
    pub(crate) fn all_ready(&self) -> bool {
        self.rows().all(|row| row.ready == "True")
    }

    /// Why an object is not Ready; nothing when it is.
    pub(crate) fn not_ready(&self, kind: &str, name: &str) -> Option<String> {
        match self.rows().find(|row| row.kind == kind && row.name == name) {
            None => Some("it does not exist".to_owned()),
            Some(row) if row.ready == "True" => None,
            Some(row) => Some(format!("{}: {}", row.reason, row.message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_says_why_something_is_not_ready() {
        let condition = |status: &str, reason: &str| json!([{"type": "Ready", "status": status, "reason": reason, "message": "why"}]);
        let all = [
            json!({"kind": "ClusterBus", "metadata": {"name": "m"}, "status": {"conditions": condition("True", "Ready")}}),
            json!({"kind": "Channel", "metadata": {"namespace": "a", "name": "b"}, "status": {"conditions": condition("False", "BusNotFound")}}),
            json!({"kind": "Channel", "metadata": {"namespace": "a", "name": "c"}}),
        ];
        let objects = Objects(all.map(Arc::new).to_vec());
        let expected = "KIND          NAME  READY    REASON\n\
                        ClusterBus    m     True     Ready\n\
                        Channel       a/b   False    BusNotFound  why\n\
                        Channel       a/c   -\n";
        assert_eq!(objects.table().replace("REASON     ", "REASON"), expected);
        assert!(!objects.all_ready());
        assert_eq!(
            objects.not_ready("Channel", "a/b").as_deref(),
            Some("BusNotFound: why")
        );
        assert_eq!(objects.not_ready("ClusterBus", "m"), None);
        assert_eq!(
            objects.not_ready("Channel", "x/y").as_deref(),
            Some("it does not exist")
        );
    }
}

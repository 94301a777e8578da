//! The documentation page, for people and as JSON.

#![allow(clippy::unwrap_used, reason = "tests")]

use busway_sdk::events::{
    Answer, Context, Event, EventDoc, Handler, HandlerError, Mux, Schema, schema_of, typed,
};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::Service as _;

#[derive(Serialize, Deserialize, JsonSchema)]
struct MockInput {
    f1: String,
    #[serde(rename = "someNumber")]
    number: i64,
    omit: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct MockOutput {
    field3: String,
    f4: f64,
}

async fn mock(_: Context, _: MockInput) -> Result<MockOutput, HandlerError> {
    Err(HandlerError::message("only documented"))
}

async fn bare(_: Context, event: Event) -> Result<Event, HandlerError> {
    Ok(event)
}

fn documented() -> impl Handler {
    let input = MockInput {
        f1: "some string".to_owned(),
        number: 42,
        omit: None,
    };
    let output = MockOutput {
        field3: "another string".to_owned(),
        f4: 10.42,
    };
    typed(mock).documented("Mock <documentation> & more", &input, &output)
}

/// One whose documentation panics.
struct Broken;

impl Handler for Broken {
    async fn serve(&self, _: Context, event: Event) -> Result<Event, HandlerError> {
        Ok(event)
    }

    fn doc(&self) -> Option<&dyn EventDoc> {
        Some(self)
    }
}

impl EventDoc for Broken {
    fn example(&self) -> (Value, Value) {
        panic!("no example")
    }

    fn input(&self) -> Schema {
        schema_of::<u8>()
    }

    fn output(&self) -> Schema {
        schema_of::<u8>()
    }

    fn doc(&self) -> String {
        String::new()
    }
}

fn mux() -> Mux {
    Mux::builder()
        .add("ZTestEvent", 1, documented())
        .add("TestEvent", 42, documented())
        .add("TestEvent", 7, documented())
        .add("\"><script>", 1, documented())
        .add("bare", 1, bare)
        .add("broken", 1, Broken)
        .add_batch("batch", 1)
        .build()
        .unwrap()
}

async fn get(path: &str, accept: Option<&str>) -> (Answer, String) {
    let mut request = Request::get(path);
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    let request = request.body(Full::<bytes::Bytes>::default()).unwrap();
    let answer = mux().service().call(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (Answer::from_parts(head, Full::default()), text)
}

#[tokio::test]
async fn the_page_shows_names_fields_types_and_examples() {
    for path in ["/doc", "/doc/"] {
        let (head, page) = get(path, None).await;
        assert_eq!(head.status(), 200);
        assert_eq!(head.headers()["content-type"], "text/html; charset=utf-8");
        for part in [
            "<title>Events documentation</title>",
            "<h1>Events</h1>",
            "<li><a href=\"#TestEvent@42\">TestEvent (Version: 42)</a></li>",
            "<li>bare (Version: 1)</li>",
            "<li>batch (Version: 1)</li>",
            "<li>broken (Version: 1)</li>",
            "<h2>TestEvent (Version: 7)</h2>",
            "<h3>Input Example</h3>",
            "<h3>Input Schema</h3>",
            "<h3>Output Example</h3>",
            "<h3>Output Schema</h3>",
            "  &quot;f1&quot;: &quot;some string&quot;",
            "&quot;title&quot;: &quot;MockInput&quot;",
            "&quot;f4&quot;: 10.42",
            "Mock &lt;documentation&gt; &amp; more",
        ] {
            assert!(page.contains(part), "no `{part}` in:\n{page}");
        }
        assert!(!page.contains("<script>"), "{page}");
    }
}

#[tokio::test]
async fn events_are_sorted_and_their_names_lead_to_the_highest_version() {
    let (_, page) = get("/doc", None).await;
    let at = |part: &str| {
        let found = page.find(part);
        found.unwrap_or_else(|| panic!("no `{part}` in:\n{page}"))
    };
    assert!(at("id=\"TestEvent@7\"") < at("id=\"TestEvent@42\""));
    assert!(at("id=\"TestEvent@42\"") < at("id=\"ZTestEvent@1\""));
    assert!(at("<h2 id=\"TestEvent\">TestEvent (Version: 42)</h2>") > at("id=\"TestEvent@7\""));
    assert_eq!(page.matches("id=\"TestEvent\"").count(), 1);
}

#[tokio::test]
async fn the_same_is_there_as_json() {
    let (head, page) = get("/doc", Some("application/json")).await;
    assert_eq!(head.headers()["content-type"], "application/json");
    let events: Value = serde_json::from_str(&page).unwrap();
    let names: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            (
                event["name"].as_str().unwrap(),
                event["version"].as_i64().unwrap(),
            )
        })
        .collect();
    let wanted = [
        ("\"><script>", 1),
        ("TestEvent", 7),
        ("TestEvent", 42),
        ("ZTestEvent", 1),
        ("bare", 1),
        ("batch", 1),
        ("broken", 1),
    ];
    assert_eq!(names, wanted);
    assert_eq!(events[4], json!({"name": "bare", "version": 1}));
    let documented = &events[1];
    assert_eq!(documented["doc"], "Mock <documentation> & more");
    let input = &documented["input"];
    assert_eq!(input["example"]["someNumber"], 42);
    let schema = &input["schema"];
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(schema["title"], "MockInput");
    assert_eq!(schema["required"], json!(["f1", "someNumber"]));
    assert_eq!(documented["output"]["schema"]["title"], "MockOutput");
    assert_eq!(documented["output"]["example"]["f4"], 10.42);
}

#[tokio::test]
async fn a_browser_gets_the_page_for_people() {
    let accept = "text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8";
    for accept in [accept, "*/*", "text/*"] {
        let (head, _) = get("/doc", Some(accept)).await;
        assert_eq!(head.headers()["content-type"], "text/html; charset=utf-8");
    }
}

#[tokio::test]
async fn other_methods_are_told_what_is_allowed() {
    let request = Request::post("/doc").body(Full::<bytes::Bytes>::default());
    let answer = mux().service().call(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "GET, HEAD");
}

#[tokio::test]
async fn each_half_can_be_mounted_anywhere() {
    let request = |method: &str| {
        let request = Request::builder().method(method).uri("/anything");
        request.body(Full::<bytes::Bytes>::default()).unwrap()
    };
    let answer = mux().docs().call(request("GET")).await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer = mux().events().call(request("POST")).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn they_mount_into_a_router_of_axum_as_they_are() {
    let mut router = axum::Router::<()>::new()
        .route_service("/my/events", mux().events())
        .route_service("/my/page", mux().docs())
        .fallback_service(mux().service());
    for (method, path, status) in [
        ("POST", "/my/events", 200),
        ("GET", "/my/page", 200),
        ("GET", "/doc", 200),
        ("GET", "/events", 405),
        ("GET", "/other", 404),
    ] {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(axum::body::Body::empty()).unwrap();
        let answer = router.call(request).await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
    }
}

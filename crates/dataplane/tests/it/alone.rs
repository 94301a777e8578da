//! Receiver and dispatcher each without the other.

use std::sync::{Arc, Mutex};

use busway_core::{bus::PublishError, egress::Egress};
use busway_dataplane::{DispatchDefaults, DispatchError, MessageDispatcher, MessageReceiver};
use busway_message::Message;
use busway_testkit::subscriber::{Answer, Subscriber};
use http::Request;
use http_body_util::Full;
use tower::Service as _;

fn defaults(reply_to: Option<String>) -> DispatchDefaults {
    DispatchDefaults {
        namespace: "shop".to_owned(),
        reply_to,
    }
}

#[tokio::test]
async fn a_receiver_is_a_service_that_calls_a_function() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&taken);
    let receiver = MessageReceiver::new(move |channel, message| {
        seen.lock().unwrap().push((channel.to_string(), message));
        let unknown = channel.name() == "unknown";
        async move {
            if unknown {
                return Err(PublishError::UnknownChannel(channel));
            }
            Ok(())
        }
    });
    let mut service = receiver.service();
    for (path, status) in [
        ("/shop/orders", 202),
        ("/shop/unknown", 404),
        ("/other", 404),
    ] {
        let request = Request::post(path)
            .header("host", "x")
            .body(Full::<bytes::Bytes>::from("hello"))
            .unwrap();
        assert_eq!(service.call(request).await.unwrap().status(), status);
    }
    let taken = taken.lock().unwrap();
    assert_eq!(taken[0].0, "shop/orders");
    assert_eq!(&taken[0].1.body()[..], b"hello");
    assert_eq!(taken.len(), 2);
}

#[tokio::test]
async fn a_receiver_serves_until_it_is_told_to_end() {
    let receiver = MessageReceiver::new(|_, _| async { Ok(()) });
    // A port that is free now; nobody else of this test binds one.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        receiver
            .run(address, async {
                let _dropped = ended.await;
            })
            .await
    });
    let dispatcher = MessageDispatcher::new().with_egress(Egress::open());
    let url = format!("http://{address}/shop/orders");
    busway_testkit::wait::until("it answers", super::harness::DEADLINE, || {
        let (dispatcher, url) = (&dispatcher, &url);
        async move {
            dispatcher
                .dispatch(Message::default(), url, &defaults(None))
                .await
        }
    })
    .await
    .unwrap();
    drop(end);
    running.await.unwrap().unwrap();
    let refused = dispatcher
        .dispatch(Message::default(), &url, &defaults(None))
        .await;
    assert_eq!(refused.unwrap_err().reason(), "ConnectError");
}

#[tokio::test]
async fn a_dispatcher_sends_a_message_and_its_reply() {
    let subscriber = Subscriber::answering(|_, _| Answer::status(200).body("answer"))
        .await
        .unwrap();
    let target = Subscriber::start().await.unwrap();
    let dispatcher = MessageDispatcher::new().with_egress(Egress::open());
    let message = Message::default().with_body("question".into());
    let to = defaults(Some(target.url()));
    dispatcher
        .dispatch(message.clone(), &subscriber.url(), &to)
        .await
        .unwrap();
    assert_eq!(&target.got()[0].body[..], b"answer");
    target.now_answers(|_, _| Answer::status(500));
    let error = dispatcher
        .dispatch(message.clone(), &subscriber.url(), &to)
        .await;
    assert!(
        matches!(error, Err(DispatchError::ReplyFailed(_))),
        "{error:?}"
    );
    subscriber.now_answers(|_, _| Answer::status(404));
    let error = dispatcher
        .dispatch(message.clone(), &subscriber.url(), &to)
        .await;
    assert!(matches!(error, Err(DispatchError::Failed(_))), "{error:?}");
    let error = dispatcher.dispatch(message, "ftp://x", &to).await;
    assert_eq!(error.unwrap_err().reason(), "InvalidDestination");
}

#[tokio::test]
async fn a_dispatcher_alone_guards_what_it_dials() {
    let subscriber = Subscriber::start().await.unwrap();
    let sent = MessageDispatcher::new()
        .dispatch(Message::default(), &subscriber.url(), &defaults(None))
        .await;
    assert_eq!(sent.unwrap_err().reason(), "EgressRefused");
    assert!(subscriber.got().is_empty());
}

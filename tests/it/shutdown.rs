//! A shutdown: everything ends together, by one deadline, and what is cut is told so.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pushgate::{
    Address, AppId, Audience, ChannelInfo, Delivery, Fault, Gateway, Message, Notification, Probe,
    PushChannel, Rendered, Report, SubmitError, TokenKind,
};
use pushgate_dummy::Dummy;
use tokio::sync::Semaphore;

use crate::setup::MAX_WAIT;
use crate::sockets::{self, ENDLESS, Socket, endless, head, serve};

/// A channel whose push service answers when it is told to.
struct Slow {
    inside: Dummy,
    begun: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

#[async_trait]
impl PushChannel for Slow {
    fn info(&self) -> &ChannelInfo {
        self.inside.info()
    }
    fn render(&self, message: &Message) -> Rendered {
        self.inside.render(message)
    }
    async fn send(&self, delivery: &Delivery) -> Report {
        self.begun.add_permits(1);
        self.answers.acquire().await.unwrap().forget();
        self.inside.send(delivery).await
    }
    async fn probe(&self) -> Result<Probe, Fault> {
        self.inside.probe().await
    }
}

fn hello() -> Notification {
    let channel = pushgate::ChannelName::new("dummy").unwrap();
    let address = Address { channel, kind: TokenKind::Token, token: "t".into() };
    Notification::new(AppId::new("demo").unwrap(), Audience::Addresses(vec![address])).title("hello")
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_requests_do_not_hold_a_shutdown_and_it_takes_no_longer_than_the_lanes_need() {
    let (begun, answers) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let slow = Slow { inside: sockets::dummy(), begun: begun.clone(), answers: answers.clone() };
    let gateway = Gateway::builder().channel(slow).start().await.unwrap();
    let (running, key) = serve(gateway.clone(), "shutdown_grace = \"10m\"").await;
    let address = running.address;
    let ticket = gateway.submit(hello()).await.unwrap();
    begun.acquire().await.unwrap().forget();

    let mut half_a_head = Socket::open(address, "GET /healthz HTTP/1.1\r\n").await;
    let mut half_a_body = endless(address, &key).await;
    let waiting = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.wait_until_settled(&AppId::new("demo").unwrap(), ticket.id, MAX_WAIT * 10).await }
    });
    let stopping = tokio::spawn(running.stop());
    assert_eq!(half_a_head.read_all().await, "");
    let answer = half_a_body.read_all().await;
    assert!(answer.contains("HTTP/1.1 503") && answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(answer.contains(r#""code":"shutting_down""#), "{answer}");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens");
    assert!(matches!(gateway.submit(hello()).await, Err(SubmitError::ShuttingDown)));
    let status = tokio::time::timeout(MAX_WAIT, waiting).await.unwrap().unwrap().unwrap();
    assert!(!status.unwrap().is_settled(), "whoever waits for outcomes learns what is known");
    assert!(!stopping.is_finished(), "the lane still has work");
    answers.add_permits(1);
    tokio::time::timeout(MAX_WAIT, stopping).await.unwrap().unwrap();
    let status = gateway.status(&AppId::new("demo").unwrap(), ticket.id).await.unwrap().unwrap();
    assert!(status.is_settled(), "what was under way has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_begin_to_close_while_requests_are_still_served() {
    let gateway = sockets::gateway().await;
    let (running, key) = serve(gateway.clone(), "shutdown_grace = \"10m\"").await;
    let mut served = served_for_ever(running.address, &key).await;
    let stopping = tokio::spawn(running.stop());
    let closed = async {
        while gateway.submit(hello()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MAX_WAIT, closed).await.expect("lanes close at once");
    assert!(!stopping.is_finished(), "a request is served");
    stopping.abort();
    served.read_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_deadline_ends_requests_and_lanes_and_a_request_that_is_cut_is_told() {
    let answers = Arc::new(Semaphore::new(0));
    let begun = Arc::new(Semaphore::new(0));
    let slow = Slow { inside: sockets::dummy(), begun: begun.clone(), answers };
    let gateway = Gateway::builder().channel(slow).presence(sockets::NeverAnswers).start().await.unwrap();
    let grace = Duration::from_millis(2000);
    let (running, key) = serve(gateway.clone(), "shutdown_grace = \"2s\"").await;
    let app = AppId::new("demo").unwrap();
    let ticket = gateway.submit(hello()).await.unwrap();
    begun.acquire().await.unwrap().forget();
    let mut served = served_for_ever(running.address, &key).await;
    let began = std::time::Instant::now();
    running.stop().await;
    // Two periods of grace, one after the other, would be four seconds.
    assert!(began.elapsed() < grace + grace / 2, "{:?}", began.elapsed());
    let answer = served.read_all().await;
    assert!(answer.contains("HTTP/1.1 503") && answer.contains(r#""code":"shutting_down""#), "{answer}");
    let status = gateway.status(&app, ticket.id).await.unwrap().unwrap();
    assert!(!status.is_settled(), "the abandoned delivery waits in the queue");
}

/// A request whose handler never ends; returns when it is being served.
async fn served_for_ever(address: std::net::SocketAddr, key: &str) -> Socket {
    let bearer = format!("authorization: Bearer {key}");
    let asked = head(&format!("GET {ENDLESS}"), &[&bearer]);
    // The answer to the first request on the same connection shows that the server is reading the second.
    let mut socket = Socket::open(address, &(head("GET /healthz", &[]) + &asked)).await;
    socket.read_until("ok\n").await;
    socket
}

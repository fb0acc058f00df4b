//! How connections end on demand: what GOAWAY says, which streams are answered, and that no answer is lost on the way.

use h2::Reason;
use pushgate_emulator::{AfterGoaway, Effect, EventKind, Fault, Goaway, LastStream};

use crate::client::{App, Client, PATIENCE};

fn goaway(last: LastStream, then: AfterGoaway) -> Goaway {
    Goaway { last, code: 0, debug: r#"{"reason":"Shutdown"}"#.to_owned(), then }
}

async fn hanging(app: &App, requests: usize) {
    let hung = |what: &EventKind| matches!(what, EventKind::Fault { effect: "delay", .. });
    while app.emulator.fcm().events(0).iter().filter(|event| hung(&event.kind)).count() < requests {
        tokio::task::yield_now().await;
    }
}

/// How the connection ended.
async fn end(client: Client) -> Option<h2::Error> {
    // The handle lives on: without one the client would close by itself.
    let _open = client.send;
    tokio::time::timeout(PATIENCE, client.ended).await.unwrap().unwrap().err()
}

#[tokio::test]
async fn a_draining_goaway_answers_what_it_has_processed_and_closes() {
    let app = App::new().await;
    app.emulator.fcm().add_fault(Fault::next(5, Effect::Delay { ms: 100 }));
    let slow: Vec<_> = (0..5).map(|_| app.send(&app.hello())).collect();
    hanging(&app, 5).await;
    app.emulator
        .fcm()
        .add_fault(Fault::next(1, Effect::Goaway(goaway(LastStream::This, AfterGoaway::Drain))));
    assert_eq!(app.send(&app.hello()).await.unwrap().status, 200, "the one that brought it about");
    for answer in slow {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert_eq!(app.seen(), 6);
    // 13 is the sixth push: the token request was stream 1.
    let told = app.emulator.fcm().wait_for(|what| *what == EventKind::Goaway { last: 13 }, PATIENCE).await;
    assert!(told.is_some());
    end(app.client).await;
}

#[tokio::test]
async fn a_stream_above_the_last_one_is_not_processed() {
    let app = App::new().await;
    app.emulator
        .fcm()
        .add_fault(Fault::next(1, Effect::Goaway(goaway(LastStream::Before, AfterGoaway::Drain))));
    let error = app.send(&app.hello()).await.unwrap_err();
    assert!(error.is_go_away() && error.is_remote(), "{error}");
    assert_eq!(error.reason(), Some(Reason::NO_ERROR));
    assert_eq!(app.seen(), 0);
    let again = Client::connect(&app.emulator).await;
    assert_eq!((app.send_on(&again, &app.hello()).await.unwrap().status, app.seen()), (200, 1));
}

#[tokio::test]
async fn goaway_never_says_of_a_processed_stream_that_it_was_not() {
    let app = App::new().await;
    // Fifty at once; one in the middle brings about a GOAWAY that names the stream before it.
    app.emulator
        .fcm()
        .add_fault(Fault::next(1, Effect::Goaway(goaway(LastStream::Before, AfterGoaway::Drain))).skip(25));
    let asked: Vec<_> = (0..50).map(|_| app.send(&app.hello())).collect();
    let (mut answered, mut unsent) = (0, 0);
    for answer in asked {
        match answer.await {
            Ok(answer) => {
                assert_eq!(answer.status, 200);
                answered += 1;
            }
            Err(error) => {
                let refused = error.reason() == Some(Reason::REFUSED_STREAM);
                assert!(error.is_remote() && (error.is_go_away() || refused), "{error}");
                unsent += 1;
            }
        }
    }
    assert_eq!((answered, unsent > 0), (app.seen(), true), "{unsent} were given back");
    assert_eq!(answered + unsent, 50);
}

#[tokio::test]
async fn an_abrupt_goaway_leaves_open_streams_without_an_answer() {
    let app = App::new().await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Delay { ms: 60_000 }));
    let slow = app.send(&app.hello());
    hanging(&app, 1).await;
    let abrupt = Goaway { code: 11, ..goaway(LastStream::This, AfterGoaway::Abrupt) };
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Goaway(abrupt)));
    assert!(app.send(&app.hello()).await.is_err());
    assert!(slow.await.is_err());
    assert_eq!(app.seen(), 2, "both were processed");
    let error = end(app.client).await.expect("the connection ends with an error");
    assert_eq!((error.is_go_away(), error.reason()), (true, Some(Reason::ENHANCE_YOUR_CALM)));
}

#[tokio::test]
async fn debug_data_comes_with_it() {
    let app = App::new().await;
    app.emulator.fcm().send_goaway(&Goaway { code: 2, ..goaway(LastStream::This, AfterGoaway::Abrupt) });
    let error = end(app.client).await.expect("the connection ends with an error");
    assert!(error.to_string().contains("Shutdown"), "{error}");
}

#[tokio::test]
async fn the_highest_number_refuses_nothing_and_only_asks_for_no_new_streams() {
    let app = App::new().await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Delay { ms: 100 }));
    let slow = app.send(&app.hello());
    hanging(&app, 1).await;
    app.emulator.fcm().send_goaway(&goaway(LastStream::Highest, AfterGoaway::Drain));
    assert_eq!(slow.await.unwrap().status, 200);
    end(app.client).await;
    let told =
        app.emulator.fcm().wait_for(|what| *what == EventKind::Goaway { last: 0x7fff_ffff }, PATIENCE).await;
    assert!(told.is_some());
}

#[tokio::test]
async fn all_living_connections_can_be_sent_away() {
    let app = App::new().await;
    let other = Client::connect(&app.emulator).await;
    other.knows_limit(100).await;
    assert_eq!(app.emulator.fcm().connections(), 2);
    app.emulator.fcm().send_goaway(&Goaway::default());
    end(app.client).await;
    end(other).await;
    assert_eq!(app.emulator.fcm().connections(), 0);
}

#[tokio::test]
async fn a_connection_cut_without_a_word_takes_its_streams_along() {
    let app = App::new().await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Close));
    let error = app.send(&app.hello()).await.unwrap_err();
    assert!(!error.is_go_away() && !error.is_reset(), "{error}");
    assert_eq!(app.seen(), 0);
}

#[tokio::test]
async fn answers_on_their_way_survive_a_close_with_unread_requests() {
    // A client that goes on sending while the connection is closed: what was answered before still arrives.
    let app = App::new().await;
    let mut answered = 0;
    for _ in 0..20 {
        let client = Client::connect(&app.emulator).await;
        app.emulator
            .fcm()
            .add_fault(Fault::next(1, Effect::Goaway(goaway(LastStream::This, AfterGoaway::Drain))).skip(10));
        let asked: Vec<_> = (0..90).map(|_| app.send_on(&client, &app.hello())).collect();
        for answer in asked {
            match answer.await {
                Ok(_) => answered += 1,
                Err(error) => assert!(error.is_go_away() && error.is_remote(), "{error}"),
            }
        }
        assert_eq!(answered, app.seen());
    }
}

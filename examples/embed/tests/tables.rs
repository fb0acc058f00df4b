//! Tests that the tables pass the checks for stores, and that the loop pushes to absent users.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use pushgate_embed::Tables;

#[tokio::test]
async fn the_im_servers_own_tables_keep_the_promises_of_a_store() {
    pushgate_kit::keeping::store(&Tables::default()).await;
    pushgate_kit::keeping::no_sequence_leaves_an_address_with_two_users(&Tables::default(), 200).await;
}

#[test]
fn the_loop_pushes_to_whoever_is_away_and_to_nobody_else() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_pushgate-embed"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines =
        "register bob t1\nann bob hello\nopen bob\nann bob again\nclose bob\nregister ann t2\nbob ann hi\n";
    let mut stdin = server.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    let said = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut said: Vec<String> = said.take(3).map(Result::unwrap).collect();
    drop(stdin);
    assert!(server.wait().unwrap().success());
    said.sort_unstable();
    assert_eq!(said, ["bob reads: again", "push to ann: sent", "push to bob: sent"]);
}

//! Loading, using and closing again a thousand times leaves nothing behind.

use std::process::Command;
use std::sync::Arc;

use pushgate_plugin_host::Swap;

use crate::kit::{Bench, Built, delivery, source, webhook};

/// Memory of this process that is in use, and its open files.
fn footprint() -> (usize, usize) {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    (resident * 4096, std::fs::read_dir("/proc/self/fd").unwrap().count())
}

#[test]
fn a_thousand_reloads_of_one_file_load_it_once_and_leave_nothing_behind() {
    // In a process of its own: what other tests do to the memory of this one is not ours.
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "reload::a_thousand_reloads_alone"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && told.contains("1 passed"), "{told}");
}

#[tokio::test]
#[ignore = "runs alone, as part of the test above"]
async fn a_thousand_reloads_alone() {
    let (bench, built) = (Bench::new(), Built::rogue(&[]));
    let first = bench.loader.load(&source(built.path())).unwrap();
    let swap = Swap::new(bench.open(&first, "well").unwrap());
    let mut before = None;
    for round in 0..1100 {
        // The allocator warms up for the first hundred.
        if round == 100 {
            before = Some(footprint());
        }
        let plugin = bench.loader.load(&source(built.path())).unwrap();
        assert!(std::ptr::eq(plugin.description(), first.description()), "it is the same library");
        swap.exchange(bench.open(&plugin, "well").unwrap());
        let channel: &dyn pushgate::PushChannel = &swap;
        assert_eq!(channel.send(&delivery(2)).await.outcomes()[1].code(), "accepted");
    }
    let ((memory, files), (memory_after, files_after)) = (before.unwrap(), footprint());
    assert!(files_after == files, "{files} files, then {files_after}");
    let grown = memory_after.saturating_sub(memory);
    assert!(grown < 2 << 20, "{grown} bytes more after a thousand reloads");
}

#[tokio::test]
async fn those_under_way_end_in_the_old_inside_and_new_ones_go_to_the_new() {
    let bench = Bench::new();
    let plugin = bench.loader.load(&source(Built::rogue(&[]).path())).unwrap();
    bench.transport.hold();
    let swap = Arc::new(Swap::new(bench.open(&plugin, "http").unwrap()));
    let sending = tokio::spawn({
        let swap = Arc::clone(&swap);
        async move {
            let channel: &dyn pushgate::PushChannel = &*swap;
            channel.send(&delivery(1)).await
        }
    });
    bench.transport.arrived(1).await;
    swap.exchange(bench.open(&plugin, "well").unwrap());
    let channel: &dyn pushgate::PushChannel = &*swap;
    assert_eq!(channel.send(&delivery(2)).await.outcomes().len(), 2, "the new one is not held up");
    bench.transport.then(pushgate_kit::transport::answer(200, "old"));
    bench.transport.release();
    assert_eq!(sending.await.unwrap().outcomes(), [pushgate::Outcome::accepted("old")]);
}

#[tokio::test]
async fn two_plugins_of_one_process_do_not_know_each_other() {
    let bench = Bench::new();
    let one = bench.loader.load(&source(Built::rogue(&["KIND=\"one\""]).path())).unwrap();
    let two = bench.loader.load(&source(Built::rogue(&["KIND=\"two\""]).path())).unwrap();
    let three = bench.loader.load(&source(webhook())).unwrap();
    let kinds = [&one, &two, &three].map(|plugin| plugin.description().kind.clone());
    assert_eq!(kinds, ["one", "two", "webhook"]);
    let (first, second) = (bench.open(&one, "well").unwrap(), bench.open(&two, "stranger").unwrap());
    let (a, b) = (delivery(1), delivery(1));
    let (a, b) = (first.send(&a).await, second.send(&b).await);
    assert_eq!((a.outcomes()[0].code(), b.outcomes()[0].code()), ("accepted", "accepted"));
}

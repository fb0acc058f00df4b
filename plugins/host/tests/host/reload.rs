//! Reloading of plugins: replaced channels, and a thousand reloads without a leak.

use std::process::Command;
use std::sync::Arc;

use pushgate_plugin_host::SwappableChannel;

use crate::kit::{Bench, BuiltPlugin, delivery, source, webhook};

/// Returns the resident memory of this process in bytes, and the number of its open files.
fn footprint() -> (usize, usize) {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    (resident * 4096, std::fs::read_dir("/proc/self/fd").unwrap().count())
}

#[test]
fn a_thousand_reloads_of_one_file_load_it_once_and_leave_nothing_behind() {
    // In a separate process, because other tests change the memory of this one.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "reload::a_thousand_reloads_alone"])
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}");
}

#[tokio::test]
#[ignore = "runs alone, as part of the test above"]
async fn a_thousand_reloads_alone() {
    let (bench, built) = (Bench::new(), BuiltPlugin::rogue(&[]));
    let first = bench.loader.load(&source(built.path())).unwrap();
    let swap = SwappableChannel::new(bench.open(&first, "well").unwrap());
    let mut before = None;
    for round in 0..1100 {
        // The first hundred rounds warm up the allocator.
        if round == 100 {
            before = Some(footprint());
        }
        let plugin = bench.loader.load(&source(built.path())).unwrap();
        assert!(std::ptr::eq(plugin.description(), first.description()), "it is the same library");
        swap.replace(bench.open(&plugin, "well").unwrap());
        let channel: &dyn pushgate::PushChannel = &swap;
        assert_eq!(channel.send(&delivery(2)).await.outcomes()[1].code(), "accepted");
    }
    let ((memory, files), (memory_after, files_after)) = (before.unwrap(), footprint());
    assert!(files_after == files, "{files} files, then {files_after}");
    let grown = memory_after.saturating_sub(memory);
    assert!(grown < 2 << 20, "{grown} bytes more after a thousand reloads");
}

#[tokio::test]
async fn running_deliveries_finish_on_the_previous_channel_and_new_ones_use_the_new_one() {
    let bench = Bench::new();
    let plugin = bench.loader.load(&source(BuiltPlugin::rogue(&[]).path())).unwrap();
    bench.transport.hold();
    let swap = Arc::new(SwappableChannel::new(bench.open(&plugin, "http").unwrap()));
    let sending = tokio::spawn({
        let swap = Arc::clone(&swap);
        async move {
            let channel: &dyn pushgate::PushChannel = &*swap;
            channel.send(&delivery(1)).await
        }
    });
    bench.transport.arrived(1).await;
    swap.replace(bench.open(&plugin, "well").unwrap());
    let channel: &dyn pushgate::PushChannel = &*swap;
    assert_eq!(channel.send(&delivery(2)).await.outcomes().len(), 2, "the new channel is not delayed");
    bench.transport.then(pushgate_kit::transport::answer(200, "old"));
    bench.transport.release();
    assert_eq!(sending.await.unwrap().outcomes(), [pushgate::Outcome::accepted("old")]);
}

#[tokio::test]
async fn plugins_in_one_process_are_independent_of_each_other() {
    let bench = Bench::new();
    let first_plugin = bench.loader.load(&source(BuiltPlugin::rogue(&["KIND=\"one\""]).path())).unwrap();
    let second_plugin = bench.loader.load(&source(BuiltPlugin::rogue(&["KIND=\"two\""]).path())).unwrap();
    let webhook_plugin = bench.loader.load(&source(webhook())).unwrap();
    let kinds =
        [&first_plugin, &second_plugin, &webhook_plugin].map(|plugin| plugin.description().kind.clone());
    assert_eq!(kinds, ["one", "two", "webhook"]);
    let (first, second) =
        (bench.open(&first_plugin, "well").unwrap(), bench.open(&second_plugin, "unknown-tag").unwrap());
    let delivery = delivery(1);
    let (accepted, other) = (first.send(&delivery).await, second.send(&delivery).await);
    assert_eq!((accepted.outcomes()[0].code(), other.outcomes()[0].code()), ("accepted", "accepted"));
}

//! `pushgate demo`: runs emulator and gateway on this machine and sends one notification end to end.

mod devices;
mod timeline;

use std::time::Duration;

use clap::Args;
use http::Method;
use pushgate_config::{Config, Sources};
use pushgate_emulator::{Emulator, Options};
use serde_json::json;

use super::Outcome;
use super::http::Client;
use crate::{assemble, print_line, serve};
use devices::{Device, Shown};
use timeline::{Step, Timeline, now_ms};

/// Options of the demonstration.
#[derive(Args)]
pub(super) struct DemoArgs {
    /// Send one notification and exit
    #[arg(long)]
    once: bool,
    /// Send to a web page by FCM, a Firefox by Web Push and an iPhone by APNs at once
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Timeout for the push to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(20);

/// Temporary folder. Removed when dropped.
struct TempFolder(std::path::PathBuf);

impl Drop for TempFolder {
    fn drop(&mut self) {
        // The system cleans its temporary folder if this fails.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) async fn run(args: DemoArgs) -> Outcome {
    let folder =
        TempFolder(std::env::temp_dir().join(format!("pushgate-demo-{:016x}", rand::random::<u64>())));
    let options = Options { directory: Some(folder.0.clone()), ..Options::default() };
    let emulator = Emulator::start(options).await?;
    let (key, digest) = crate::keys::new_key();
    let config = write_config(&folder, &digest)?;
    let timeline = Timeline::default();
    let gateway = assemble::builder(&config)?.observer(timeline.observer()).start().await?;
    let running = serve::open(&config, gateway, None).await?;
    let url = format!("http://{}", running.address);
    let client = Client::new(&url, &key)?;

    let devices = devices(&emulator, args.all)?;
    for device in &devices {
        let path = format!("/v1/apps/demo/devices/{}", device.id);
        client.call(Method::PUT, &path, &device.registration()).await?;
    }
    let notification = json!({"to": {"users": ["bob"]}, "template": {"name": "message", "vars": {"sender": "Ann", "text": "are you there?", "conversation": "ann"}}});
    let started_ms = now_ms();
    let response = client.call(Method::POST, "/v1/apps/demo/notifications?wait=15s", &notification).await?;
    let mut shown = Vec::new();
    for device in &devices {
        let at_ms = device.arrived_ms(&emulator).await.ok_or_else(|| {
            format!("no push arrived at {}; the gateway's response: {response:#}", device.label)
        })?;
        timeline.add(Step { name: "arrived", at_ms, detail: format!("shown by {}", device.label) });
        shown.push((device.label, device.shown(&emulator).ok_or("the device shows nothing")?));
    }
    if tokio::time::timeout(ARRIVAL_TIMEOUT, timeline.wait_for_sent(devices.len())).await.is_err() {
        let message = format!("the push arrived, but the gateway has not recorded it as sent: {response:#}");
        return Err(message.into());
    }
    print_result(&args, &timeline.steps(), started_ms, &shown);
    if !args.once {
        print_line(format!(
            "\nInbox page  {}\nTry         curl -s '{url}/v1/apps/demo/notifications?wait=5s' \\\n  -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n  -d '{{\"to\":{{\"users\":[\"bob\"]}},\"title\":\"Ann\",\"content\":\"hello again\"}}'\n\nCtrl-C ends it.",
            emulator.control_url()
        ));
        tokio::signal::ctrl_c().await?;
    }
    running.stop().await;
    Ok(())
}

/// Extends the configuration of the emulator with a key, a template and a database, and loads it.
fn write_config(
    folder: &TempFolder,
    digest: &str,
) -> Result<Config, Box<dyn std::error::Error + Send + Sync>> {
    let path = folder.0.join("pushgate.toml");
    let mut text = std::fs::read_to_string(&path)?;
    text.push_str("\n[apps.demo.templates.message]\ntitle = \"{{ sender }}\"\ncontent = \"{{ text }}\"\npayload = '{\"conversation\":{{ conversation | tojson }}}'\n");
    text.push_str(&format!("\n[[keys]]\nid = \"demo\"\nhash = \"sha256:{digest}\"\napps = [\"demo\"]\nscopes = [\"send\", \"devices\"]\n"));
    std::fs::write(&path, text)?;
    let flags = vec![
        ("server.listen".to_owned(), "127.0.0.1:0".to_owned()),
        ("storage.path".to_owned(), folder.0.join("pushgate.db").display().to_string()),
    ];
    Ok(Config::load(&Sources { file: Some(&path), flags, ..Sources::default() })?)
}

/// Creates bob's devices.
fn devices(emulator: &Emulator, all: bool) -> Result<Vec<Device>, Box<dyn std::error::Error + Send + Sync>> {
    let mut devices = vec![Device::page(emulator)?];
    if all {
        devices.extend([Device::firefox(emulator)?, Device::phone(emulator)]);
    }
    Ok(devices)
}

fn print_result(args: &DemoArgs, steps: &[Step], started_ms: u64, shown: &[(&str, Shown)]) {
    let elapsed_ms = |step: &Step| step.at_ms.saturating_sub(started_ms);
    if args.json {
        let steps: Vec<_> = steps
            .iter()
            .map(|step| json!({"step": step.name, "ms": elapsed_ms(step), "what": step.detail}))
            .collect();
        let devices: Vec<_> =
            shown.iter().map(|(label, shown)| json!({"by": label, "shown": shown.to_json()})).collect();
        print_line(json!({"timeline": steps, "devices": devices}));
        return;
    }
    for step in steps {
        print_line(format!("{:>9}  +{:>4} ms  {}", step.name, elapsed_ms(step), step.detail));
    }
    for (label, shown) in shown {
        print_line(format!("\n{label}\n{}", shown.to_frame()));
    }
}

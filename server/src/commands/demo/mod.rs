//! `pushgate demo`: emulator and gateway on this machine, one notification end to end.

mod devices;
mod diary;

use std::time::Duration;

use clap::Args;
use http::Method;
use pushgate_config::{Config, Sources};
use pushgate_emulator::{Emulator, Options};
use serde_json::json;

use super::Outcome;
use super::http::Client;
use crate::{assemble, print_line, serve};
use devices::{Card, Device};
use diary::{Diary, Step, now_ms};

/// How the demonstration ends.
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

/// The longest the push may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes with the demonstration.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in the system's temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) async fn run(args: DemoArgs) -> Outcome {
    let folder = Folder(std::env::temp_dir().join(format!("pushgate-demo-{:016x}", rand::random::<u64>())));
    let options = Options { directory: Some(folder.0.clone()), ..Options::default() };
    let emulator = Emulator::start(options).await?;
    let (key, digest) = crate::keys::new_key();
    let config = configured(&folder, &digest)?;
    let diary = Diary::default();
    let gateway = assemble::builder(&config)?.observer(diary.observer()).start().await?;
    let running = serve::open(&config, gateway, None).await?;
    let url = format!("http://{}", running.address);
    let client = Client::new(&url, &key)?;

    let devices = devices(&emulator, args.all)?;
    for device in &devices {
        let path = format!("/v1/apps/demo/devices/{}", device.id);
        client.call(Method::PUT, &path, &device.registration()).await?;
    }
    let asked = json!({"to": {"users": ["bob"]}, "template": {"name": "message", "vars": {"sender": "Ann", "text": "are you there?", "conversation": "ann"}}});
    let began = now_ms();
    let answer = client.call(Method::POST, "/v1/apps/demo/notifications?wait=15s", &asked).await?;
    let mut cards = Vec::new();
    for device in &devices {
        let arrived = device.arrived_ms(&emulator).await;
        let at_ms = arrived
            .ok_or_else(|| format!("nothing arrived at {}; the gateway says {answer:#}", device.by))?;
        diary.add(Step { name: "arrived", at_ms, what: format!("shown by {}", device.by) });
        cards.push((device.by, device.card(&emulator).ok_or("the device shows nothing")?));
    }
    if tokio::time::timeout(PATIENCE, diary.sent(devices.len())).await.is_err() {
        return Err(format!("it arrived, and the gateway does not know: {answer:#}").into());
    }
    tell(&args, &diary.steps(), began, &cards);
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

/// The configuration the emulator has written, a key, a template, and a database beside it.
fn configured(folder: &Folder, digest: &str) -> Result<Config, Box<dyn std::error::Error + Send + Sync>> {
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

/// Bob's devices.
fn devices(emulator: &Emulator, all: bool) -> Result<Vec<Device>, Box<dyn std::error::Error + Send + Sync>> {
    let mut devices = vec![Device::page(emulator)?];
    if all {
        devices.extend([Device::firefox(emulator)?, Device::phone(emulator)]);
    }
    Ok(devices)
}

fn tell(args: &DemoArgs, steps: &[Step], began: u64, cards: &[(&str, Card)]) {
    let ms = |step: &Step| step.at_ms.saturating_sub(began);
    if args.json {
        let steps = steps.iter().map(|step| json!({"step": step.name, "ms": ms(step), "what": step.what}));
        let shown: Vec<_> = cards.iter().map(|(by, card)| json!({"by": by, "shown": card.json()})).collect();
        print_line(json!({"timeline": steps.collect::<Vec<_>>(), "devices": shown}));
        return;
    }
    for step in steps {
        print_line(format!("{:>9}  +{:>4} ms  {}", step.name, ms(step), step.what));
    }
    for (by, card) in cards {
        print_line(format!("\n{by}\n{}", card.drawn()));
    }
}

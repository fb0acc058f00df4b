//! `pushgate demo`: emulator and gateway on this machine, one notification end to end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use http::Method;
use parking_lot::Mutex;
use pushgate::observe::Event;
use pushgate_config::{Config, Sources};
use pushgate_emulator::{Emulator, Options, Platform, Shown, What};
use serde_json::{Value, json};

use super::Outcome;
use super::http::Client;
use crate::{assemble, say, serve};

/// How the demonstration ends.
#[derive(Args)]
pub(super) struct DemoArgs {
    /// Send one notification and exit
    #[arg(long)]
    once: bool,
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

    let device =
        emulator.vendor().add_device("bob-web", Platform::Web).ok_or("no keys for the virtual device")?;
    let body = json!({"user": "bob", "platform": "web", "locale": "en", "addresses": [{"channel": "fcm", "token": device.token}]});
    client.call(Method::PUT, "/v1/apps/demo/devices/bob-web", &body).await?;
    let asked = json!({"to": {"users": ["bob"]}, "template": {"name": "message", "vars": {"sender": "Ann", "text": "are you there?", "conversation": "ann"}}});
    let began = now_ms();
    let answer = client.call(Method::POST, "/v1/apps/demo/notifications?wait=15s", &asked).await?;
    let arrived = emulator.vendor().wait_for(|what| matches!(what, What::Arrived { .. }), PATIENCE).await;
    let arrived = arrived.ok_or_else(|| format!("nothing arrived; the gateway says {answer:#}"))?;
    let shown = emulator.vendor().inbox("bob-web").and_then(|inbox| inbox.first().cloned());
    let shown = shown.ok_or("the device shows nothing")?;
    tell(&args, &diary.timeline(&answer, began, arrived.at_ms), &shown)?;
    if !args.once {
        say(format!(
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

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// When what happened, as an observer of the gateway sees it.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<(&'static str, u64)>>>);

impl Diary {
    fn observer(&self) -> impl Fn(&Event) + Send + Sync + use<> {
        let diary = self.clone();
        move |event| {
            let step = match event {
                Event::Planned { .. } => "planned",
                Event::Stored { .. } => "stored",
                Event::Receipt { .. } => "sent",
                Event::Pruned { .. } | Event::Alarm { .. } => return,
            };
            diary.0.lock().push((step, now_ms()));
        }
    }

    /// The steps, and how many milliseconds after the request they were made.
    fn timeline(&self, answer: &Value, began: u64, arrived: u64) -> Vec<(&'static str, u64, String)> {
        let device = &answer["status"]["devices"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut steps: Vec<_> = self.0.lock().clone();
        steps.push(("arrived", arrived));
        steps.sort_by_key(|(_, at)| *at);
        let what = |step| match step {
            "planned" => format!("{} address on channel {}", answer["accepted"], text(&device["channel"])),
            "stored" => format!("notification {} is on stable storage", text(&answer["id"])),
            "sent" => format!("taken by the vendor as {}", text(&device["vendor_id"])),
            _ => "decrypted and shown by the device".to_owned(),
        };
        steps.into_iter().map(|(step, at)| (step, at.saturating_sub(began), what(step))).collect()
    }
}

fn tell(args: &DemoArgs, timeline: &[(&str, u64, String)], shown: &Shown) -> Outcome {
    if args.json {
        let steps = timeline.iter().map(|(step, ms, what)| json!({"step": step, "ms": ms, "what": what}));
        say(json!({"timeline": steps.collect::<Vec<_>>(), "shown": shown}));
        return Ok(());
    }
    for (step, ms, what) in timeline {
        say(format!("{step:>9}  +{ms:>4} ms  {what}"));
    }
    let payload = shown.data.get("payload").and_then(Value::as_str).unwrap_or("(none)");
    let width = [&shown.title, &shown.body]
        .iter()
        .map(|text| text.chars().count())
        .chain([payload.len() + 9])
        .max()
        .unwrap_or(0);
    let line =
        |text: &str| say(format!("│ {text}{} │", " ".repeat(width.saturating_sub(text.chars().count()))));
    say(format!("\n┌─{}─┐", "─".repeat(width)));
    line(&shown.title);
    line(&shown.body);
    line(&format!("payload: {payload}"));
    say(format!("└─{}─┘", "─".repeat(width)));
    Ok(())
}

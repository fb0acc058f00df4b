//! `pushgate devices`: lists the pruned addresses of a running gateway, and restores them.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use http::Method;
use pushgate::Timestamp;
use serde_json::{Value, json};

use super::Outcome;
use super::http::Client;
use crate::print_line;

#[derive(Subcommand)]
pub(super) enum Devices {
    /// List the addresses that were pruned or held back because a push service reported them as dead
    #[command(
        after_help = "Examples:\n  pushgate devices pruned --app demo\n  pushgate devices pruned --app demo --channel web --since 2h\n  pushgate devices pruned --app demo --since 2026-11-24T20:00:00Z --json"
    )]
    Pruned(PrunedArgs),
    /// Give pruned addresses back to their devices; devices that have registered again are left unchanged
    #[command(
        after_help = "Examples:\n  pushgate devices restore --app demo --device bob-web --device ann-phone\n  pushgate devices restore --app demo --channel web --since 2h"
    )]
    Restore(RestoreArgs),
}

/// Gateway, credentials and app.
#[derive(Args)]
struct AppArgs {
    /// URL of the gateway
    #[arg(long, env = "PUSHGATE_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Server key with the scope `admin`
    #[arg(long, env = "PUSHGATE_KEY", hide_env_values = true)]
    key: String,
    /// App
    #[arg(long)]
    app: String,
    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct PrunedArgs {
    #[command(flatten)]
    app: AppArgs,
    /// Only addresses of this channel
    #[arg(long)]
    channel: Option<String>,
    /// Only addresses pruned at this time or later: RFC 3339, or an age ("2h")
    #[arg(long, value_parser = time)]
    since: Option<Timestamp>,
    /// Only addresses pruned before this time: RFC 3339, or an age
    #[arg(long, value_parser = time)]
    until: Option<Timestamp>,
}

#[derive(Args)]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    app: AppArgs,
    /// Device whose addresses are restored; repeat for several
    #[arg(long = "device", required_unless_present = "channel")]
    devices: Vec<String>,
    /// Channel whose addresses are restored
    #[arg(long, requires = "since")]
    channel: Option<String>,
    /// Only addresses pruned at this time or later: RFC 3339, or an age ("2h")
    #[arg(long, value_parser = time)]
    since: Option<Timestamp>,
    /// Only addresses pruned before this time: RFC 3339, or an age
    #[arg(long, value_parser = time)]
    until: Option<Timestamp>,
}

pub(super) async fn run(command: Devices) -> Outcome {
    match command {
        Devices::Pruned(args) => pruned(args).await,
        Devices::Restore(args) => restore(args).await,
    }
}

async fn pruned(args: PrunedArgs) -> Outcome {
    let client = Client::new(&args.app.url, &args.app.key)?;
    let mut table = Table::new(args.app.json, "state");
    let mut after = None;
    loop {
        let mut query = vec!["limit=1000".to_owned()];
        query.extend(args.channel.as_ref().map(|channel| format!("channel={channel}")));
        query.extend(args.since.map(|since| format!("since={since}")));
        query.extend(args.until.map(|until| format!("until={until}")));
        query.extend(after.map(|after: i64| format!("after={after}")));
        let path = format!("/v1/apps/{}/devices:pruned?{}", args.app.app, query.join("&"));
        let page = client.call(Method::GET, &path, &Value::Null).await?;
        table.print_rows(&page["pruned"])?;
        after = page["next"].as_i64();
        if after.is_none() {
            break;
        }
    }
    table.finish("no address was pruned");
    Ok(())
}

async fn restore(args: RestoreArgs) -> Outcome {
    let client = Client::new(&args.app.url, &args.app.key)?;
    let path = format!("/v1/apps/{}/devices:restore", args.app.app);
    let mut table = Table::new(args.app.json, "result");
    let (mut after, mut restored, mut skipped) = (None, 0, 0);
    loop {
        let mut body = json!({"devices": args.devices, "channel": args.channel, "since": args.since,
            "until": args.until, "after": after});
        // The API refuses null for a member that was not given.
        body.as_object_mut().into_iter().for_each(|members| members.retain(|_, value| !value.is_null()));
        let page = client.call(Method::POST, &path, &body).await?;
        table.print_rows(&page["results"])?;
        restored += page["restored"].as_u64().unwrap_or_default();
        skipped += page["skipped"].as_u64().unwrap_or_default();
        after = page["next"].as_i64();
        if after.is_none() {
            break;
        }
    }
    table.finish("nothing to restore");
    if !args.app.json {
        print_line(format!("{restored} restored, {skipped} left unchanged"));
    }
    Ok(())
}

/// Printer of addresses, as a table or as JSON lines.
struct Table {
    is_json: bool,
    /// Member of an address that the last column shows.
    last_column: &'static str,
    is_empty: bool,
}

impl Table {
    const fn new(is_json: bool, last_column: &'static str) -> Self {
        Self { is_json, last_column, is_empty: true }
    }

    fn print_rows(&mut self, rows: &Value) -> Outcome {
        for row in rows
            .as_array()
            .ok_or("the gateway's response has no list; check that its version is that of this program")?
        {
            if self.is_json {
                print_line(row);
            } else {
                if self.is_empty {
                    print_line(line([
                        "AT",
                        "DEVICE",
                        "USER",
                        "CHANNEL",
                        "FAULT",
                        &self.last_column.to_uppercase(),
                    ]));
                }
                let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
                let fault = if row["vendor_code"].is_null() { "fault" } else { "vendor_code" };
                let cells = ["at", "device", "user", "channel", fault, self.last_column].map(text);
                print_line(line(cells.each_ref().map(String::as_str)));
            }
            self.is_empty = false;
        }
        Ok(())
    }

    /// Prints `text` below an empty table.
    fn finish(&self, text: &str) {
        if self.is_empty && !self.is_json {
            print_line(text);
        }
    }
}

fn line([at, device, user, channel, fault, last]: [&str; 6]) -> String {
    format!("{at:<24}  {device:<24}  {user:<16}  {channel:<12}  {fault:<20}  {last}")
}

/// Parses an RFC 3339 time, or an age that is subtracted from the current time.
fn time(text: &str) -> Result<Timestamp, String> {
    let age: Option<Duration> = humantime::parse_duration(text).ok();
    match age {
        Some(age) => Ok(Timestamp::from(SystemTime::now()) - age),
        None => serde_json::from_value(text.into())
            .map_err(|_| "write a time like 2026-11-24T20:00:00Z, or an age like 2h".to_owned()),
    }
}

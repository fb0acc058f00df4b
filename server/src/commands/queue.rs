//! `pushgate queue`: inspects the queue of a running gateway.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::Outcome;
use super::http::Client;
use crate::api::v1::handlers::QUARANTINED;
use crate::print_line;

/// Subcommands of `pushgate queue`.
#[derive(Subcommand)]
pub(super) enum Queue {
    /// List stored rows that could not be decoded and were set aside
    #[command(
        after_help = "Examples:\n  pushgate queue quarantined\n  pushgate queue quarantined --json | jq '.rows[].notification'"
    )]
    Quarantined(QuarantinedArgs),
}

/// Gateway, credentials and output format.
#[derive(Args)]
pub(super) struct QuarantinedArgs {
    /// URL of the gateway
    #[arg(long, env = "PUSHGATE_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Server key with the scope `admin`
    #[arg(long, env = "PUSHGATE_KEY", hide_env_values = true)]
    key: String,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Queue) -> Outcome {
    let Queue::Quarantined(args) = command;
    let client = Client::new(&args.url, &args.key)?;
    let (mut rows, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("{QUARANTINED}?after={after}&limit=1000");
        let mut page = client.call(Method::GET, &path, &Value::Null).await?;
        if let Some(page_rows) = page["rows"].as_array_mut() {
            rows.append(page_rows);
        }
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    if args.json {
        print_line(serde_json::to_string_pretty(&json!({"rows": rows}))?);
    } else if rows.is_empty() {
        print_line("nothing is quarantined");
    } else {
        print_line(table(&rows));
    }
    Ok(())
}

const COLUMNS: [&str; 7] = ["id", "at", "kind", "app", "channel", "key", "reason"];

fn table(rows: &[Value]) -> String {
    let cell = |row: &Value, column: &str| match &row[column] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut lines = vec![COLUMNS.map(str::to_uppercase)];
    lines.extend(rows.iter().map(|row| COLUMNS.map(|column| cell(row, column))));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let padded = |line: &[String; 7]| {
        let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(padded).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_one_line_per_row_and_aligned_columns() {
        let row = json!({"id": 1, "at": "2023-11-14T22:13:20Z", "kind": "device", "app": "demo", "channel": null,
            "key": "d1", "reason": "it is not text", "bytes": 9});
        let table = table(&[row]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 2, "{table}");
        assert_eq!(lines[0].find("REASON"), lines[1].find("it is not text"), "{table}");
        assert!(lines[1].contains("  -  "), "{table}");
    }
}

//! Reference measurement with `h2load` of nghttp2: the same message to the same vendor.

use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::measure::{Taken, Watch};

/// Sends `pushes` over two connections with 500 streams each. Returns `None` if h2load is not installed.
pub(crate) fn run(
    uri: &str,
    headers: &http::HeaderMap,
    body: &Path,
    pushes: usize,
) -> Outcome<Option<Taken>> {
    let mut command = Command::new("h2load");
    command.args(["-c", "2", "-m", "500", "-t", "1", "-n", &pushes.to_string(), "-d"]).arg(body);
    for (name, value) in headers {
        command.arg("-H").arg(format!("{name}: {}", value.to_str()?));
    }
    let watch = Watch::children();
    let output = match command.arg(uri).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut taken = watch.taken(pushes);
    let said = String::from_utf8(output.stdout)?;
    if !said.contains(&format!("{pushes} succeeded, 0 failed")) {
        return Err(format!("h2load has not sent all: {said}").into());
    }
    // Its own clock starts with the first connection and not with the process.
    let rate = said
        .split("finished in ")
        .nth(1)
        .and_then(|rest| rest.split(", ").nth(1)?.split(' ').next()?.parse().ok());
    taken.pushes_per_second = rate.ok_or("h2load says no rate")?;
    Ok(Some(taken))
}

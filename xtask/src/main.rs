//! `cargo xtask TASK`: reads the command line, does the task, says what comes next.

use std::io::Write;
use std::process::ExitCode;

use pushgate_xtask::{Error, new_channel, readme, root};

const USAGE: &str =
    "cargo xtask new-channel NAME   a copy of channels/dummy under channels/NAME, known to the server
cargo xtask readme             the tables of channels in README.md and README.zh-CN.md";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (text, code) = match done(&arguments) {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(error) => (error.to_string(), ExitCode::FAILURE),
    };
    // Nobody is left to be told that nobody reads.
    let _ = writeln!(std::io::stdout(), "{text}");
    code
}

fn done(arguments: &[&str]) -> Result<String, Error> {
    match arguments {
        ["new-channel", name] => {
            new_channel::create(root(), name)?;
            Ok(format!(
                "channels/{name} is a channel that works and reaches nobody. CONTRIBUTING.md says what comes next;\n\
                 cargo test -p pushgate-{name} holds it to what every channel promises."
            ))
        }
        ["readme"] => {
            readme::update(root())?;
            Ok("the tables of README.md and README.zh-CN.md say what the channels declare".to_owned())
        }
        _ => Err(Error::Asked(USAGE.to_owned())),
    }
}

//! `cargo xtask TASK`: parses the command line, runs the task and prints the next step.

use std::io::Write;
use std::process::ExitCode;

use pushgate_xtask::{Error, new_channel, readme, root};

const USAGE: &str =
    "cargo xtask new-channel NAME   copies channels/dummy to channels/NAME and adds it to the server
cargo xtask readme             updates the tables of channels in README.md and README.zh-CN.md";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (text, code) = match run(&arguments) {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(error) => (error.to_string(), ExitCode::FAILURE),
    };
    // If stdout is closed, the error cannot be reported anywhere.
    let _ = writeln!(std::io::stdout(), "{text}");
    code
}

fn run(arguments: &[&str]) -> Result<String, Error> {
    match arguments {
        ["new-channel", name] => {
            new_channel::create(root(), name)?;
            Ok(format!(
                "channels/{name} is created. It works, but has no push service yet: CONTRIBUTING.md lists the next steps.\n\
                 cargo test -p pushgate-{name} checks it as every other channel."
            ))
        }
        ["readme"] => {
            readme::update(root())?;
            Ok("the tables of README.md and README.zh-CN.md are up to date".to_owned())
        }
        _ => Err(Error::Usage(USAGE.to_owned())),
    }
}

//! Starts a child and shakes hands with it. Blocks, with a deadline on every step: call it where blocking is no harm.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Limits;
use super::frame::{self, Down, Up};
use super::render::Until;
use crate::description::Description;
use crate::error::LoadError;
use crate::telemetry::{Level, MOST_LOG, Telemetry, one_line};

/// How long a child may take for each step of its beginning.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines a child may write to stderr before nobody listens any more: a dying words' worth, not a log.
const MOST_LINES: usize = 100;

/// How a plugin's child is started.
#[derive(Clone)]
pub(crate) struct Starter {
    /// The program that knows `plugin-host`.
    pub(crate) program: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) limits: Limits,
    pub(crate) telemetry: Arc<dyn Telemetry>,
}

/// A child that has loaded its plugin.
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) frames: UnixStream,
    pub(crate) renders: UnixStream,
    pub(crate) description: Description,
}

impl Starter {
    /// Starts a child whose plugin is loaded, for the channel of that name.
    pub(crate) fn start(&self, channel: &str) -> Result<Started, LoadError> {
        let failed = |error: std::io::Error| self.failed(error.to_string());
        let (frames, theirs) = UnixStream::pair().map_err(failed)?;
        let (renders, their_renders) = UnixStream::pair().map_err(failed)?;
        let mut process = self.spawn(theirs, their_renders).map_err(failed)?;
        if let Some(stderr) = process.0.stderr.take() {
            self.overhear(stderr, channel.to_owned()).map_err(failed)?;
        }
        match hear(&mut within_patience(&frames)) {
            Ok(Up::Hello { description }) => match description.objection() {
                None => Ok(Started { process, frames, renders, description: *description }),
                Some(why) => Err(LoadError::BadTable { path: self.path.clone(), why }),
            },
            // The child loads the file as we would, and has the same words for what is wrong with it.
            Ok(Up::Refused { why }) => Err(LoadError::Refused(one_line(&why))),
            Ok(_) => Err(self.failed("it speaks out of turn".to_owned())),
            Err(error) => Err(self.failed(process.end(&error.to_string()))),
        }
    }

    fn failed(&self, why: String) -> LoadError {
        LoadError::Child { path: self.path.clone(), why }
    }

    /// The sockets come as stdin and stdout: what is not passed on this way is not passed on at all.
    fn spawn(&self, frames: UnixStream, renders: UnixStream) -> std::io::Result<Process> {
        let mut command = Command::new(&self.program);
        command
            .arg0("pushgate")
            .arg("plugin-host")
            .arg(std::path::absolute(&self.path)?)
            .args(["--memory", &self.limits.memory.to_string()])
            .args(["--open-files", &self.limits.open_files.to_string()])
            .env_clear()
            .envs(self.limits.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(frames)))
            .stdout(Stdio::from(OwnedFd::from(renders)))
            .stderr(Stdio::piped());
        if let Some(sha256) = &self.sha256 {
            command.args(["--sha256", &crate::loader::hexadecimal(sha256)]);
        }
        command.spawn().map(Process)
    }

    /// Puts what the child writes to stderr into the log. Ends with the child.
    fn overhear(&self, stderr: ChildStderr, channel: String) -> std::io::Result<()> {
        let telemetry = Arc::clone(&self.telemetry);
        let file = name_of(&self.path);
        std::thread::Builder::new().name("plugin stderr".to_owned()).spawn(move || {
            let mut lines = BufReader::new(stderr);
            for heard in 0.. {
                let mut line = Vec::new();
                match lines.by_ref().take(MOST_LOG as u64).read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => return,
                    // Read on, so that the child does not stand still for want of a listener.
                    Ok(_) if heard >= MOST_LINES => {}
                    Ok(_) => {
                        let line = one_line(String::from_utf8_lossy(&line).trim_end());
                        telemetry.log(&file, &channel, Level::Warn, &line);
                    }
                }
            }
        })?;
        Ok(())
    }
}

/// How a plugin is called before its kind is known.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the socket for one step, whose reads and writes end together.
fn within_patience(frames: &UnixStream) -> Until<'_> {
    Until { socket: frames, deadline: Instant::now() + PATIENCE }
}

fn hear(frames: &mut Until<'_>) -> std::io::Result<Up> {
    frame::read(frames).map(|(up, _)| up)
}

impl Started {
    /// Opens the channel; what the child says meanwhile about itself goes to `aside`.
    pub(crate) fn open(&mut self, name: &str, config: &Value, aside: impl Fn(Up)) -> Result<(), LoadError> {
        let path = PathBuf::from(&self.description.kind);
        let open = Down::Open { name: name.to_owned(), config: config.clone() };
        let mut frames = within_patience(&self.frames);
        let refusal = frame::encoded(&open, &[]).and_then(|open| frames.write_all(&open)).and_then(|()| {
            loop {
                match hear(&mut frames)? {
                    Up::Opened => return Ok(None),
                    Up::Refused { why } => return Ok(Some(why)),
                    other => aside(other),
                }
            }
        });
        match refusal {
            Ok(None) => Ok(()),
            Ok(Some(why)) => Err(LoadError::Refused(why)),
            Err(error) => Err(LoadError::Child { path, why: self.process.end(&error.to_string()) }),
        }
    }
}

/// A child process. It does not outlive this.
pub(crate) struct Process(Child);

impl Process {
    /// Ends it, if it has not ended by itself, and says how it ended; in other words where it was we who ended it.
    pub(crate) fn end(&mut self, otherwise: &str) -> String {
        // It may be gone; then there is nothing to kill.
        let _ = self.0.kill();
        match self.0.wait() {
            Ok(status) => told(status, otherwise),
            Err(error) => format!("{otherwise} ({error})"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end("");
    }
}

fn told(status: ExitStatus, otherwise: &str) -> String {
    const KILLED: i32 = 9;
    match (status.signal(), status.code()) {
        (Some(KILLED), _) if !otherwise.is_empty() => format!("{otherwise}, and was killed"),
        (Some(signal), _) => format!("it died of signal {signal}{}", named(signal)),
        (None, Some(code)) => format!("it ended with exit status {code}"),
        (None, None) => otherwise.to_owned(),
    }
}

const fn named(signal: i32) -> &'static str {
    match signal {
        4 => " (illegal instruction)",
        6 => " (aborted)",
        7 => " (bus error)",
        8 => " (arithmetic)",
        9 => " (killed)",
        11 => " (segmentation fault)",
        _ => "",
    }
}

//! Start of a child process and exchange of the first frames. These functions block, each step with a deadline, so they
//! must not run on a worker thread of the runtime.

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
use super::frame::{self, ToChild, ToParent};
use super::render::DeadlineSocket;
use crate::description::Description;
use crate::error::LoadError;
use crate::telemetry::{Level, MAX_LOG_LINE, Telemetry, sanitized_line};

/// Maximum duration of each step of a child's start.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of stderr lines of a child that are logged. Suffices for the message of a crash.
const MAX_STDERR_LINES: usize = 100;

/// Parameters of starting a plugin's child process.
#[derive(Clone)]
pub(crate) struct Starter {
    /// Program with the `plugin-host` command.
    pub(crate) program: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) limits: Limits,
    pub(crate) telemetry: Arc<dyn Telemetry>,
}

/// Child that has loaded its plugin.
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) frames: UnixStream,
    pub(crate) renders: UnixStream,
    pub(crate) description: Description,
    /// File of the plugin, for errors.
    path: PathBuf,
}

impl Starter {
    /// Starts a child and waits until it has loaded the plugin. `channel` names the channel in logs.
    pub(crate) fn start(&self, channel: &str) -> Result<Started, LoadError> {
        let failed = |error: std::io::Error| self.failed(error.to_string());
        let (frames, child_frames) = UnixStream::pair().map_err(failed)?;
        let (renders, child_renders) = UnixStream::pair().map_err(failed)?;
        let mut process = self.spawn(child_frames, child_renders).map_err(failed)?;
        if let Some(stderr) = process.0.stderr.take() {
            self.forward_stderr(stderr, channel.to_owned()).map_err(failed)?;
        }
        match read_frame(&mut with_deadline(&frames)) {
            Ok(ToParent::Hello { description }) => match description.find_problem() {
                None => {
                    let path = self.path.clone();
                    Ok(Started { process, frames, renders, description: *description, path })
                }
                Some(why) => Err(LoadError::InvalidTable { path: self.path.clone(), why }),
            },
            // The child loads the file with the same code, so its message is complete.
            Ok(ToParent::Refused { why }) => Err(LoadError::Refused(sanitized_line(&why))),
            Ok(_) => Err(self.failed("its first frame is not a description".to_owned())),
            Err(error) => Err(self.failed(process.kill(&error.to_string()))),
        }
    }

    fn failed(&self, why: String) -> LoadError {
        LoadError::Child { path: self.path.clone(), why }
    }

    /// Spawns the process. The sockets become its stdin and stdout, and it inherits no other file but stderr.
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

    /// Starts a thread that copies the child's stderr to the log. It ends with the child.
    fn forward_stderr(&self, stderr: ChildStderr, channel: String) -> std::io::Result<()> {
        let telemetry = Arc::clone(&self.telemetry);
        let file = file_name(&self.path);
        std::thread::Builder::new().name("plugin stderr".to_owned()).spawn(move || {
            let mut lines = BufReader::new(stderr);
            for line_number in 0.. {
                let mut line = Vec::new();
                match lines.by_ref().take(MAX_LOG_LINE as u64).read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => return,
                    // Still reads the rest, so that the child does not block on a full pipe.
                    Ok(_) if line_number >= MAX_STDERR_LINES => {}
                    Ok(_) => {
                        let line = sanitized_line(String::from_utf8_lossy(&line).trim_end());
                        telemetry.log(&file, &channel, Level::Warn, &line);
                    }
                }
            }
        })?;
        Ok(())
    }
}

/// Returns the file name, which identifies a plugin in logs until its kind is known.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the socket with a deadline for one step.
fn with_deadline(frames: &UnixStream) -> DeadlineSocket<'_> {
    DeadlineSocket { socket: frames, deadline: Instant::now() + STEP_TIMEOUT }
}

fn read_frame(frames: &mut DeadlineSocket<'_>) -> std::io::Result<ToParent> {
    frame::read(frames).map(|(head, _)| head)
}

impl Started {
    /// Opens the channel. Passes log lines and metrics that the child sends meanwhile to `on_report`.
    pub(crate) fn open(
        &mut self,
        name: &str,
        config: &Value,
        on_report: impl Fn(ToParent),
    ) -> Result<(), LoadError> {
        let open = ToChild::Open { name: name.to_owned(), config: config.clone() };
        let mut frames = with_deadline(&self.frames);
        let refusal = frame::encoded(&open, &[]).and_then(|open| frames.write_all(&open)).and_then(|()| {
            loop {
                match read_frame(&mut frames)? {
                    ToParent::Opened => return Ok(None),
                    ToParent::Refused { why } => return Ok(Some(why)),
                    other => on_report(other),
                }
            }
        });
        match refusal {
            Ok(None) => Ok(()),
            Ok(Some(why)) => Err(LoadError::Refused(why)),
            Err(error) => {
                let why = self.process.kill(&error.to_string());
                Err(LoadError::Child { path: self.path.clone(), why })
            }
        }
    }
}

/// Child process, which is killed on drop.
pub(crate) struct Process(Child);

impl Process {
    /// Kills the process unless it has ended, and returns how it ended. `reason` says why it is killed.
    pub(crate) fn kill(&mut self, reason: &str) -> String {
        // An error means that it has already ended.
        let _ = self.0.kill();
        match self.0.wait() {
            Ok(status) => describe_exit(status, reason),
            Err(error) => format!("{reason} ({error})"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill("");
    }
}

fn describe_exit(status: ExitStatus, reason: &str) -> String {
    const KILLED: i32 = 9;
    match (status.signal(), status.code()) {
        (Some(KILLED), _) if !reason.is_empty() => format!("{reason}, and was killed"),
        (Some(signal), _) => format!("it died of signal {signal}{}", signal_name(signal)),
        (None, Some(code)) => format!("it ended with exit status {code}"),
        (None, None) => reason.to_owned(),
    }
}

const fn signal_name(signal: i32) -> &'static str {
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

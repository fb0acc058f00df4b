//! Loads one shared library, shakes hands with it, and keeps it for the life of the process: a library that has threads or
//! thread-locals cannot be unloaded safely. What was read and hashed is what is run, whatever happens to the file meanwhile.

use std::ffi::CString;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use libloading::os::unix as system;
use pushgate::Clock;
use pushgate_plugin_abi as abi;

use crate::description::{Declared, Description};
use crate::error::LoadError;
use crate::table::{Speech, Table};
use crate::telemetry::Telemetry;

/// The longest texts of a plugin's table that are kept, in bytes.
const MOST_TEXT: usize = 1024;
const MOST_SCHEMA: usize = 64 * 1024;
/// Room behind the plugin's table: a plugin that writes all of a later, longer table writes here and not elsewhere.
const SLACK: usize = 256;
/// Which later versions we look for, to name the one a plugin was built for.
const LATER: std::ops::RangeInclusive<u32> = 2..=9;

/// A loaded plugin.
pub(crate) struct Library {
    pub(crate) description: Description,
    /// The kind, for as long as core wants it.
    pub(crate) kind: &'static str,
    pub(crate) table: &'static Table,
    pub(crate) calls: Calls,
    /// Held, not used: what is loaded stays loaded.
    _image: Image,
}

/// The functions of a plugin, all there.
#[derive(Clone, Copy)]
pub(crate) struct Calls {
    pub(crate) open: unsafe extern "C" fn(
        *const abi::Host,
        *const abi::Open,
        *mut *mut abi::Instance,
        *const abi::Sink,
    ) -> i32,
    pub(crate) close: unsafe extern "C" fn(*mut abi::Instance),
    pub(crate) render:
        unsafe extern "C" fn(*mut abi::Instance, *const abi::Message, *mut u64, *const abi::Sink),
    pub(crate) probe: unsafe extern "C" fn(*mut abi::Instance, abi::Tag),
    pub(crate) send: unsafe extern "C" fn(*mut abi::Instance, *const abi::Delivery, abi::Tag),
}

/// Who the host is for a plugin.
#[derive(Clone)]
pub(crate) struct Ours {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) telemetry: Arc<dyn Telemetry>,
    pub(crate) speech: Speech,
}

impl Library {
    /// Loads a plugin for good. `image` is the file, `path` its name for errors.
    pub(crate) fn load(path: &Path, image: &[u8], ours: Ours) -> Result<&'static Self, LoadError> {
        if let Some(why) = crate::elf::objection(image) {
            return Err(LoadError::NoLibrary { path: path.to_owned(), why });
        }
        let image = Image::map(path, image)?;
        let entry = image.entry(path)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let table = Table::leaked(file, ours.clock, ours.telemetry, ours.speech);
        let filled =
            Filled::by(entry, table).map_err(|why| LoadError::BadTable { path: path.to_owned(), why });
        let described = filled.and_then(|filled| filled.described(path));
        let (description, calls) = match described {
            Ok(described) => described,
            Err(error) => {
                // It has run: it may have left threads behind, which need their code.
                std::mem::forget(image);
                return Err(error);
            }
        };
        table.shared.is_called(&description.kind);
        let kind = Box::leak(description.kind.clone().into_boxed_str());
        Ok(Box::leak(Box::new(Self { description, kind, table, calls, _image: image })))
    }
}

/// The library in memory.
struct Image {
    library: system::Library,
    /// Open as long as the library is: the loader knows a library by its path, and this one's is the number of a descriptor.
    _file: Option<OwnedFd>,
}

impl Image {
    #[cfg(target_os = "linux")]
    fn map(path: &Path, image: &[u8]) -> Result<Self, LoadError> {
        let refused = |why: String| LoadError::Link { path: path.to_owned(), why };
        let name = CString::new(path.file_name().unwrap_or_default().as_encoded_bytes()).unwrap_or_default();
        let memory = rustix::fs::memfd_create(&name, rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(|error| refused(format!("no memory for it: {error}")))?;
        let mut file = std::fs::File::from(memory);
        file.write_all(image).map_err(|error| refused(format!("no memory for it: {error}")))?;
        let copy = format!("/proc/self/fd/{}", file.as_raw_fd());
        let library = Self::link(Path::new(&copy)).map_err(|why| refused(why.replace(&copy, "it")))?;
        Ok(Self { library, _file: Some(file.into()) })
    }

    #[cfg(not(target_os = "linux"))]
    fn map(path: &Path, _image: &[u8]) -> Result<Self, LoadError> {
        let library = Self::link(path).map_err(|why| LoadError::Link { path: path.to_owned(), why })?;
        Ok(Self { library, _file: None })
    }

    /// With every symbol bound now: one that is missing is an error here and no crash later.
    fn link(path: &Path) -> Result<system::Library, String> {
        // SAFETY: the library's initialisers run. A plugin is code that the operator trusts, or that runs in a child.
        unsafe { system::Library::open(Some(path), system::RTLD_NOW | system::RTLD_LOCAL) }.map_err(|error| {
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        })
    }

    fn entry(&self, path: &Path) -> Result<abi::Entry, LoadError> {
        // SAFETY: whoever exports this name promises a function of this type; the header says so.
        if let Ok(entry) = unsafe { self.library.get::<abi::Entry>(abi::SYMBOL.as_bytes()) } {
            return Ok(*entry);
        }
        let later = LATER.into_iter().find(|major| {
            let symbol = format!("pushgate_plugin_v{major}");
            // SAFETY: it is looked for and never called.
            unsafe { self.library.get::<*const ()>(symbol.as_bytes()) }.is_ok()
        });
        Err(match later {
            Some(theirs) => LoadError::OtherMajor { path: path.to_owned(), theirs, ours: abi::ABI_MAJOR },
            None => LoadError::NoEntry { path: path.to_owned() },
        })
    }
}

/// The table as the plugin filled it.
struct Filled(abi::Plugin);

impl Filled {
    /// Asks the plugin to fill its table.
    fn by(entry: abi::Entry, table: &'static Table) -> Result<Self, String> {
        #[repr(C)]
        struct Room {
            plugin: abi::Plugin,
            slack: [u8; SLACK],
        }
        let mut room = Room { plugin: abi::Plugin::EMPTY, slack: [0; SLACK] };
        // SAFETY: the host's table lives for ever; the plugin's is writable, with room to spare.
        let refused = unsafe { entry(table.host(), (&raw mut room).cast()) };
        if refused == abi::OK {
            Ok(Self(room.plugin))
        } else {
            Err(format!("it does not want to work with this gateway (code {refused})"))
        }
    }

    /// Checks it, and copies what it says.
    fn described(&self, path: &Path) -> Result<(Description, Calls), LoadError> {
        let raw = &self.0;
        if raw.abi_major != abi::ABI_MAJOR {
            return Err(LoadError::OtherMajor {
                path: path.to_owned(),
                theirs: raw.abi_major,
                ours: abi::ABI_MAJOR,
            });
        }
        let broken = |why: String| LoadError::BadTable { path: path.to_owned(), why };
        if raw.struct_size < size_of::<abi::Plugin>() {
            let (theirs, ours) = (raw.struct_size, size_of::<abi::Plugin>());
            return Err(broken(format!("its table has {theirs} bytes, that of version 1.0 has {ours}")));
        }
        let calls = self.calls().ok_or_else(|| broken("a function is missing in its table".to_owned()))?;
        // SAFETY: null, or a struct that lives as long as the process; that is the plugin's part of the contract.
        let capability = unsafe { raw.capability.as_ref() };
        let capability = capability
            .filter(|capability| capability.struct_size >= size_of::<abi::Capability>())
            .ok_or_else(|| broken("its capability is missing or too short".to_owned()))?;
        // SAFETY: texts of the table live as long as the process; that is the plugin's part of the contract.
        let text = |text: abi::Str, most| unsafe { text.text(most) };
        let description = Description {
            kind: text(raw.kind, MOST_TEXT).unwrap_or_default(),
            version: text(raw.version, MOST_TEXT).unwrap_or_default(),
            description: text(raw.description, MOST_TEXT).unwrap_or_default(),
            config_schema: text(raw.config_schema, MOST_SCHEMA),
            abi: (raw.abi_major, raw.abi_minor),
            capability: Declared::of(capability),
        };
        match description.objection() {
            Some(why) => Err(broken(why)),
            None => Ok((description, calls)),
        }
    }

    fn calls(&self) -> Option<Calls> {
        let raw = &self.0;
        Some(Calls {
            open: raw.open?,
            close: raw.close?,
            render: raw.render?,
            probe: raw.probe?,
            send: raw.send?,
        })
    }
}

//! Loading of one shared library and exchange of the function tables. A library stays loaded until the process ends,
//! because one with threads or thread-locals cannot be unloaded safely. The bytes that were read and hashed are the bytes
//! that run, even if the file changes meanwhile.

use std::ffi::CString;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use libloading::os::unix as system;
use pushgate::Clock;
use pushgate_plugin_abi as abi;

use crate::description::{DeclaredCapability, Description};
use crate::error::LoadError;
use crate::table::{HostTable, InterfaceVersion};
use crate::telemetry::Telemetry;

/// Maximum length of a text in the plugin's table, in bytes. Longer texts are cut.
const MAX_TEXT: usize = 1024;
/// Maximum length of the configuration's JSON Schema, in bytes.
const MAX_SCHEMA: usize = 64 * 1024;
/// Spare bytes behind the plugin's table, for a plugin that wrongly writes all of a later, longer table.
const SLACK: usize = 256;
/// Later major versions whose entry function is looked up, so that the error can name the version.
const LATER_MAJORS: std::ops::RangeInclusive<u32> = 2..=9;

/// Loaded plugin.
pub(crate) struct Library {
    pub(crate) description: Description,
    /// [`Description::kind`] with a static lifetime.
    pub(crate) kind: &'static str,
    pub(crate) table: &'static HostTable,
    pub(crate) functions: Functions,
    /// Keeps the library loaded.
    _image: Image,
}

/// Functions of a plugin's table. None is missing.
#[derive(Clone, Copy)]
pub(crate) struct Functions {
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

/// Services of the host for its plugins.
#[derive(Clone)]
pub(crate) struct HostContext {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) telemetry: Arc<dyn Telemetry>,
    pub(crate) version: InterfaceVersion,
}

impl Library {
    /// Loads a plugin until the process ends. `image` is the content of the file; `path` names it in errors.
    pub(crate) fn load(path: &Path, image: &[u8], host: HostContext) -> Result<&'static Self, LoadError> {
        if let Some(why) = crate::elf::find_problem(image) {
            return Err(LoadError::NotALibrary { path: path.to_owned(), why });
        }
        let image = Image::map(path, image)?;
        let entry = image.entry(path)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let table = HostTable::leak(file, host.clock, host.telemetry, host.version);
        let filled = FilledTable::from_entry(entry, table)
            .map_err(|why| LoadError::InvalidTable { path: path.to_owned(), why });
        let described = filled.and_then(|filled| filled.describe(path));
        let (description, functions) = match described {
            Ok(described) => described,
            Err(error) => {
                // Its code has run and may have started threads, which need the code to stay.
                std::mem::forget(image);
                return Err(error);
            }
        };
        table.shared.set_kind(&description.kind);
        let kind = Box::leak(description.kind.clone().into_boxed_str());
        Ok(Box::leak(Box::new(Self { description, kind, table, functions, _image: image })))
    }
}

/// Library that the system's loader has mapped.
struct Image {
    library: system::Library,
    /// Kept open with the library. The loader identifies a library by its path, which here contains the descriptor's number.
    /// A reused number would return the old library.
    _file: Option<OwnedFd>,
}

impl Image {
    #[cfg(target_os = "linux")]
    fn map(path: &Path, image: &[u8]) -> Result<Self, LoadError> {
        let error = |why: String| LoadError::Link { path: path.to_owned(), why };
        let name = CString::new(path.file_name().unwrap_or_default().as_encoded_bytes()).unwrap_or_default();
        let memory = rustix::fs::memfd_create(&name, rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(|cause| error(format!("no memory for a copy: {cause}")))?;
        let mut file = std::fs::File::from(memory);
        file.write_all(image).map_err(|cause| error(format!("no memory for a copy: {cause}")))?;
        let copy = format!("/proc/self/fd/{}", file.as_raw_fd());
        let library = Self::link(Path::new(&copy)).map_err(|why| error(why.replace(&copy, "the library")))?;
        Ok(Self { library, _file: Some(file.into()) })
    }

    #[cfg(not(target_os = "linux"))]
    fn map(path: &Path, _image: &[u8]) -> Result<Self, LoadError> {
        let library = Self::link(path).map_err(|why| LoadError::Link { path: path.to_owned(), why })?;
        Ok(Self { library, _file: None })
    }

    /// Loads the library and binds every symbol at once. A missing symbol is then an error here and not a crash later.
    fn link(path: &Path) -> Result<system::Library, String> {
        // SAFETY: the library's initialisers run. The operator trusts the plugin, or it runs in a child process.
        unsafe { system::Library::open(Some(path), system::RTLD_NOW | system::RTLD_LOCAL) }.map_err(|error| {
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        })
    }

    fn entry(&self, path: &Path) -> Result<abi::Entry, LoadError> {
        // SAFETY: the header demands this type of every export with this name.
        if let Ok(entry) = unsafe { self.library.get::<abi::Entry>(abi::SYMBOL.as_bytes()) } {
            return Ok(*entry);
        }
        let later = LATER_MAJORS.into_iter().find(|major| {
            let symbol = format!("pushgate_plugin_v{major}");
            // SAFETY: the symbol is only looked up and never called.
            unsafe { self.library.get::<*const ()>(symbol.as_bytes()) }.is_ok()
        });
        Err(match later {
            Some(plugin) => {
                LoadError::VersionMismatch { path: path.to_owned(), plugin, gateway: abi::ABI_MAJOR }
            }
            None => LoadError::MissingEntry { path: path.to_owned() },
        })
    }
}

/// Table that the plugin has filled in.
struct FilledTable(abi::Plugin);

impl FilledTable {
    /// Calls the entry function, which fills in the plugin's table.
    fn from_entry(entry: abi::Entry, table: &'static HostTable) -> Result<Self, String> {
        #[repr(C)]
        struct Buffer {
            plugin: abi::Plugin,
            slack: [u8; SLACK],
        }
        let mut buffer = Buffer { plugin: abi::Plugin::EMPTY, slack: [0; SLACK] };
        // SAFETY: the host's table is never freed; the plugin's is writable, with spare bytes behind it.
        let code = unsafe { entry(table.host(), (&raw mut buffer).cast()) };
        if code == abi::OK {
            Ok(Self(buffer.plugin))
        } else {
            Err(format!("its entry function refuses this gateway with code {code}"))
        }
    }

    /// Checks the table and copies its texts.
    fn describe(&self, path: &Path) -> Result<(Description, Functions), LoadError> {
        let raw = &self.0;
        if raw.abi_major != abi::ABI_MAJOR {
            return Err(LoadError::VersionMismatch {
                path: path.to_owned(),
                plugin: raw.abi_major,
                gateway: abi::ABI_MAJOR,
            });
        }
        let invalid = |why: String| LoadError::InvalidTable { path: path.to_owned(), why };
        if raw.struct_size < size_of::<abi::Plugin>() {
            let (size, minimum) = (raw.struct_size, size_of::<abi::Plugin>());
            return Err(invalid(format!("its table has {size} bytes, version 1.0 needs {minimum}")));
        }
        let functions =
            self.functions().ok_or_else(|| invalid("a function is missing in its table".to_owned()))?;
        // SAFETY: the contract demands null or a struct that lives as long as the process.
        let capability = unsafe { raw.capability.as_ref() };
        let capability = capability
            .filter(|capability| capability.struct_size >= size_of::<abi::Capability>())
            .ok_or_else(|| invalid("its capability is missing or too short".to_owned()))?;
        // SAFETY: the contract demands that texts of the table live as long as the process.
        let text = |text: abi::Str, limit| unsafe { text.text(limit) };
        let description = Description {
            kind: text(raw.kind, MAX_TEXT).unwrap_or_default(),
            version: text(raw.version, MAX_TEXT).unwrap_or_default(),
            description: text(raw.description, MAX_TEXT).unwrap_or_default(),
            config_schema: text(raw.config_schema, MAX_SCHEMA),
            abi: (raw.abi_major, raw.abi_minor),
            capability: DeclaredCapability::from_raw(capability),
        };
        match description.find_problem() {
            Some(why) => Err(invalid(why)),
            None => Ok((description, functions)),
        }
    }

    fn functions(&self) -> Option<Functions> {
        let raw = &self.0;
        Some(Functions {
            open: raw.open?,
            close: raw.close?,
            render: raw.render?,
            probe: raw.probe?,
            send: raw.send?,
        })
    }
}

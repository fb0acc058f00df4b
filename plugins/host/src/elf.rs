//! Check of an ELF file before the system's loader maps it. Mapping a truncated library ends the process with a signal
//! instead of an error. Reads only headers, within the file's length, and resolves no symbols.

/// Machine numbers of the ELF header and their names in [`std::env::consts::ARCH`].
const MACHINES: [(u16, &str); 5] =
    [(3, "x86"), (40, "arm"), (62, "x86_64"), (183, "aarch64"), (243, "riscv64")];
/// `ET_DYN`, the file type of shared libraries.
const SHARED_OBJECT: u16 = 3;
/// `PT_LOAD`, the type of a segment that is mapped.
const LOAD_SEGMENT: u32 = 1;

/// Returns why the bytes are no shared library for this machine. `None` means that they may be one.
pub(crate) fn find_problem(image: &[u8]) -> Option<String> {
    if !cfg!(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")) {
        return None;
    }
    if image.is_empty() {
        return Some("is empty".to_owned());
    }
    if !image.starts_with(b"\x7fELF") {
        let reason = if image.starts_with(b"MZ") {
            "it is a Windows file"
        } else if [&b"\xcf\xfa\xed\xfe"[..], b"\xca\xfe\xba\xbe"].iter().any(|magic| image.starts_with(magic))
        {
            "it is a macOS file"
        } else {
            "it has no ELF header"
        };
        return Some(format!("is not a shared library for this system: {reason}"));
    }
    match (image.get(4), image.get(5)) {
        (Some(2), Some(1)) => check_headers(image),
        (Some(1), _) => Some("was built for 32-bit machines".to_owned()),
        (Some(_), Some(2)) => Some("was built for big-endian machines".to_owned()),
        _ => Some(truncated()),
    }
}

fn check_headers(image: &[u8]) -> Option<String> {
    let Some(header) = Header::read(image) else { return Some(truncated()) };
    let this_machine = MACHINES.iter().find(|(_, name)| *name == std::env::consts::ARCH);
    if this_machine.is_some_and(|(number, _)| *number != header.machine) {
        let file_machine = MACHINES.iter().find(|(number, _)| *number == header.machine);
        let file_machine = file_machine
            .map_or_else(|| format!("machine {}", header.machine), |(_, name)| (*name).to_owned());
        return Some(format!("was built for {file_machine}, this machine is {}", std::env::consts::ARCH));
    }
    if header.kind != SHARED_OBJECT {
        return Some("is not a shared library: it is an object file or a program".to_owned());
    }
    if !header.is_whole(image) { Some(truncated()) } else { None }
}

fn truncated() -> String {
    "is truncated: parts of the library are missing, copy it again".to_owned()
}

/// Fields of the ELF header that locate segments and sections.
struct Header {
    kind: u16,
    machine: u16,
    segments: Table,
    sections: Table,
}

struct Table {
    offset: u64,
    entry: u64,
    count: u64,
}

impl Table {
    fn end(&self) -> Option<u64> {
        self.entry.checked_mul(self.count)?.checked_add(self.offset)
    }
}

impl Header {
    fn read(image: &[u8]) -> Option<Self> {
        Some(Self {
            kind: u16_at(image, 16)?,
            machine: u16_at(image, 18)?,
            segments: Table {
                offset: u64_at(image, 32)?,
                entry: u16_at(image, 54)?.into(),
                count: u16_at(image, 56)?.into(),
            },
            sections: Table {
                offset: u64_at(image, 40)?,
                entry: u16_at(image, 58)?.into(),
                count: u16_at(image, 60)?.into(),
            },
        })
    }

    /// Returns `true` if both tables and every mapped segment lie within the file.
    fn is_whole(&self, image: &[u8]) -> bool {
        let length = image.len() as u64;
        let within = |end: Option<u64>| end.is_some_and(|end| end <= length);
        within(self.segments.end())
            && within(self.sections.end())
            && (0..self.segments.count).all(|i| {
                let at =
                    usize::try_from(self.segments.offset + i * self.segments.entry).unwrap_or(usize::MAX);
                let loaded = u32_at(image, at) == Some(LOAD_SEGMENT);
                let end = u64_at(image, at.saturating_add(8)).zip(u64_at(image, at.saturating_add(32)));
                !loaded || within(end.and_then(|(offset, size)| offset.checked_add(size)))
            })
    }
}

fn bytes_at<const N: usize>(image: &[u8], at: usize) -> Option<[u8; N]> {
    image.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(image: &[u8], at: usize) -> Option<u16> {
    bytes_at(image, at).map(u16::from_le_bytes)
}

fn u32_at(image: &[u8], at: usize) -> Option<u32> {
    bytes_at(image, at).map(u32::from_le_bytes)
}

fn u64_at(image: &[u8], at: usize) -> Option<u64> {
    bytes_at(image, at).map(u64::from_le_bytes)
}

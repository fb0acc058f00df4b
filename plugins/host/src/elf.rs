//! Looks at a file before the system's loader does: a loader that maps half a library, or a text, ends in a signal and not
//! in an error. Reads a few headers, bounded by the file's length; resolves nothing.

/// The machines we can be, by their number in the ELF header.
const MACHINES: [(u16, &str); 5] =
    [(3, "x86"), (40, "arm"), (62, "x86_64"), (183, "aarch64"), (243, "riscv64")];
const SHARED: u16 = 3;
const LOADED: u32 = 1;

/// Why the bytes are no shared library for this machine; nothing when they may be one.
pub(crate) fn objection(image: &[u8]) -> Option<String> {
    if !cfg!(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")) {
        return None;
    }
    if image.is_empty() {
        return Some("is empty".to_owned());
    }
    if !image.starts_with(b"\x7fELF") {
        let what = if image.starts_with(b"MZ") {
            "it is a program of Windows"
        } else if [&b"\xcf\xfa\xed\xfe"[..], b"\xca\xfe\xba\xbe"].iter().any(|magic| image.starts_with(magic))
        {
            "it is a program of macOS"
        } else {
            "it does not begin like one"
        };
        return Some(format!("is no shared library of this system: {what}"));
    }
    match (image.get(4), image.get(5)) {
        (Some(2), Some(1)) => headers(image),
        (Some(1), _) => Some("was built for 32-bit machines".to_owned()),
        (Some(_), Some(2)) => Some("was built for big-endian machines".to_owned()),
        _ => Some(cut_off()),
    }
}

fn headers(image: &[u8]) -> Option<String> {
    let Some(header) = Header::read(image) else { return Some(cut_off()) };
    let ours = MACHINES.iter().find(|(_, name)| *name == std::env::consts::ARCH);
    if ours.is_some_and(|(number, _)| *number != header.machine) {
        let theirs = MACHINES.iter().find(|(number, _)| *number == header.machine);
        let theirs =
            theirs.map_or_else(|| format!("machine {}", header.machine), |(_, name)| (*name).to_owned());
        return Some(format!("was built for {theirs}, this machine is {}", std::env::consts::ARCH));
    }
    if header.kind != SHARED {
        return Some("is no shared library: it is an object file or a program".to_owned());
    }
    if !header.is_whole(image) { Some(cut_off()) } else { None }
}

fn cut_off() -> String {
    "is cut off: parts of the library are missing; copy it again".to_owned()
}

/// The fields of the ELF header that say where everything lies.
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

    /// Whether both tables and every segment that would be mapped lie within the file.
    fn is_whole(&self, image: &[u8]) -> bool {
        let length = image.len() as u64;
        let within = |end: Option<u64>| end.is_some_and(|end| end <= length);
        within(self.segments.end())
            && within(self.sections.end())
            && (0..self.segments.count).all(|i| {
                let at =
                    usize::try_from(self.segments.offset + i * self.segments.entry).unwrap_or(usize::MAX);
                let loaded = u32_at(image, at) == Some(LOADED);
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

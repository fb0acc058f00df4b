//! Short and printable descriptions of HTTP/2 errors. The debug data of GOAWAY come from the peer and are bounded here.

/// Maximum number of bytes kept of a peer's debug data.
const MAX_LEN: usize = 256;

/// Returns the reason of a remote GOAWAY: its debug data, or the name of its error code. `None` for any other error.
pub(crate) fn reason(error: &h2::Error) -> Option<String> {
    if !error.is_go_away() || !error.is_remote() {
        return None;
    }
    Some(match debug_data(&error.to_string()) {
        Some(data) if !data.is_empty() => data,
        _ => error.reason().map(|code| format!("{code:?}")).unwrap_or_default(),
    })
}

/// Describes the error, with bounded debug data.
pub(crate) fn describe(error: &h2::Error) -> String {
    match reason(error) {
        Some(reason) => format!("GOAWAY: {reason}"),
        None => error.to_string().chars().take(MAX_LEN).collect(),
    }
}

/// Extracts debug data from the error's text: h2 exposes them only there, as a byte string with escapes.
fn debug_data(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(" (b\"")?;
    let mut escaped = rest.strip_suffix("\")")?.chars();
    let mut plain = String::new();
    while let Some(next) = escaped.next() {
        let one = match next {
            '\\' => match escaped.next() {
                Some(quoted @ ('"' | '\\')) => quoted,
                Some('n' | 'r' | 't') => ' ',
                Some('x') => {
                    escaped.nth(1);
                    '?'
                }
                _ => '?',
            },
            other => other,
        };
        plain.push(one);
        if plain.len() == MAX_LEN {
            break;
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_data_are_read_back_printable_and_bounded() {
        let shown = |data: &[u8]| {
            debug_data(&format!(
                "connection error received: not a result (b) ({:?})",
                bytes::Bytes::copy_from_slice(data)
            ))
        };
        assert_eq!(shown(b"{\"reason\":\"Shutdown\"}").unwrap(), "{\"reason\":\"Shutdown\"}");
        assert_eq!(shown(b"a\\b\nc\0d\x1b[1m\xff").unwrap(), "a\\b c?d?[1m?");
        assert_eq!(shown(&[b'x'; 1000]).unwrap(), "x".repeat(MAX_LEN));
        assert_eq!(debug_data("connection error received: not a result of an error"), None);
    }
}

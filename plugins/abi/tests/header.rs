//! The header compiles as C and as C++ without warnings, and has the same layout and constants as its Rust mirror.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::Command;

use pushgate_plugin_abi as abi;

const INCLUDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include");
const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pedantic"];

/// Runs a compiler. `Err` contains its messages.
fn compile(compiler: &str, arguments: &[&str], source: &Path, output: &Path) -> Result<(), String> {
    let result = Command::new(compiler)
        .args(arguments)
        .args(STRICT)
        .arg(format!("-I{INCLUDE}"))
        .arg(source)
        .arg("-o")
        .arg(output)
        .output()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    if result.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&result.stderr).into_owned()) }
}

/// Plugin that only uses every function and macro of the header.
const SMALLEST: &str = r#"
#include "pushgate_plugin.h"
static const pushgate_plugin table = {
  PUSHGATE_ABI_MAJOR, PUSHGATE_ABI_MINOR, sizeof(pushgate_plugin), PUSHGATE_TEXT("smallest"), PUSHGATE_TEXT("1"),
  PUSHGATE_TEXT(""), {NULL, 0}, NULL, NULL, NULL, NULL, NULL, NULL
};
PUSHGATE_EXPORT int32_t pushgate_plugin_v1(const pushgate_host *host, pushgate_plugin *plugin) {
  if (!PUSHGATE_HAS(host, pushgate_host, now_ms)) return PUSHGATE_REFUSED;
  if (pushgate_code_of_http_error(PUSHGATE_HTTP_BROKEN) != PUSHGATE_VENDOR_DOWN) return PUSHGATE_REFUSED;
  return pushgate_fill(plugin, &table);
}
"#;

#[test]
fn the_header_compiles_as_c_and_as_cplusplus_with_every_warning_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let dialects = [
        ("cc", "c", &["-std=c99", "-std=c11", "-std=c17"][..]),
        ("c++", "cpp", &["-std=c++11", "-std=c++14", "-std=c++17", "-std=c++20"][..]),
    ];
    for (compiler, ending, standards) in dialects {
        let source = directory.path().join(format!("smallest.{ending}"));
        std::fs::write(&source, SMALLEST).unwrap();
        for standard in standards {
            if let Err(why) = compile(compiler, &[standard, "-c"], &source, &directory.path().join("out.o")) {
                panic!("{compiler} {standard}: {why}");
            }
        }
    }
}

#[test]
fn a_cplusplus_function_that_may_throw_does_not_compile_into_the_table() {
    let source = |specifier: &str| {
        format!(
            "#include \"pushgate_plugin.h\"\nstatic void shut(pushgate_instance *) {specifier} {{}}\n\
             void fit(pushgate_plugin *table);\nvoid fit(pushgate_plugin *table) {{ table->close = shut; }}\n"
        )
    };
    let directory = tempfile::tempdir().unwrap();
    let (path, out) = (directory.path().join("fit.cpp"), directory.path().join("fit.o"));
    std::fs::write(&path, source("noexcept")).unwrap();
    compile("c++", &["-std=c++17", "-c"], &path, &out).unwrap();
    std::fs::write(&path, source("")).unwrap();
    let why = compile("c++", &["-std=c++17", "-c"], &path, &out).expect_err("it may throw");
    assert!(why.contains("noexcept") || why.contains("invalid conversion"), "{why}");
}

/// Defines `mirror`, which returns the sizes and offsets of the Rust structs. The pattern with all fields makes a field
/// that is missing in the list a compile error.
macro_rules! layout {
    ($($name:ident = $c:ident { $($field:ident),+ $(,)? })+) => {
        fn mirror() -> (BTreeMap<String, usize>, Vec<(&'static str, Vec<&'static str>)>) {
            $(let _ = |all: abi::$name| { let abi::$name { $($field: _),+ } = all; };)+
            let mut layout = BTreeMap::new();
            $(
                layout.insert(stringify!($c).to_owned(), size_of::<abi::$name>());
                $(layout.insert(concat!(stringify!($c), ".", stringify!($field)).to_owned(), offset_of!(abi::$name, $field));)+
            )+
            (layout, vec![$((stringify!($c), vec![$(stringify!($field)),+])),+])
        }
    };
}

layout! {
    Str = pushgate_str { ptr, len }
    Sink = pushgate_sink { state, write }
    Capability = pushgate_capability {
        struct_size, max_bytes, max_ttl_s, timeout_ms, retry_floor_ms, throttle_pause_ms, max_batch, tokens, features, reserved
    }
    Message = pushgate_message {
        struct_size, id, app, title, content, payload, image, link, collapse_key, thread, category, overrides,
        created_at_ms, expires_at_ms, ttl_s, badge, priority, silent, tag, call, act, voip
    }
    Target = pushgate_target { struct_size, token, device, user, kind, index }
    Delivery = pushgate_delivery {
        struct_size, id, message, targets, target_count, deadline_ms, attempt, reserved
    }
    Outcome = pushgate_outcome {
        struct_size, vendor_id, token, vendor_code, detail, retry_after_ms, since_ms, expires_at_ms, code, scope
    }
    Header = pushgate_header { name, value }
    HttpRequest = pushgate_http_request {
        struct_size, method, url, headers, header_count, body, timeout_ms, max_answer
    }
    HttpResponse = pushgate_http_response { struct_size, error, status, headers, header_count, body, detail }
    Host = pushgate_host {
        abi_major, abi_minor, struct_size, complete, log, counter, histogram, http_request, timer, now_ms
    }
    Open = pushgate_open { struct_size, channel, name, config }
    Plugin = pushgate_plugin {
        abi_major, abi_minor, struct_size, kind, version, description, config_schema, capability, open, close, render,
        probe, send
    }
}

/// Returns the sizes, offsets and constants of the header, which a C program prints.
fn header(structs: &[(&str, Vec<&str>)]) -> BTreeMap<String, usize> {
    let mut program = String::from("#include <stdio.h>\n#include \"pushgate_plugin.h\"\nint main(void) {\n");
    for (name, fields) in structs {
        program.push_str(&format!("  printf(\"{name} %zu\\n\", sizeof({name}));\n"));
        for field in fields {
            program.push_str(&format!("  printf(\"{name}.{field} %zu\\n\", offsetof({name}, {field}));\n"));
        }
    }
    for (name, _) in abi::ALL_CODES {
        program.push_str(&format!("  printf(\"{name} %zu\\n\", (size_t)PUSHGATE_{name});\n"));
    }
    program.push_str("  printf(\"ABI_MAJOR %zu\\n\", (size_t)PUSHGATE_ABI_MAJOR);\n");
    program.push_str("  printf(\"ABI_MINOR %zu\\n\", (size_t)PUSHGATE_ABI_MINOR);\n  return 0;\n}\n");
    let directory = tempfile::tempdir().unwrap();
    let (source, binary) = (directory.path().join("layout.c"), directory.path().join("layout"));
    std::fs::write(&source, program).unwrap();
    compile("cc", &["-std=c99"], &source, &binary).unwrap();
    let printed = Command::new(&binary).output().unwrap().stdout;
    String::from_utf8(printed)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, number)| (name.to_owned(), number.parse().unwrap()))
        .collect()
}

#[test]
fn every_size_every_offset_and_every_number_is_the_same_in_c_and_in_rust() {
    let (mut mirrored, structs) = mirror();
    for (name, value) in abi::ALL_CODES {
        mirrored.insert((*name).to_owned(), usize::try_from(*value).unwrap());
    }
    mirrored.insert("ABI_MAJOR".to_owned(), abi::ABI_MAJOR as usize);
    mirrored.insert("ABI_MINOR".to_owned(), abi::ABI_MINOR as usize);
    assert_eq!(header(&structs), mirrored);
}

#[test]
fn every_struct_and_every_number_of_the_header_is_mirrored() {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned).collect()
    };
    let (_, structs) = mirror();
    for line in abi::HEADER.lines().filter(|line| line.contains("struct pushgate_") && line.ends_with('{')) {
        let name = words(line).into_iter().find(|word| word.starts_with("pushgate_")).unwrap();
        assert!(structs.iter().any(|(known, _)| *known == name), "{name} has no mirror");
    }
    let enums = abi::HEADER.split("enum {").skip(1).filter_map(|rest| rest.split('}').next());
    for name in enums.flat_map(|body| body.lines().flat_map(|line| words(line.split("/*").next().unwrap()))) {
        if let Some(name) = name.strip_prefix("PUSHGATE_") {
            assert!(abi::ALL_CODES.iter().any(|(known, _)| *known == name), "PUSHGATE_{name} has no mirror");
        }
    }
}

#[test]
fn a_text_is_cut_at_a_character_boundary_within_the_limit() {
    let text = abi::Str::new("aé漢");
    // SAFETY: the text is a literal.
    let text_within = |limit| unsafe { text.text(limit) };
    assert_eq!(text_within(6).as_deref(), Some("aé漢"));
    assert_eq!(text_within(2).as_deref(), Some("a"), "the replacement of half a character does not fit");
    // SAFETY: `NONE` has no bytes.
    assert_eq!(unsafe { abi::Str::NONE.text(9) }, None);
}

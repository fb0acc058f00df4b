//! Runs the misuse tests under valgrind, which detects invalid reads and writes.

use std::process::Command;

#[test]
#[ignore = "needs valgrind and half a minute: cargo test -p pushgate-plugin-host -- --ignored valgrind"]
fn misuse_reads_and_writes_nothing_it_should_not() {
    let output = Command::new("valgrind")
        .args(["--quiet", "--error-exitcode=9"])
        .arg(std::env::current_exe().unwrap())
        .args(["--test-threads=1", "misuse::", "growth::", "telegram::", "load::a_plugin"])
        .output()
        .unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("0 failed"), "{text}");
}

//! The same misuse under valgrind: what is survived is also read and written nowhere it should not be.

use std::process::Command;

#[test]
#[ignore = "needs valgrind, and half a minute: cargo test -p pushgate-plugin-host -- --ignored valgrind"]
fn misuse_reads_and_writes_nothing_it_should_not() {
    let ran = Command::new("valgrind")
        .args(["--quiet", "--error-exitcode=9"])
        .arg(std::env::current_exe().unwrap())
        .args(["--test-threads=1", "misuse::", "growth::", "telegram::", "load::a_plugin"])
        .output()
        .unwrap();
    let told = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(ran.status.success() && told.contains("0 failed"), "{told}");
}

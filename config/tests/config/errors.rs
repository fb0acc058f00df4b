//! Every kind of error, with its exact text.

use crate::kit::Folder;
use pushgate_config::{Config, Sources};

fn errors(toml: &str) -> String {
    Folder::with(toml).errors()
}

const APP: &str = "[apps.demo.channels.fcm]\nkind = \"fcm\"\n";
const KEY: &str = "[[keys]]\nid = \"a\"\nhash = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\n";

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    assert_eq!(
        errors("[server]\nlistn = \"127.0.0.1:1\"\n"),
        "pushgate.toml:2: server.listn: unknown key; did you mean `listen`?"
    );
    assert_eq!(
        errors("[apps.demo.chanels.fcm]\nkind = \"fcm\"\n"),
        "pushgate.toml:1: apps.demo.chanels: unknown key; did you mean `channels`?"
    );
    assert_eq!(errors("[sever]\n"), "pushgate.toml:1: sever: unknown key; did you mean `server`?");
}

#[test]
fn a_key_in_the_wrong_table_names_the_right_table() {
    assert_eq!(
        errors("listen = \"127.0.0.1:1\"\n"),
        "pushgate.toml:1: listen: unknown key; did you mean `server.listen`?"
    );
    assert_eq!(
        errors("[server]\npath = \"x.db\"\n"),
        "pushgate.toml:2: server.path: unknown key; did you mean `storage.path`?"
    );
}

#[test]
fn an_unknown_key_without_a_near_one_lists_the_known_ones() {
    assert_eq!(
        errors("[log]\ncolour = true\n"),
        "pushgate.toml:2: log.colour: unknown key; known here: `level` or `format`"
    );
}

#[test]
fn an_invalid_value_describes_valid_ones() {
    assert_eq!(
        errors("[server]\nlisten = \"8080\"\n"),
        "pushgate.toml:2: server.listen: \"8080\" is not an address; write ip:port, like \"127.0.0.1:8080\""
    );
    assert_eq!(
        errors("[server]\nrequest_timeout = \"soon\"\n"),
        "pushgate.toml:2: server.request_timeout: \"soon\" is not a duration; write a number and a unit, like \
         \"30s\", \"5m\" or \"7d\""
    );
    assert_eq!(
        errors("[server]\nmax_body = \"big\"\n"),
        "pushgate.toml:2: server.max_body: \"big\" is not a size; write a number of bytes or one with a unit, like \
         \"256KiB\" or \"1MiB\""
    );
}

#[test]
fn a_wrong_type_names_the_found_and_the_expected_type() {
    assert_eq!(
        errors("[server]\npublic_metrics = \"yes\"\n"),
        "pushgate.toml:2: server.public_metrics: found \"yes\", expected true or false"
    );
    assert_eq!(
        errors("[server]\nlisten = 8080\n"),
        "pushgate.toml:2: server.listen: found the number 8080, expected an address; write ip:port, like \
         \"127.0.0.1:8080\""
    );
    assert_eq!(errors("server = 5\n"), "pushgate.toml:1: server: found the number 5, expected a table");
    assert_eq!(
        errors("[apps.demo.channels]\nfcm = \"x\"\n"),
        "pushgate.toml:2: apps.demo.channels.fcm: found a string, expected a table"
    );
    assert_eq!(errors("keys = 3\n"), "pushgate.toml:1: keys: found the number 3, expected a list");
}

#[test]
fn a_budget_for_all_bodies_below_the_limit_of_one_is_refused() {
    assert_eq!(
        errors("[server]\nmax_body_bytes_in_flight = \"1MiB\"\n"),
        "pushgate.toml:2: server.max_body_bytes_in_flight: is less than server.max_body; write at least 4194304 bytes"
    );
}

#[test]
fn a_value_out_of_range_names_the_range() {
    assert_eq!(
        errors("[server]\nmax_header = 10\nrequest_timeout = \"1h\"\n"),
        "pushgate.toml:2: server.max_header: 10B is out of range; write 8KiB to 1MiB\n\
         pushgate.toml:3: server.request_timeout: 1h is out of range; write 1s to 10m"
    );
    assert_eq!(
        errors(&format!("{APP}concurrency = 0\n")),
        "pushgate.toml:3: apps.demo.channels.fcm.concurrency: 0 is out of range; write 1 to 100000"
    );
    assert_eq!(
        errors(&format!("{APP}concurrency = -1\n")),
        "pushgate.toml:3: apps.demo.channels.fcm.concurrency: the number -1 is out of range; write a whole number from \
         0 to 4294967295"
    );
}

#[test]
fn an_unknown_word_names_the_nearest_one_or_all() {
    assert_eq!(
        errors("[log]\nformat = \"jsn\"\n"),
        "pushgate.toml:2: log.format: \"jsn\" is unknown; did you mean \"json\"?"
    );
    assert_eq!(
        errors("[storage]\nkind = \"postgres\"\n"),
        "pushgate.toml:2: storage.kind: \"postgres\" is unknown; write \"sqlite\" or \"memory\""
    );
    assert_eq!(
        errors("[log]\nlevel = \"infoo\"\n"),
        "pushgate.toml:2: log.level: \"infoo\" is not a level; did you mean \"info\"?"
    );
    assert_eq!(
        errors("[log]\nlevel = \"info,pushgate\"\n"),
        "pushgate.toml:2: log.level: \"pushgate\" is not a level; write \"off\", \"error\", \"warn\", \"info\", \
         \"debug\" or \"trace\", or one a module, like \"info,pushgate=debug\""
    );
}

#[test]
fn broken_toml_shows_line_column_and_text() {
    assert_eq!(
        errors("[server]\nlisten = 127.0.0.1:80\n"),
        "pushgate.toml:2:15: invalid float; text must stand in quotes\n  \
         2 | listen = 127.0.0.1:80\n    |               ^"
    );
    assert_eq!(
        errors("[log]\nlevel = \"info\"\nlevel = \"warn\"\n"),
        "pushgate.toml:3:1: `level` is set a second time; keep one of the two\n  3 | level = \"warn\"\n    | ^"
    );
}

#[test]
fn a_missing_file_is_reported() {
    let path = std::path::Path::new("nowhere/pushgate.toml");
    let error = Config::load(&Sources { file: Some(path), ..Sources::default() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nowhere/pushgate.toml: cannot be read (No such file or directory (os error 2)); give the path of a TOML \
         file in UTF-8"
    );
}

#[test]
fn a_server_key_must_have_hash_scopes_and_apps_that_exist() {
    assert_eq!(
        errors("[[keys]]\nid = \"a\"\nhash = \"s3cret-key\"\napps = [\"*\"]\nscopes = [\"send\"]\n"),
        "pushgate.toml:3: keys[0].hash: is not \"sha256:\" and 64 hexadecimal digits; `pushgate keys new` prints a \
         key and its hash"
    );
    assert_eq!(
        errors(&format!("{APP}{KEY}apps = [\"dmo\"]\nscopes = [\"snd\", \"device\"]\n")),
        "pushgate.toml:6: keys[0].apps[0]: \"dmo\" is not an app; did you mean \"demo\"?\n\
         pushgate.toml:7: keys[0].scopes[0]: \"snd\" is unknown; did you mean \"send\"?\n\
         pushgate.toml:7: keys[0].scopes[1]: \"device\" is unknown; did you mean \"devices\"?"
    );
    assert_eq!(
        errors(&format!("{KEY}apps = [\"demo\"]\nscopes = []\n")),
        "pushgate.toml:4: keys[0].apps[0]: \"demo\" is not an app; there is none yet: add [apps.NAME], or write \"*\"\n\
         pushgate.toml:5: keys[0].scopes: is empty; write some of \"send\", \"devices\" or \"admin\""
    );
    assert_eq!(
        errors(&format!("{APP}{KEY}apps = [\"*\", \"demo\"]\nscopes = \"send\"\n")),
        "pushgate.toml:6: keys[0].apps: \"*\" means every app; leave the others out"
    );
    assert_eq!(
        errors("[[keys]]\nid = \"a\"\n"),
        "pushgate.toml:1: keys[0].hash: is missing; write it like hash = \"sha256:…\""
    );
}

#[test]
fn a_duplicate_key_id_or_hash_is_refused() {
    let rest = "apps = [\"*\"]\nscopes = [\"send\"]\n";
    assert_eq!(
        errors(&format!("{KEY}{rest}{KEY}{rest}")),
        "pushgate.toml:7: keys[1].id: \"a\" is the id of keys[0] (line 1) already; choose another"
    );
    let renamed = KEY.replace("\"a\"", "\"b\"");
    assert_eq!(
        errors(&format!("{KEY}{rest}{renamed}{rest}")),
        "pushgate.toml:8: keys[1].hash: is the same key as keys[0] (line 1); keep one of the two"
    );
}

#[test]
fn a_route_must_name_existing_channels_and_valid_conditions() {
    let route = |lines: &str| errors(&format!("{APP}[[apps.demo.routes]]\n{lines}"));
    assert_eq!(
        route("channels = [\"fmc\"]\n"),
        "pushgate.toml:4: apps.demo.routes[0].channels[0]: \"fmc\" is not a channel of this app; did you mean \"fcm\"?"
    );
    assert_eq!(
        route("channels = \"webpush\"\n"),
        "pushgate.toml:4: apps.demo.routes[0].channels: \"webpush\" is not a channel of this app; it has \"fcm\""
    );
    assert_eq!(
        route("channels = []\n"),
        "pushgate.toml:4: apps.demo.routes[0].channels: is empty; write the channels to use, in order, like [\"fcm\"]"
    );
    assert_eq!(
        route("channels = [\"fcm\", \"fcm\"]\n"),
        "pushgate.toml:4: apps.demo.routes[0].channels[1]: \"fcm\" is in this list already; keep one of the two"
    );
    assert_eq!(
        route("platform = [\"andriod\"]\n"),
        "pushgate.toml:3: apps.demo.routes[0].channels: is missing; write it like channels = [\"fcm\"]"
    );
    assert_eq!(
        route("platform = [\"web\", \"andriod\"]\nchannels = \"fcm\"\n"),
        "pushgate.toml:4: apps.demo.routes[0].platform[1]: \"andriod\" is unknown; did you mean \"android\"?"
    );
    assert_eq!(
        route(
            "country = \"Germany\"\nmin_app_build = 5\nmax_app_build = 4\nchannels = \"fcm\"\nmanufacturer = []\n"
        ),
        "pushgate.toml:4: apps.demo.routes[0].country: \"Germany\" is not a country; write two letters, like \"DE\" \
         (ISO 3166-1 alpha-2)\n\
         pushgate.toml:5: apps.demo.routes[0].min_app_build: 5 is above max_app_build = 4, so no device fits; swap \
         the two\n\
         pushgate.toml:8: apps.demo.routes[0].manufacturer: is empty; leave it out to take every device"
    );
}

#[test]
fn names_and_templates_are_checked() {
    assert_eq!(
        errors("[apps.\"two words\".channels.fcm]\nkind = \"fcm\"\n"),
        "pushgate.toml:1: apps.\"two words\": is not an app id; write 1 to 64 of A-Z a-z 0-9 _ - ."
    );
    assert_eq!(
        errors("[apps.demo.channels.\"a b\"]\nkind = \"fcm\"\n"),
        "pushgate.toml:1: apps.demo.channels.\"a b\": is not a channel name; write 1 to 64 of A-Z a-z 0-9 _ - ."
    );
    assert_eq!(
        errors("[apps.demo.templates.message]\n"),
        "pushgate.toml:1: apps.demo.templates.message: has no text; write at least one of title, content or payload"
    );
    assert_eq!(
        errors(
            "[apps.demo.templates.m]\ntitle = \"x\"\n[apps.demo.templates.m.locales.\"zh CN\"]\ntitel = \"x\"\n"
        ),
        "pushgate.toml:3: apps.demo.templates.m.locales.\"zh CN\": is not a locale; write one like zh-CN or en\n\
         pushgate.toml:4: apps.demo.templates.m.locales.\"zh CN\".titel: unknown key; did you mean `title`?"
    );
    assert_eq!(
        errors("[apps.demo.channels.fcm]\nservice_account = \"x\"\n"),
        "pushgate.toml:1: apps.demo.channels.fcm.kind: is missing; write it like kind = \"fcm\""
    );
}

#[test]
fn transport_errors_describe_valid_values_and_quote_nothing() {
    let transport = |lines: &str| errors(&format!("{APP}[apps.demo.channels.fcm.transport]\n{lines}"));
    assert_eq!(
        transport(
            "roots = \"ca.pem\"\nproxy = \"https://u:hunter2@p\"\nmax_connections = 0\nconnect_timeout = \"1h\"\n\
             connect_to = { \"a.test\" = \"here\" }\n"
        ),
        "pushgate.toml:4: apps.demo.channels.fcm.transport.roots: is neither \"system\" nor \"bundled\" nor PEM text; \
         write \"file:ca.pem\" for the text of a file\n\
         pushgate.toml:5: apps.demo.channels.fcm.transport.proxy: is not a proxy; write http://host:port or \
         http://user:password@host:port\n\
         pushgate.toml:6: apps.demo.channels.fcm.transport.max_connections: 0 is out of range; write 1 to 1000\n\
         pushgate.toml:7: apps.demo.channels.fcm.transport.connect_timeout: 1h is out of range; write 100ms to 1m\n\
         pushgate.toml:8: apps.demo.channels.fcm.transport.connect_to.\"a.test\": is not an address and a port; write \"127.0.0.1:8443\""
    );
    assert_eq!(
        transport("max_connections = \"hunter2\"\nproxi = 1\n"),
        "pushgate.toml:4: apps.demo.channels.fcm.transport.max_connections: found a string, expected a whole number \
         from 0 to 4294967295\n\
         pushgate.toml:5: apps.demo.channels.fcm.transport.proxi: unknown key; did you mean `proxy`?"
    );
}

#[test]
fn all_errors_are_reported_in_the_order_of_the_file() {
    let toml = "[server]\nlisten = \"x\"\nmax_body = \"y\"\nfoo = 1\n[log]\nformat = 3\nlevel = 4\n\
                [storage]\nkeep = \"1s\"\nkeep_pruned = \"1s\"\n[apps.demo.channels.a]\n[apps.demo.channels.b]\nkind = 1\n\
                [[apps.demo.routes]]\nchannels = [\"c\"]\n";
    let text = errors(toml);
    let lines: Vec<&str> = text.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(
        lines,
        [
            "server.listen",
            "server.max_body",
            "server.foo",
            "log.format",
            "log.level",
            "storage.keep",
            "storage.keep_pruned",
            "apps.demo.channels.a.kind",
            "apps.demo.channels.b.kind",
            "apps.demo.routes[0].channels[0]"
        ],
        "{text}"
    );
}

#[test]
fn errors_of_other_crates_get_file_and_line() {
    let folder = Folder::with("[log]\nlevel = \"info\"\n[apps.demo.templates.message]\ntitle = \"{{\"\n");
    let config = folder.load().unwrap();
    let error = config.refuse(&["apps", "demo", "templates", "message", "title"], "does not compile");
    assert_eq!(
        folder.shown(&error.into()),
        "pushgate.toml:4: apps.demo.templates.message.title: does not compile"
    );
    let error = config.refuse(&["server", "listen"], "is in use");
    assert_eq!(error.to_string(), "configuration: server.listen: is in use");
}

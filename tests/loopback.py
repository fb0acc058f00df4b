"""A network namespace in which the vendors' names lead to an emulator on this machine, for clients whose endpoints are fixed.

Nothing leaves the machine. Needs unshare and mount (util-linux), ip (iproute2). Used by interop/run and browser/run.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARIES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
INSIDE = "LOOPBACK_NAMESPACE"
CONTROL = "http://127.0.0.1:8444"
HOSTS = [
    "fcm.googleapis.com",
    "oauth2.googleapis.com",
    "iid.googleapis.com",
    "android.clients.google.com",
    "mtalk.google.com",
    "firebaseinstallations.googleapis.com",
    "fcmregistrations.googleapis.com",
    "jmt17.google.com",
    "updates.push.services.mozilla.com",
    "web.push.apple.com",
    "wns2-par02p.notify.windows.com",
]
# APNs shares no port with the others, so its name leads to an address of its own; whoever needs it relays from there.
APPLE = ("127.0.0.2", "api.push.apple.com")
CARGO = ["cargo", "build", "--quiet", "--locked"]
NPM = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]


def is_inside():
    """Whether this process is in the namespace."""
    return os.environ.get(INSIDE) == "yes"


def enter(arguments):
    """Runs this very script again inside; its exit code."""
    command = ["unshare", "--map-root-user", "--net", "--mount", sys.argv[0], *arguments]
    return subprocess.call(command, env={**os.environ, INSIDE: "yes"})


def seal(folder):
    """Inside: loopback is up, the vendors' names lead to it, and a browser takes the machine for online."""
    ip = lambda *words: subprocess.run(["ip", *words], check=True)
    ip("link", "set", "lo", "up")
    # With nothing but loopback Chromium thinks that it is offline, and never opens its push connection.
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
    ip("addr", "add", "10.99.0.1/24", "dev", "v0")
    ip("link", "set", "v0", "up")
    ip("link", "set", "v1", "up")
    hosts = folder / "hosts"
    names = [("127.0.0.1", name) for name in ["localhost", *HOSTS]]
    hosts.write_text("".join(f"{address} {name}\n" for address, name in [*names, APPLE]))
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)


@contextlib.contextmanager
def emulator(folder):
    """An emulator on the vendors' own ports, which writes its authority and accounts into the folder."""
    ports = ["--port", "443", "--mcs-port", "5228", "--control-port", "8444"]
    with process([BINARIES / "pushgate", "emulate", *ports, "--dir", folder]) as running:
        answers(running, CONTROL + "/control/fcm/devices")
        yield


@contextlib.contextmanager
def process(command, **more):
    """A process that ends with the block."""
    running = subprocess.Popen(command, **more)
    try:
        yield running
    finally:
        running.terminate()
        running.wait()


def answers(running, url):
    """Waits until something answers there, as long as the process lives."""
    for _ in range(200):
        if running.poll() is not None:
            break
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{running.args[0]} does not start; its own words are above")


def control(verb, path, body=None):
    """Asks the emulator's control API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(CONTROL + path, data, {"content-type": "application/json"}, method=verb)
    with urllib.request.urlopen(request, timeout=5) as answer:
        text = answer.read()
        return json.loads(text) if text else None

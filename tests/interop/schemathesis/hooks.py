"""Values of the formats that the gateway's document names and that no general tool can invent."""

import base64
import json

import schemathesis
from hypothesis import strategies

# A browser's subscription, with the user agent's keys of RFC 8291, Appendix A.
SUBSCRIPTION = json.dumps(
    {
        "endpoint": "https://updates.push.services.mozilla.com/wpush/v2/abc",
        "keys": {
            "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            "auth": "BTBZMqHH6r4Tts7J_aSIgg",
        },
    }
)


def push_id(service, token):
    """The envelope of a ZPNs client: version 1, a production build."""
    head = bytes([0xAF, 0, 1, 1, service, 0, 0]) + len(token).to_bytes(2, "big")
    return base64.b64encode(head + token.encode()).decode()


def register(name, *values):
    schemathesis.openapi.format(name, strategies.sampled_from(values))


register("template-name", "hello")
register("channel-name", "dummy")
register("duration-text", "1s", "30s", "1m")
register("iana-time-zone", "Asia/Shanghai", "UTC", "America/Argentina/Buenos_Aires")
register("zpns-push-id", push_id(7, SUBSCRIPTION))
register("device-event", json.dumps({"token": "none", "event": "clicked"}))

"""The unmodified PyPI package `pywebpush` sends to a browser of every push service, and to one that is gone."""

import json
import os
from urllib.parse import urlsplit

from pywebpush import WebPushException, webpush


def send(subscription):
    """One push; the library adds `aud` and `exp` to the claims it is given."""
    return webpush(
        subscription,
        os.environ["TEXT"],
        vapid_private_key=os.environ["VAPID_PRIVATE"],
        vapid_claims={"sub": "mailto:push@example.com"},
        ttl=60,
        headers={"urgency": "high", "topic": "upd8"},
    )


for one in json.loads(os.environ["SUBSCRIPTIONS"]):
    answer = send(one)
    print(urlsplit(one["endpoint"]).netloc, answer.status_code)
    assert answer.status_code == 201

try:
    send(json.loads(os.environ["DEAD_SUBSCRIPTION"]))
except WebPushException as refused:
    print("dead subscription:", refused.response.status_code)
    assert refused.response.status_code == 410
else:
    raise AssertionError("the dead subscription was taken")

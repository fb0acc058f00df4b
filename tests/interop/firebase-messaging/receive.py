"""The unmodified PyPI package `firebase-messaging` registers as a browser does and waits for one push."""

import asyncio
import json

from firebase_messaging import FcmPushClient, FcmRegisterConfig


async def main():
    got = asyncio.get_running_loop().create_future()

    def note(message, _persistent_id, _context=None):
        if not got.done():
            got.set_result(message)

    config = FcmRegisterConfig(
        project_id="demo",
        app_id="1:123456789012:web:abcdef",
        api_key="any",
        messaging_sender_id="123456789012",
    )
    client = FcmPushClient(note, config)
    token = await client.checkin_or_register()
    await client.start()
    print("TOKEN", token, flush=True)
    print("GOT", json.dumps(await got), flush=True)
    await client.stop()


asyncio.run(main())

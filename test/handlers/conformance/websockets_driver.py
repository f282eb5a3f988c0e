"""A driver for Python's websockets in the classic form: websockets_driver.py URL AGENT. It knows nothing of Pollywog."""

import asyncio
import sys
import urllib.parse

import websockets

url, agent = sys.argv[1:]
query = "agent=" + urllib.parse.quote_plus(agent)


def dial(path):
    return websockets.connect(url + path, max_size=None, ping_interval=None)


async def main():
    async with dial("/getCaseCount") as client:
        count = int(await client.recv())
    for index in range(1, count + 1):
        try:
            async with dial(f"/runCase?case={index}&{query}") as client:
                async for message in client:
                    await client.send(message)
        except (websockets.ConnectionClosed, OSError, ValueError):
            pass
    async with dial(f"/updateReports?{query}") as client:
        await client.wait_closed()


asyncio.run(main())

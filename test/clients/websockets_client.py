"""Python's websockets against a server: websockets_client.py URL off|on|takeover. Prints each part that went well."""

import asyncio
import sys

import websockets

origin, mode = sys.argv[1:]


def dial(path="/echo", **options):
    return websockets.connect(origin + path, max_size=None, **options)


def check(actual, due):
    if actual != due:
        raise AssertionError(f"{str(actual)[:200]} came, where {str(due)[:200]} was due")


async def text():
    async with dial() as client:
        for text in ["", "hello", "grüß dich, 😀", "x" * 65536]:
            await client.send(text)
            check(await client.recv(), text)


async def binary():
    async with dial() as client:
        for size in [0, 1, 125, 126, 65535, 65536, 16 * 1024 * 1024]:
            payload = bytes(range(256)) * (size // 256) + b"." * (size % 256)
            await client.send(payload)
            check(await client.recv(), payload)


async def fragments():
    async with dial() as client:
        await client.send(["one ", "two ", "", "three"])
        check(await client.recv(), "one two three")
        await client.send([bytes([value]) for value in range(200)])
        check(await client.recv(), bytes(range(200)))


async def ping():
    async with dial() as client:
        for payload in [b"", b"are you there", b"x" * 125]:
            # The pong with this payload, and no other, lets this go on.
            await (await client.ping(payload))


async def compression():
    async with dial() as client:
        # Where the connection keeps them has changed between the versions of the package.
        extensions = (client if hasattr(client, "extensions") else client.protocol).extensions
        check([type(each).__name__ for each in extensions], [] if mode == "off" else ["PerMessageDeflate"])
        for agreed in extensions:
            check(agreed.remote_no_context_takeover, mode == "on")
            check(agreed.local_no_context_takeover, mode == "on")
        for length in [10, 1000, 5000, 100000, 1000, 5000, 100000]:
            text = ('{"id": 12, "name": "Jürgen"}, ' * (length // 20))[:length]
            await client.send(text)
            check(await client.recv(), text)
            await client.send([text[: length // 2], text[length // 2 :]])
            check(await client.recv(), text)


async def burst():
    texts = [f"message {number} " * (1 + number % 100) for number in range(500)]
    async with dial() as client:
        for text in texts:
            await client.send(text)
        for text in texts:
            check(await client.recv(), text)


async def subprotocol():
    async with dial("/", subprotocols=["unknown", "echo"]) as client:
        check(client.subprotocol, "echo")


async def broadcast():
    async with dial("/broadcast") as first, dial("/", subprotocols=["broadcast"]) as second:
        await first.send("to all")
        check([await first.recv(), await second.recv()], ["to all", "to all"])


async def close_codes():
    for code, reason in [(1000, ""), (1001, "leaving"), (3000, "grüße"), (4999, "x" * 123)]:
        client = await dial()
        await client.close(code, reason)
        check(client.close_code, code)


async def too_big():
    client = await dial()
    try:
        await client.send(b"x" * (16 * 1024 * 1024 + 1))
        await client.recv()
        raise AssertionError("a message that is too big was echoed")
    except websockets.ConnectionClosed as closed:
        check(closed.rcvd.code, 1009)
        check(closed.rcvd_then_sent, True)


async def main():
    parts = [text, binary, fragments, ping, compression, burst, subprotocol, broadcast, close_codes, too_big]
    for part in parts:
        await part()
        print(part.__name__)


asyncio.run(main())

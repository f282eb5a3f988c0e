"""Runs sessions of Python's websockets against faults: websockets_reactions.py ORIGIN PATIENCE < PATHS.

Prints one JSON object per line. The sessions are the same as in wsReactions.ts.
"""

import asyncio
import json
import sys

import websockets

origin, patience = sys.argv[1], float(sys.argv[2])


def shown(message):
    return f"{len(message)} bytes" if isinstance(message, bytes) or len(message) > 60 else f'"{message}"'


def is_answered(reaction):
    return {'"one"', '"two"'} <= set(reaction["messages"]) and reaction["hasPong"]


def ended(closed):
    """The close code that the application sees, and whether the library chose it."""
    if closed.rcvd is None:
        return "close 1006" if closed.sent is None else f"fails with {closed.sent.code}"
    return f"close {closed.rcvd.code}" + (f' "{closed.rcvd.reason}"' if closed.rcvd.reason else "")


async def session(client, reaction):
    await client.send("one")
    while True:
        try:
            message = await asyncio.wait_for(client.recv(), patience / 4 if is_answered(reaction) else patience)
        except asyncio.TimeoutError:
            break
        reaction["messages"].append(shown(message))
        if message == "one":
            pong = await client.ping("ping")
            pong.add_done_callback(lambda done: reaction.update(hasPong=not done.cancelled() and not done.exception()))
            await client.send("two")
    if not is_answered(reaction):
        return
    await client.close(1000)
    if client.close_code != 1000:
        reaction["end"] = f"close {client.close_code}"


async def react(path):
    reaction = {"messages": [], "hasPong": False}
    try:
        client = await websockets.connect(
            origin + path, open_timeout=patience, close_timeout=patience / 3, ping_interval=None
        )
    except Exception as refused:  # The library raises many kinds of exceptions, even internal ones.
        reaction["refusal"] = str(refused) or type(refused).__name__
        return reaction
    try:
        await session(client, reaction)
    except websockets.ConnectionClosed as closed:
        reaction["end"] = ended(closed)
    finally:
        if client.transport is not None:
            client.transport.abort()
    return reaction


async def run(path):
    print(json.dumps({"path": path, "reaction": await react(path)}), flush=True)


async def main():
    await asyncio.gather(*(run(line.strip()) for line in sys.stdin if line.strip()))


print(json.dumps({"version": websockets.version.version}), flush=True)
asyncio.run(main())

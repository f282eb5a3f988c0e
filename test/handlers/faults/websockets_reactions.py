"""How Python's websockets reacts to faults: websockets_reactions.py ORIGIN PATIENCE < PATHS. Prints a JSON object a line."""

import asyncio
import json
import sys

import websockets

origin, patience = sys.argv[1], float(sys.argv[2])


def shown(message):
    return f"{len(message)} bytes" if isinstance(message, bytes) or len(message) > 60 else f'"{message}"'


async def session(client, reaction):
    """Receives until the connection is closed or silent. The answer to the first message is a ping and a second one."""
    await client.send("one")
    while True:
        message = await asyncio.wait_for(client.recv(), patience)
        reaction["messages"].append(shown(message))
        if len(reaction["messages"]) > 1:
            continue
        pong = await client.ping("ping")
        pong.add_done_callback(lambda done: reaction.update(hasPong=not done.cancelled() and not done.exception()))
        await client.send("two")


async def react(path):
    reaction = {"messages": [], "hasPong": False}
    try:
        client = await websockets.connect(origin + path, open_timeout=patience, close_timeout=0.2, ping_interval=None)
    except Exception as refused:  # The library has many kinds, and some of them are internal errors.
        reaction["refusal"] = f"{type(refused).__name__}: {refused}"
        return reaction
    try:
        await session(client, reaction)
    except asyncio.TimeoutError:
        pass
    except websockets.ConnectionClosed as closed:
        reaction["end"] = f"{type(closed).__name__}: {closed}"
    finally:
        if client.transport is not None:
            client.transport.abort()
    return reaction


async def run(path, room):
    async with room:
        print(json.dumps({"path": path, "reaction": await react(path)}), flush=True)


async def main():
    room = asyncio.Semaphore(30)
    await asyncio.gather(*(run(line.strip(), room) for line in sys.stdin if line.strip()))


print(json.dumps({"version": websockets.version.version}), flush=True)
asyncio.run(main())

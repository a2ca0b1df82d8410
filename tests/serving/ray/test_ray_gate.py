"""The gate before ``@serve.batch``: who waits, and who goes in together."""

import asyncio

import pytest

from dogbreed.serving.ray.replica import Gate


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


def visits(gate, count, seen, done):
    async def visit(number):
        async with gate.inside():
            seen.append(number)
            await done.wait()

    return [asyncio.create_task(visit(number)) for number in range(count)]


def test_those_who_come_during_a_batch_go_in_together_after_it():
    async def scenario():
        gate, seen, first, second = Gate(), [], asyncio.Event(), asyncio.Event()
        ahead = visits(gate, 2, seen, first)
        await settle()
        gate.close()  # their batch begins
        behind = visits(gate, 5, seen, second)
        await settle()
        assert seen == [0, 1]
        first.set()
        await settle()
        assert seen == [0, 1, 0, 1, 2, 3, 4]
        second.set()
        await asyncio.gather(*ahead, *behind)

    asyncio.run(scenario())


def test_who_is_cancelled_blocks_nobody():
    async def scenario():
        gate, seen, never, done = Gate(), [], asyncio.Event(), asyncio.Event()
        (gone,) = visits(gate, 1, seen, never)
        await settle()
        gate.close()
        waiting = visits(gate, 2, seen, done)
        await settle()
        waiting[0].cancel()
        gone.cancel()
        await settle()
        assert seen == [0, 1]
        done.set()
        await waiting[1]
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(scenario())


def test_an_empty_gate_stays_open():
    async def scenario():
        gate, seen, done = Gate(), [], asyncio.Event()
        gate.close()  # its only visitor has gone before the batch began
        done.set()
        await asyncio.gather(*visits(gate, 1, seen, done))
        assert seen == [0]

    asyncio.run(asyncio.wait_for(scenario(), 5))

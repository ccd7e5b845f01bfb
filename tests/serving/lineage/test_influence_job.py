"""The process that computes influence for a server: it ends with whoever waits for it, and with a reason."""

import asyncio

import pytest

from refrain.serving.lineage.influence_job import InfluenceJobs


@pytest.fixture
def started(monkeypatch):
    """The processes that were started, in order."""
    processes, start = [], asyncio.create_subprocess_exec

    async def record(*command, **streams):
        processes.append(await start(*command, **streams))
        return processes[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", record)
    return processes


@pytest.mark.heavy
def test_a_process_ends_with_the_client_that_leaves_and_the_next_one_is_not_kept_waiting(started, tmp_path):
    async def leave_and_ask_again():
        jobs = InfluenceJobs()
        leaving = asyncio.create_task(jobs.run(tmp_path, [1], "a", 1))
        waiting = asyncio.create_task(jobs.run(tmp_path, [1], "b", 1))
        while not started:
            await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        return started[0].returncode, await waiting

    code, told = asyncio.run(leave_and_ask_again())
    assert code == -9, "killed, and waited for"
    assert list(told) == ["problem"] and len(started) == 2

"""The functions stand in worker_functions.py, for a worker imports what it applies."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import worker_functions
from worker_functions import Said, die, interrupt, large, loaded, process, refuse, stumble

from refrain.data.parallel import mapping, process_pool
from refrain.pipeline.cores import available_cores
from refrain.pipeline.schema import DataConfig


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """A crew is called however quick the items are."""
    monkeypatch.setattr(mapping, "HEAD_START", 0)


def mapped(function, items, workers, engine="local"):
    return mapping.parallel_map(function, iter(items), DataConfig(engine=engine, workers=workers))


ITEMS = [(number, f"é\ud800{number}") for number in range(23)]
RESULTS = [("it", {number: [text * 1000, None]}) for number, text in ITEMS]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_order_and_are_the_same_for_any_number_of_workers(workers):
    assert [result[:2] for result in mapped(Said("it"), ITEMS, workers)] == RESULTS


@pytest.mark.heavy
def test_ray_gives_the_same_results_and_errors_and_keeps_silent(monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", str(Path(worker_functions.__file__).parent), prepend=os.pathsep)
    results = mapped(Said("it"), [*ITEMS, (None, "")], 2, "ray")
    said = [next(results) for _ in ITEMS]
    assert [result[:2] for result in said] == RESULTS
    assert {result[2] for result in said} == {"false"}
    with pytest.raises(ValueError, match=r"^some\.jsonl: a row has no number$"):
        next(results)
    assert not sys.modules["ray"].is_initialized()
    assert capfd.readouterr() == ("", "")


def test_ray_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'refrain-lm\[ray\]'"):
        list(mapped(process, range(9), 2, "ray"))


def test_several_processes_work_and_none_is_left():
    found = set(mapped(process, range(40), 3))
    assert len(found - {os.getpid()}) == 3
    assert not [number for number in found - {os.getpid()} if psutil.pid_exists(number)]


def test_a_few_long_items_are_worked_on_at_once_and_an_error_is_raised_as_itself():
    with mapping.map_at_once(process, [1, 2], DataConfig(workers=1)) as results:
        assert set(results) == {os.getpid()}
    with mapping.map_at_once(process, [1, 2], DataConfig(workers=2)) as results:
        found = list(results)
    assert len({*found, os.getpid()}) == 3 and not any(map(psutil.pid_exists, found))
    with (
        pytest.raises(ValueError, match=r"^some\.jsonl: line 5 is not right; correct it$"),
        mapping.map_at_once(refuse, [4, 5], DataConfig(workers=2)) as results,
    ):
        list(results)


def test_one_worker_a_single_item_and_quick_items_need_no_other_process(monkeypatch):
    assert set(mapped(process, range(9), 1)) == {os.getpid()}
    assert set(mapped(process, range(2), 2)) == {os.getpid()}  # the second one is alone
    assert list(mapped(process, [], 2)) == []
    monkeypatch.setattr(mapping, "HEAD_START", 60)
    monkeypatch.setattr(mapping, "LATER_START", 60)
    assert set(mapped(process, range(9), 2)) == {os.getpid()}


def test_all_cores_of_this_process_are_used_unless_a_number_is_given():
    assert len(set(mapped(process, range(40), None)) - {os.getpid()}) == (
        available_cores() if available_cores() > 1 else 0
    )


def test_workers_do_not_share_their_core_with_threads_of_a_tokenizer():
    assert {result[2] for result in process_pool.map_in_processes(Said("it"), iter(ITEMS), 2)} == {"false"}


def test_what_is_loaded_is_loaded_once_by_each_worker():
    assert len(set(mapped(loaded, range(40), 2))) <= 3  # this process, and two workers


def test_the_stream_is_not_run_ahead_of():
    taken = []
    results = mapped(process, (taken.append(number) or number for number in range(1000)), 2)
    for count in range(1, 100):
        next(results)
        assert len(taken) < count + 2 * 2 + 2
    results.close()
    assert len(taken) < 110


def test_large_items_and_results_do_not_block_each_other():
    assert {len(text) for text in mapped(large, ("y" * 5_000_000 for _ in range(12)), 2)} == {5_000_000}


def test_an_error_is_raised_as_itself_in_its_turn():
    results = mapped(refuse, range(9), 2)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"^some\.jsonl: line 5 is not right; correct it$"):
        next(results)


def test_a_defect_says_where_in_the_worker_it_was():
    with pytest.raises(KeyError) as caught:
        list(process_pool.map_in_processes(stumble, iter(range(9)), 2))
    assert "in stumble" in caught.value.__notes__[0]


def test_a_killed_worker_is_one_sentence():
    with pytest.raises(ValueError, match=r"^a process of data\.workers=2 was killed, .*; set data\.workers=1$"):
        list(mapped(die, range(60), 2))


def test_an_interruption_is_for_the_process_that_called_the_workers():
    assert list(process_pool.map_in_processes(interrupt, iter(range(9)), 2)) == list(range(9))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_this_process_ends_its_workers_too(number):
    code = "import worker_functions as t; list(t.process_pool.map_in_processes(t.wait_for_ever, t.told(), 2))"
    environment = os.environ | {"PYTHONPATH": str(Path(worker_functions.__file__).parent)}
    main = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=environment, start_new_session=True)  # fmt: skip
    pids = {int(main.stdout.readline()) for _ in range(3)} - {main.pid}
    os.killpg(main.pid, number) if number == signal.SIGINT else main.send_signal(number)
    errors = main.communicate(timeout=120)[1]  # the output ends when nobody holds it any more
    assert errors.count("Traceback") == (number == signal.SIGINT)  # its own, and none of a worker
    assert len(pids) == 2
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]

"""A stage as a process: what it says comes through, and its end is a value or an exception."""

import logging
import os
import signal

import pytest

from refrain.workflow import stage_process

STAGE = '''"""A stage that {what}."""
import logging, os, signal, time
from refrain.pipeline import runner

def main(arguments):
    logging.getLogger("refrain.x").info("speak: of amber")
    logging.getLogger("refrain.x").info("and of kelp")
    {act}

runner.run_command(main, __doc__, lambda: True)
'''


@pytest.fixture
def stage(tmp_path, caplog):
    """A function that runs a stage which does one thing at its end, and gives the lines that came through."""
    caplog.set_level(logging.INFO, "refrain")

    def run(act: str, *arguments: str) -> list[str]:
        (tmp_path / "stages").mkdir(exist_ok=True)
        (tmp_path / "stages/__init__.py").touch()
        (tmp_path / "stages/speak.py").write_text(STAGE.format(what="speaks", act=act))
        stage_process.run_stage("speak", tmp_path, *arguments)
        return caplog.messages

    return run


def test_lines_come_through_in_their_order(stage):
    assert stage("pass") == ["speak: of amber", "and of kelp"]


@pytest.mark.parametrize(("act", "kind", "sentence"), [
    ("raise ValueError('rows.csv:3: it is torn; mend it')", ValueError, "rows.csv:3: it is torn; mend it"),
    ("raise ValueError('two\\n  lines')", ValueError, "two\n  lines"),
    ("raise OSError('disk: it is full')", ValueError, "disk: it is full"),
    ("raise SystemExit('a worker has failed')", ValueError, "a worker has failed"),
    ("raise KeyError('x')", RuntimeError, "speak: KeyError: 'x'; this is a defect of refrain, report it"),
    ("os.kill(os.getpid(), signal.SIGKILL)", RuntimeError, "speak: SIGKILL ended it, most often because memory ran "
     "out; give it less to hold at once, such as a smaller micro_batch_tokens"),
    ("raise KeyboardInterrupt('stopped at step 3')", KeyboardInterrupt, "stopped at step 3"),
])  # fmt: skip
def test_a_stage_that_fails_raises_what_it_says(stage, caplog, act, kind, sentence):
    with pytest.raises(kind) as raised:
        stage(act)
    assert str(raised.value) == sentence and caplog.messages == ["speak: of amber", "and of kelp"]
    assert kind is not RuntimeError or "SIGKILL" in sentence or "Traceback" in raised.value.__notes__[0]


@pytest.fixture
def ctrl_c_at_work():
    """Ctrl-C, as soon as the stage says that it works."""

    def press(record: logging.LogRecord) -> bool:
        if record.getMessage() == "at work":
            os.kill(os.getpid(), signal.SIGINT)
        return True

    stage_process.log.addFilter(press)
    yield
    stage_process.log.removeFilter(press)


WORK = "try: logging.getLogger('refrain.x').info('at work'); time.sleep(60)\n    except KeyboardInterrupt: "


@pytest.mark.usefixtures("ctrl_c_at_work")
def test_an_interruption_is_passed_on_once_and_waited_for(stage, tmp_path):
    with pytest.raises(KeyboardInterrupt, match=r"^at step 3$"):
        stage(WORK + "open('kept', 'w'); raise KeyboardInterrupt('at step 3')")
    assert (tmp_path / "kept").exists()


@pytest.mark.usefixtures("ctrl_c_at_work")
def test_a_stage_that_ends_well_though_it_was_interrupted_is_not_lost(stage, caplog):
    stage(WORK + "logging.getLogger('refrain.x').info('done')")
    assert caplog.messages[-1] == "done"


def test_what_tells_of_another_run_is_no_stage_s(stage, monkeypatch, tmp_path):
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "RANK", "WORLD_SIZE", "PYTHONSAFEPATH"):
        monkeypatch.setenv(name, "1")
    stage("open('seen', 'w').write(' '.join(os.environ))")
    seen = (tmp_path / "seen").read_text().split()
    assert not [name for name in seen if name.startswith(("DVC_", "RANK", "WORLD_SIZE", "PYTHONSAFE"))]

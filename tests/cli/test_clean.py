import pytest

from refrain.cli import main
from refrain.training import checkpoints


def test_clean_removes_what_a_stopped_training_left_and_says_how_much(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt), checkpoints.exclusive_folder("stopped") as folder:
        (folder / "weights").write_bytes(bytes(1_200_000))
        raise KeyboardInterrupt
    assert (main.main(["clean"]), capsys.readouterr().out) == (0, "1.2 MB of checkpoints removed\n")
    assert (main.main(["clean"]), capsys.readouterr().out) == (0, "0.0 MB of checkpoints removed\n")

from refrain.cli import main
from refrain.pipeline import manifest


def test_a_whole_folder_is_called_whole(tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"abc")
    manifest.write_manifest(tmp_path, {})
    assert main.main(["check", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "OK, 1 file matches\n"


def test_what_the_hub_and_its_client_leave_beside_it_is_no_problem_and_a_stranger_is(tmp_path, capsys):
    (tmp_path / "best").mkdir()
    (tmp_path / "best/model.onnx").write_bytes(b"abc")
    manifest.write_manifest(tmp_path, {})
    for name in (".gitattributes", ".cache/huggingface/.gitignore", ".cache/huggingface/download/README.md.metadata"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("*")
    assert main.main(["check", str(tmp_path)]) == 0
    (tmp_path / ".cache/other").touch()
    capsys.readouterr()
    assert main.main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().out == ".cache/other: it is there but not listed\n"


def test_a_bad_file_is_named(tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"abc")
    manifest.write_manifest(tmp_path, {})
    (tmp_path / "model.onnx").write_bytes(b"abd")
    assert main.main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "model.onnx: checksum mismatch\n"


def test_a_folder_without_a_manifest_is_one_sentence(tmp_path, capsys):
    assert main.main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"refrain: {tmp_path}/manifest.json: ")

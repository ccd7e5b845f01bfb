from refrain.cli import main
from refrain.pipeline import manifest


def test_a_whole_folder_is_called_whole(tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"abc")
    manifest.write_manifest(tmp_path, {})
    assert main.main(["check", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "OK, 1 file matches\n"


def test_a_bad_file_is_named(tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"abc")
    manifest.write_manifest(tmp_path, {})
    (tmp_path / "model.onnx").write_bytes(b"abd")
    assert main.main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "model.onnx: checksum mismatch\n"


def test_a_folder_without_a_manifest_is_one_sentence(tmp_path, capsys):
    assert main.main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"refrain: {tmp_path}/manifest.json: ")

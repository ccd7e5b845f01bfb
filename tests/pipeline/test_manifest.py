import hashlib
import json

import pytest

from refrain.pipeline import manifest

FACTS = {"variant": "int8", "top1": 0.994, "motto": "né sous une étoile 🌟"}


@pytest.fixture
def folder(tmp_path):
    """A folder as it is shipped: files of its own, one below, and a manifest."""
    (tmp_path / "model.onnx").write_bytes(bytes(range(256)))
    (tmp_path / "empty.txt").touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "manifest.json").write_text("{}")
    manifest.write_manifest(tmp_path, FACTS)
    return tmp_path


def test_a_folder_as_it_was_written_is_whole(folder):
    assert manifest.find_problems(folder) == []


def test_a_flipped_bit_is_named(folder):
    content = bytearray((folder / "model.onnx").read_bytes())
    content[100] ^= 1
    (folder / "model.onnx").write_bytes(content)
    assert manifest.find_problems(folder) == ["model.onnx: checksum mismatch"]


def test_missing_and_unlisted_files_are_named(folder):
    (folder / "more" / "manifest.json").unlink()
    (folder / "guest.py").touch()
    assert manifest.find_problems(folder) == [
        "guest.py: it is there but not listed",
        "more/manifest.json: it is listed but missing",
    ]


def test_facts_come_back_beside_the_checksums(folder):
    content = manifest.read_manifest(folder)
    files = content.pop("files")
    assert content == FACTS
    assert list(files) == ["empty.txt", "model.onnx", "more/manifest.json"]
    assert files["empty.txt"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_files_are_listed_by_name_whatever_order_the_disk_has_them_in(tmp_path):
    names = sorted(f"{'abcdefgh'[n % 8]}{n}" for n in range(64))
    for name in reversed(names):
        (tmp_path / name).touch()
    manifest.write_manifest(tmp_path, {})
    assert list(manifest.read_manifest(tmp_path)["files"]) == names


def test_writing_again_gives_the_same_bytes(folder):
    before = (folder / "manifest.json").read_bytes()
    manifest.write_manifest(folder, FACTS)
    assert (folder / "manifest.json").read_bytes() == before
    assert before.endswith(b"}\n") and "🌟".encode() in before


def test_linked_files_count_as_files(folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache") / "d41d8"
    (folder / "model.onnx").rename(cache)
    (folder / "model.onnx").symlink_to(cache)
    assert manifest.find_problems(folder) == []


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"files": ["model.onnx"]}', "\0"])
def test_a_manifest_that_cannot_be_read_is_refused_in_a_sentence(folder, content):
    if content is None:
        (folder / "manifest.json").unlink()
    else:
        (folder / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json: .*; fetch .* again$"):
        manifest.find_problems(folder)


def test_the_manifest_is_plain_json(folder):
    assert json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["motto"] == FACTS["motto"]


def test_a_seal_is_what_sha256sum_says_of_a_file_or_of_its_own_list_of_a_folder(folder):
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    assert len(files) == 4
    listed = "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in files)
    assert manifest.content_hash(folder) == hashlib.sha256(listed.encode()).hexdigest()
    assert manifest.content_hash(folder / "empty.txt") == hashlib.sha256().hexdigest()


def test_an_identity_changes_with_any_byte_and_any_name(folder):
    before = manifest.dvc_md5(folder)
    (folder / "empty.txt").rename(folder / "void.txt")
    renamed = manifest.dvc_md5(folder)
    (folder / "void.txt").write_text("!")
    assert len({before, renamed, manifest.dvc_md5(folder)}) == 3
    assert before.endswith(".dir") and len(before) == len("d41d8cd98f00b204e9800998ecf8427e.dir")

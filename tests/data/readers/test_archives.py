"""Members of a ZIP are read by name, and refused where they could do harm."""

import io
import stat
import zipfile

import pytest
from raw_files import good, read

from refrain.data.readers import archives, files
from refrain.pipeline.schema import SourceConfig

ROWS = b'{"a": "1"}\n'


def archive(*members, encrypted=False):
    """A ZIP of members given as (name or ZipInfo, content)."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, member in members:
            packed.writestr(name, member)
    result = bytearray(content.getvalue())
    if encrypted:  # the flag, in the member's header and in the directory
        result[6] |= 1
        result[result.index(b"PK\x01\x02") + 8] |= 1
    return bytes(result)


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize("name", ["../a.jsonl", "/a.jsonl", "b/../../a.jsonl", "..\\a.jsonl", "C:/a.jsonl"])
def test_a_member_that_leads_out_of_the_archive_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"x\.zip: its member .* leads out of the archive; pack"):
        read(tmp_path, "x.zip", archive((name, ROWS)))


def test_what_is_encrypted_or_a_link_or_there_twice_is_refused(tmp_path):
    for content, words in [
        (archive(("a.jsonl", ROWS), encrypted=True), "is encrypted; unpack it"),
        (archive((link("a.jsonl"), "/etc/passwd")), "is a link; pack"),
    ]:
        with pytest.raises(ValueError, match=f"its member 'a.jsonl' {words}"):
            read(tmp_path, "x.zip", content)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = archive(("a.jsonl", ROWS), ("a.jsonl", ROWS))
    with pytest.raises(ValueError, match="is there twice"):
        read(tmp_path, "x.zip", twice)


def test_one_of_several_members_is_read_by_a_path_that_leads_to_it(tmp_path):
    content = archive(("in/a.jsonl", ROWS), ("in/b.csv", "a\n2\n"), ("__MACOSX/in/._a.jsonl", b"\0"), (".b.csv", ""))
    with pytest.raises(ValueError, match=r"x\.zip: it holds in/a\.jsonl, in/b\.csv; name one"):
        read(tmp_path, "x.zip", content)
    assert good(files.read_rows(tmp_path / "x.zip/in/b.csv", SourceConfig())) == [(2, {"a": "2"})]
    with pytest.raises(ValueError, match="it holds in/a"):
        list(files.read_rows(tmp_path / "x.zip/in/c.csv", SourceConfig()))


def test_a_member_with_a_wrong_checksum_is_refused(tmp_path):
    content = archive(("a.jsonl", ROWS)).replace(b'"1"', b'"7"', 1)
    with pytest.raises(ValueError, match=r"CRC.*; the file is damaged"):
        read(tmp_path, "x.zip", content)


def test_as_much_as_people_write_may_be_unpacked():
    archives.refuse_bomb(1 << 20, 200 << 20)
    with pytest.raises(ValueError, match="unpacks to over 200 times its size"):
        archives.refuse_bomb(1 << 20, (200 << 20) + 1)

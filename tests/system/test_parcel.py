"""Files in parts of a bounded size: what arrives whole is read, the rest is not."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from pipeline.system.parcel import SUMS, fitting, pack, unpack

FILES = {"a/small": b"1", "a/large": bytes(range(256)) * 20, "last": b"end"}


@pytest.fixture
def parts(tmp_path):
    return pack(FILES, tmp_path / "parts", "send", part=3000)


def test_parts_have_at_most_the_size_asked_for_and_tar_unpacks_them(parts, tmp_path):
    assert [part.name for part in parts] == [f"send.{number:03}" for number in range(len(parts))]
    assert [part.stat().st_size for part in parts[:-1]] == [3000] * (len(parts) - 1)
    (tmp_path / "there").mkdir()
    subprocess.run(
        "cat ../parts/send.* | tar -x && sha256sum --check --quiet SHA256SUMS",
        shell=True,
        check=True,
        cwd=tmp_path / "there",
    )
    assert {name: (tmp_path / "there" / name).read_bytes() for name in FILES} == FILES


def test_what_is_packed_is_unpacked(parts, tmp_path):
    assert dict(unpack(tmp_path / "parts", "send")) == FILES


def test_files_on_the_disk_are_packed_and_parts_of_an_earlier_parcel_removed(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("note").write_bytes(b"on the disk")
    assert len(pack({"note": Path("note")}, tmp_path / "parts", "send", part=1 << 20)) == 1
    assert dict(unpack(tmp_path / "parts", "send")) == {"note": b"on the disk"}


def test_of_a_parcel_that_lacks_parts_the_whole_files_before_are_read(parts, tmp_path):
    parts[-1].unlink()  # the tar's end alone
    assert dict(unpack(tmp_path / "parts", "send")) == FILES
    parts[-2].unlink()
    assert dict(unpack(tmp_path / "parts", "send")) == {"a/small": b"1"}
    parts[0].unlink()
    with pytest.raises(ValueError, match=r"send\.000 is missing"):
        dict(unpack(tmp_path / "parts", "send"))


def test_a_changed_file_is_refused(parts, tmp_path):
    content = bytearray(b"".join(part.read_bytes() for part in parts))
    content[content.index(FILES["a/large"]) + 7] ^= 1
    for number, part in enumerate(parts):
        part.write_bytes(content[number * 3000 : (number + 1) * 3000])
    with pytest.raises(ValueError, match=r"a/large has another sha256"):
        dict(unpack(tmp_path / "parts", "send"))


def test_a_parcel_of_a_bounded_size_takes_the_first_files_that_fit(tmp_path):
    files = {name: tmp_path / name for name in ("one", "two", "three")}
    for path, size in zip(files.values(), (40_000, 90_000, 20_000), strict=True):
        path.write_bytes(bytes(size))
    assert list(fitting(files, 100_000)) == ["one", "three"]
    parts = pack(fitting(files, 100_000), tmp_path / "parts", "send", part=100_000)
    assert [part.stat().st_size <= 100_000 for part in parts] == [True]


@pytest.mark.parametrize("name", ["../outside", "/outside", SUMS])
def test_no_name_leads_out_of_the_folder(name, tmp_path):
    with pytest.raises(ValueError, match="cannot be packed"):
        pack({name: b""}, tmp_path, "send", part=1000)


def test_sums_are_those_of_sha256sum(parts, tmp_path):
    head = parts[0].read_bytes()[512:].partition(b"\n")[0].decode()
    assert head == f"{hashlib.sha256(b'1').hexdigest()}  a/small"

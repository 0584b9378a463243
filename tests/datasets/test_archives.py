"""Official files are found, checked before they are opened, and stored whole or not at all."""

import dataclasses
import gzip
import hashlib
import io
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from pipeline.datasets import SOURCES
from pipeline.datasets.archives import find, official, place, unpack


def offer(monkeypatch, folder, name, content):
    """Write a file and make its checksum the official one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(official(), name, dataclasses.replace(official()[name], md5=md5))
    return folder / name


def tar_of(members, mode="w"):
    """An archive of {name: content}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw" / "svhn"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def unreachable(monkeypatch):
    """Replace every URL by a closed port of this machine."""
    for name, archive in official().items():
        closed = tuple(f"http://127.0.0.1:9/{name}" for _ in archive.urls)
        monkeypatch.setitem(official(), name, dataclasses.replace(archive, urls=closed))


NAME = "test_32x32.mat"


@pytest.mark.parametrize("under", [".", "svhn", "SVHN/raw"])
def test_a_file_of_the_mirror_is_copied_and_then_needs_no_mirror(monkeypatch, tmp_path, raw, under):
    offer(monkeypatch, tmp_path / "mirror" / under, NAME, b"digits")
    assert place(NAME, raw, tmp_path / "mirror").read_bytes() == b"digits"
    assert [each.name for each in raw.iterdir()] == [NAME]
    assert place(NAME, raw, None) == raw / NAME


def test_a_wrong_file_under_an_official_name_is_refused_with_both_checksums(monkeypatch, tmp_path, raw):
    expected = hashlib.md5(b"digits").hexdigest()
    offer(monkeypatch, tmp_path / "mirror", NAME, b"digits").write_bytes(b"forgery")
    with pytest.raises(
        ValueError, match=f"mirror/{NAME} .*{hashlib.md5(b'forgery').hexdigest()}.*{expected}.*"
    ):
        place(NAME, raw, tmp_path / "mirror")
    assert not list(raw.iterdir())


def test_a_truncated_archive_is_refused_wherever_it_lies(monkeypatch, raw):
    whole = tar_of({"a": b"1" * 5000}, "w:gz")
    offer(monkeypatch, raw, "stl10_binary.tar.gz", whole).write_bytes(whole[:20])
    with pytest.raises(ValueError, match=r"stl10_binary\.tar\.gz is damaged .* delete it and fetch again"):
        SOURCES["stl10"].fetch(raw, mirror=None)


def test_without_a_network_one_line_says_where_to_put_the_file(unreachable, tmp_path, raw):
    with pytest.raises(ValueError, match="train_32x32.mat") as refusal:
        SOURCES["svhn"].fetch(raw, mirror=tmp_path)
    said = str(refusal.value)
    assert "\n" not in said
    assert all(part in said for part in (official()["train_32x32.mat"].md5, str(tmp_path), "'mirror:'"))
    assert not list(raw.iterdir())


def test_a_split_that_was_never_fetched_says_how_to_get_it(raw):
    for name in ("mnist", "svhn", "cifar10", "cifar100", "stl10", "voc2007", "voc2012"):
        folder = raw.with_name(name)
        with pytest.raises(ValueError, match=f"python -m pipeline.fetch {name}"):
            SOURCES[name].open(folder, "train")


@pytest.mark.parametrize("name", ["../outside", "/outside"])
def test_a_member_that_leaves_the_folder_is_refused_or_kept_inside(tmp_path, name):
    archive, folder = tmp_path / "some.tar", tmp_path / "deep" / "folder"
    folder.parent.mkdir()
    archive.write_bytes(tar_of({"good": b"1", name: b"2"}))
    if name.startswith("/"):  # a leading slash is dropped
        unpack(archive, folder)
        assert (folder / "outside").is_file()
    else:
        with pytest.raises(ValueError, match="does not unpack .*outside"):
            unpack(archive, folder)
        assert not list(folder.parent.iterdir())
    assert not [each for each in tmp_path.rglob("outside") if folder not in each.parents]


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    (tmp_path / "some.tar").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="does not unpack"):
        unpack(tmp_path / "some.tar", tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_an_archive_that_ends_early_leaves_nothing_behind(tmp_path):
    whole = tar_of({"a": b"1" * 9000, "b": b"2" * 9000})
    (tmp_path / "some.tar").write_bytes(whole[:12_000])
    with pytest.raises(ValueError, match="does not unpack"):
        unpack(tmp_path / "some.tar", tmp_path / "folder")
    assert [each.name for each in tmp_path.iterdir()] == ["some.tar"]


def test_data_raw_takes_precedence_over_the_mirror(tmp_path, raw):
    for folder in (raw, tmp_path):
        (folder / NAME).write_bytes(b"")
    assert find(NAME, raw, tmp_path) == raw / NAME


def test_mnist_of_another_compression_is_the_official_data(monkeypatch, tmp_path):
    from test_layouts import idx_files

    mirror, raw = tmp_path / "MNIST" / "raw", tmp_path / "data" / "mnist"
    raw.mkdir(parents=True)
    for name, content in idx_files().items():
        offer(monkeypatch, mirror, name, content).unlink()
        (mirror / f"{name}.gz").write_bytes(gzip.compress(content, 1))
    SOURCES["mnist"].fetch(raw, mirror=tmp_path)
    assert len(SOURCES["mnist"].open(raw, "train")) == 6
    again = tmp_path / "again" / "mnist"
    again.mkdir(parents=True)
    (mirror / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"other"))
    with pytest.raises(ValueError, match="holds another file"):
        SOURCES["mnist"].fetch(again, mirror=tmp_path)
    (mirror / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"other" * 99)[:20])
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte.gz is damaged"):
        SOURCES["mnist"].fetch(again, mirror=tmp_path)


def test_a_dead_address_falls_back_to_the_next(monkeypatch, tmp_path, raw):
    content = offer(monkeypatch, tmp_path / "served", NAME, b"digits").read_bytes()
    serve = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        alive = f"http://127.0.0.1:{server.server_port}/{NAME}"
        archive = dataclasses.replace(official()[NAME], urls=(f"http://127.0.0.1:9/{NAME}", alive))
        monkeypatch.setitem(official(), NAME, archive)
        assert place(NAME, raw, None).read_bytes() == content
        server.shutdown()


def test_vocs_archives_have_mirrors_after_torchvisions_address():
    for name in ("VOCtrainval_06-Nov-2007.tar", "VOCtest_06-Nov-2007.tar", "VOCtrainval_11-May-2012.tar"):
        first, *mirrors = official()[name].urls
        assert first.endswith(name)
        assert len(mirrors) >= 2
        assert all(each.endswith(f"/{name}") and "{" not in each for each in mirrors)

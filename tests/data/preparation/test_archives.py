import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from unified_seg.data.preparation.archives import unpack
from unified_seg.data.problems import DataError

FILES = {"set/images/a.jpg": b"a" * 3000, "set/images/deep/b.jpg": b"b", "set/notes.txt": b"n", "other/c.jpg": b"c"}


def tar_of(members: list[tarfile.TarInfo], contents: list[bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, content in zip(members, contents):
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def plain_tar(files: dict[str, bytes]) -> bytes:
    folder = tarfile.TarInfo("set")
    folder.type = tarfile.DIRTYPE
    return tar_of([folder, *map(tarfile.TarInfo, files)], [b"", *files.values()])


def tree(root: Path) -> dict[str, bytes]:
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}


@pytest.fixture(params=["a.zip", "a.tar", "a.tgz"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write = {"a.zip": zip_of, "a.tar": plain_tar, "a.tgz": lambda files: gzip.compress(plain_tar(files))}
    path = tmp_path / request.param
    path.write_bytes(write[request.param](FILES))
    return path


def test_everything_is_unpacked_once(archive: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert unpack(archive, root) == 4
    assert tree(root) == FILES
    assert unpack(archive, root) == 0


def test_a_folder_of_an_archive_is_unpacked(archive: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert unpack(archive, root, inside="set", only=("images/deep", "notes.txt")) == 2
    assert tree(root) == {"images/deep/b.jpg": b"b", "notes.txt": b"n"}


def test_an_interrupted_unpacking_continues(archive: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    unpack(archive, root)
    (root / "set/images/a.jpg").write_bytes(b"half")
    (root / "set/notes.txt").unlink()
    left_over = root / "set/.notes.txt.0123456789abcdef.tmp"
    left_over.write_bytes(b"half of a file")
    assert unpack(archive, root) == 2
    left_over.unlink()
    assert tree(root) == FILES


def test_without_an_archive_nothing_is_done(tmp_path: Path) -> None:
    assert unpack(tmp_path / "a.zip", tmp_path) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "set/../../evil.txt", "set\\evil.txt", "C:/evil.txt"])
@pytest.mark.parametrize("write", [zip_of, plain_tar])
def test_a_member_outside_the_folder_is_refused(
    name: str, write: Callable[[dict[str, bytes]], bytes], tmp_path: Path
) -> None:
    path = tmp_path / ("a.zip" if write is zip_of else "a.tar")
    path.write_bytes(write({name: b"evil"}))
    with pytest.raises(DataError, match=r"a\.\w+: member '.*evil\.txt' is outside"):
        unpack(path, tmp_path / "root")
    assert not list(tmp_path.rglob("*evil*")) and not Path("/evil.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    link = tarfile.TarInfo("set/link")
    link.type, link.linkname = kind, "/etc"
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of([link, tarfile.TarInfo("set/link/evil.txt")], [b"", b"evil"]))
    with pytest.raises(DataError, match=r"a\.tar: member 'set/link' is a link"):
        unpack(path, tmp_path / "root")
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("name", "damage"),
    # A tar file has no checksum of a file's content.
    [("a.zip", "byte"), *((name, damage) for name in ("a.zip", "a.tar", "a.tgz") for damage in ("html", "cut"))],
)
def test_a_damaged_archive_is_named(name: str, damage: str, tmp_path: Path) -> None:
    content = bytes(range(256)) * 400
    files = {"set/big.bin": content[::-1] + content}
    data = {"a.zip": zip_of, "a.tar": plain_tar, "a.tgz": lambda f: gzip.compress(plain_tar(f))}[name](files)
    if damage == "html":
        data = b"<html>404</html>"
    elif damage == "cut":
        data = data[: len(data) // 2]
    else:
        data = data[:200] + bytes([data[200] ^ 0xFF]) + data[201:]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"{name}: can't be unpacked: .*; download it again"):
        unpack(tmp_path / name, tmp_path / "root")
    assert not tree(tmp_path / "root")


def test_a_disk_that_can_not_be_written_is_not_the_fault_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of({"set/a.png": b"a"}))
    (tmp_path / "root").write_text("a file in the way")
    with pytest.raises(DataError, match=r"a\.zip: can't be unpacked: .*(root|exists|directory)") as error:
        unpack(tmp_path / "a.zip", tmp_path / "root")
    assert "download it again" not in str(error.value)

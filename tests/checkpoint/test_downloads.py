"""Weights of URLs, fetched from a server of this machine."""

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from unified_seg.checkpoint import CheckpointError, downloads
from unified_seg.checkpoint.downloads import fetch, name_in_cache


class Handler(BaseHTTPRequestHandler):
    """Answers with the port and the path; some paths misbehave."""

    def do_GET(self) -> None:
        self.server.requests.append(self.path)  # type: ignore[attr-defined]
        if self.path.startswith("/redirect/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/redirect/"))
            self.end_headers()
            return
        body = f"{self.server.server_port} {self.path}".encode()
        self.send_response(404 if self.path.startswith("/absent") else 200)
        claimed = {"/huge.pth": 1 << 50, "/cut.pth": len(body) + 5}.get(self.path, len(body))
        if self.path != "/endless.pth":
            self.send_header("Content-Length", str(claimed))
        self.end_headers()
        self.wfile.write(b"" if self.path == "/empty.pth" else body * (100 if self.path == "/endless.pth" else 1))

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Two servers, and a cache of their own."""
    monkeypatch.setenv("UNIFIED_SEG_CACHE", str(tmp_path / "root" / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    started = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    for server in started:
        server.requests = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()  # asks for shutdown so often
    yield [f"http://127.0.0.1:{server.server_port}" for server in started]
    for server in started:
        server.shutdown()
        server.server_close()


def test_file_is_fetched_once_into_a_folder_of_the_user(servers: list[str]) -> None:
    file = fetch(f"{servers[0]}/a/m.pth")
    assert file.read_text().endswith("/a/m.pth") and file.suffix == ".pth"
    file.write_text("kept")
    assert fetch(f"{servers[0]}/a/m.pth").read_text() == "kept"
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_same_path_of_two_hosts_is_two_files(servers: list[str]) -> None:
    texts = {fetch(f"{server}/m.pth").read_text() for server in servers}
    texts |= {fetch(f"{servers[0]}/m.pth?v={version}").read_text() for version in (1, 2)}
    assert len(texts) == 4


@pytest.mark.parametrize(
    "path", ["/../../../evil.pth", "/a/../../../../evil.pth", "/%2e%2e/%2e%2e/evil.pth", "/a/..\\evil"]
)
def test_nothing_is_written_outside_the_cache(path: str, servers: list[str], tmp_path: Path) -> None:
    file = fetch(servers[0] + path)
    written = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert written == [file] and file.parent == tmp_path / "root" / "cache" / "weights"


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("/absent.pth", "404"),
        ("/empty.pth", "0 bytes"),
        ("/cut.pth", r"bytes were received|IncompleteRead"),
        ("/huge.pth", "limit"),
        ("/endless.pth", "limit"),
        ("/redirect/file:///etc/passwd", "redirect"),
        ("/redirect/ftp://127.0.0.1/m.pth", "redirect"),
        ("/with space.pth", "can't be fetched"),
    ],
)
def test_what_can_not_be_fetched_leaves_no_file(
    path: str, cause: str, servers: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "MAX_BYTES", 1000)
    with pytest.raises(CheckpointError, match=cause):
        fetch(servers[0] + path)
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/m.pth", "file:///etc/passwd", "data://x", "catalog://nowhere/m", "https://[::1/m.pth"]
)
def test_other_schemes_are_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIFIED_SEG_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=re.escape(url)):
        fetch(url)
    assert not list(tmp_path.iterdir())


def test_link_in_the_cache_is_replaced(servers: list[str], tmp_path: Path) -> None:
    url, victim = f"{servers[0]}/m.pth", tmp_path / "victim"
    victim.write_text("precious")
    name_in_cache(url).parent.mkdir(parents=True)
    name_in_cache(url).symlink_to(victim)
    assert "m.pth" in fetch(url).read_text() and victim.read_text() == "precious"


def test_file_with_another_digest_is_not_kept(servers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{servers[0]}/net-12345678.pth"
    monkeypatch.setattr("unified_seg.checkpoint.files.DIGEST_IN_URL", downloads.re.compile(r".*-([0-9a-f]{8})\.pth"))
    with pytest.raises(CheckpointError, match="SHA-256 12345678"):
        fetch(url)
    assert not name_in_cache(url).exists()


def test_names_of_detectron2_are_those_of_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIFIED_SEG_CACHE", str(tmp_path))
    for url, full in (
        (
            "detectron2://ImageNetPretrained/MSRA/R-50.pkl",
            f"{downloads.DETECTRON2_FILES}ImageNetPretrained/MSRA/R-50.pkl",
        ),
        (
            "catalog://ImageNetPretrained/MSRA/R-50",
            "https://dl.fbaipublicfiles.com/detectron/ImageNetPretrained/MSRA/R-50.pkl",
        ),
    ):
        cached = name_in_cache(full)
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_bytes(b"weights")
        assert fetch(url) == cached and cached.suffix == ".pkl"
    assert hashlib.sha256(full.encode()).hexdigest() in cached.name

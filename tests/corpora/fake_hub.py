"""A hub on this machine: the routes that reading a dataset repository needs, and a record of what was asked."""

import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repo:
    """A repository. Of its revisions each is a commit; all commits have the same files."""

    root: Path
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    gated: bool = False
    broken: bool = False  # refuses to send data

    def files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if path.is_file())


@dataclass
class FakeHub:
    address: str
    repos: dict[str, Repo] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    bytes_sent: int = 0
    delay: threading.Event = field(default_factory=threading.Event)
    delay_s: float = 0.0

    def forget(self) -> None:
        self.asked.clear()
        self.bytes_sent = 0

    def data_requests(self) -> list[str]:
        return [line for line in self.asked if line.startswith("GET") and ".parquet" in line]


@contextmanager
def running() -> Iterator[FakeHub]:
    hub = FakeHub("")
    handler = type("Bound", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.asked.append(f"{self.command} {self.path} {self.headers.get('Range') or ''}".strip())
        path = urllib.parse.urlparse(self.path).path
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        if parts[:2] == ["api", "datasets"]:
            self._api("/".join(parts[2:4]), parts[4:])
        elif parts[:1] == ["datasets"] and parts[3:4] == ["resolve"]:
            self._file("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        else:
            self._refuse(404, "EntryNotFound")

    def _api(self, name: str, rest: list[str]) -> None:
        repo = self.hub.repos.get(name)
        if repo is None:
            return self._refuse(404, "RepoNotFound")
        if rest[:1] == ["auth-check"]:
            return self._refuse(403, "GatedRepo") if repo.gated else self._send(200, b"")
        if rest[:1] == ["refs"]:
            branches = [{"name": one, "ref": f"refs/heads/{one}", "targetCommit": sha} for one, sha in _branches(repo)]
            converts = [
                {"name": "parquet", "ref": one, "targetCommit": repo.revisions[one]}
                for one in repo.revisions
                if one.startswith("refs/")
            ]
            return self._json({"branches": branches, "converts": converts, "tags": []})
        commit = _commit(repo, rest[1] if len(rest) > 1 else "main")
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        if not rest or rest[0] == "revision":
            return self._json(_info(name, repo, commit))
        if rest[0] == "tree":
            return self._tree(repo, "/".join(rest[2:]))
        return self._json([_entry(repo, one) for one in json.loads(self.body)["paths"] if (repo.root / one).exists()])

    def _tree(self, repo: Repo, below: str) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        deep = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        folder = repo.root / below
        if not folder.is_dir():
            return self._refuse(404, "EntryNotFound")
        found = sorted(folder.rglob("*") if deep else folder.iterdir())
        self._json([_entry(repo, path.relative_to(repo.root).as_posix()) for path in found])

    def _file(self, name: str, revision: str, path: str) -> None:
        repo = self.hub.repos.get(name)
        if repo is None:
            return self._refuse(404, "RepoNotFound")
        commit = _commit(repo, revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        if repo.gated:
            return self._refuse(401, "GatedRepo")
        if not (repo.root / path).is_file():
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        if repo.broken and path.endswith(".parquet"):
            return self._refuse(403, "")
        data = (repo.root / path).read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        if self.command == "HEAD" or not asked:
            return self._send(200, data, headers)
        if self.hub.delay_s:
            self.hub.delay.wait(self.hub.delay_s)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(data)), len(data) - 1)
        self._send(206, data[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"})

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code or "refused", **(headers or {})})

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.hub.bytes_sent += len(data)
            self.wfile.write(data)


def _branches(repo: Repo) -> list[tuple[str, str]]:
    return [(name, sha) for name, sha in repo.revisions.items() if "/" not in name]


def _commit(repo: Repo, revision: str) -> str | None:
    return repo.revisions.get(revision) or (revision if revision in repo.revisions.values() else None)


def _entry(repo: Repo, path: str) -> dict[str, Any]:
    place = repo.root / path
    if place.is_dir():
        return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
    data = place.read_bytes()
    return {"type": "file", "oid": hashlib.sha1(data).hexdigest(), "size": len(data), "path": path}


def _info(name: str, repo: Repo, commit: str) -> dict[str, Any]:
    time = "2026-01-01T00:00:00.000Z"
    siblings = [{"rfilename": path.relative_to(repo.root).as_posix()} for path in repo.files()]
    return {
        "_id": "1",
        "id": name,
        "sha": commit,
        "private": False,
        "gated": "auto" if repo.gated else False,
        "disabled": False,
        "downloads": 1,
        "likes": 1,
        "tags": [],
        "lastModified": time,
        "createdAt": time,
        "siblings": siblings,
    }

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
_TIME = "2026-01-01T00:00:00.000Z"


@dataclass
class Repo:
    """A repository. Of its revisions each is a commit; all commits have the same files."""

    root: Path
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    gated: bool = False

    def commit(self, revision: str) -> str | None:
        return self.revisions.get(revision, revision if revision in self.revisions.values() else None)

    def entry(self, path: Path) -> dict[str, Any]:
        name = path.relative_to(self.root).as_posix()
        if path.is_dir():
            return {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
        data = path.read_bytes()
        return {"type": "file", "oid": hashlib.sha1(data).hexdigest(), "size": len(data), "path": name}

    def info(self, name: str, commit: str) -> dict[str, Any]:
        files = [path.relative_to(self.root).as_posix() for path in sorted(self.root.rglob("*")) if path.is_file()]
        return {
            "_id": "1", "id": name, "sha": commit, "private": False, "gated": "auto" if self.gated else False,
            "disabled": False, "downloads": 1, "likes": 1, "tags": [], "lastModified": _TIME, "createdAt": _TIME,
            "siblings": [{"rfilename": file} for file in files],
        }  # fmt: skip

    def refs(self) -> dict[str, Any]:
        known = [{"name": name, "ref": name, "targetCommit": commit} for name, commit in self.revisions.items()]
        converts = [{**ref, "name": "parquet"} for ref in known if ref["ref"].startswith("refs/")]
        branches = [ref for ref in known if not ref["ref"].startswith("refs/")]
        return {"branches": branches, "converts": converts, "tags": []}


@dataclass
class FakeHub:
    address: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    bytes_sent: int = 0
    delay_s: float = 0.0
    down: bool = False

    def forget(self) -> None:
        self.down = False
        self.asked.clear()
        self.bytes_sent = 0


@contextmanager
def running() -> Iterator[FakeHub]:
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
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
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.hub.down:
            self.close_connection = True
            return None
        self.hub.asked.append(f"{self.command} {self.path} {self.headers.get('Range') or ''}".strip())
        url = urllib.parse.urlparse(self.path)
        parts = [urllib.parse.unquote(part) for part in url.path.strip("/").split("/")]
        api = parts[0] == "api"
        if api:
            parts = parts[1:]
        name, rest = "/".join(parts[1:3]), parts[3:]
        repo = self.hub.repos.get(name)
        if repo is None:
            return self._refuse(404, "RepoNotFound")
        if rest[:1] == ["auth-check"]:
            return self._refuse(403, "GatedRepo") if repo.gated else self._send(200, b"")
        if rest[:1] == ["refs"]:
            return self._json(repo.refs())
        commit = repo.commit(rest[1] if len(rest) > 1 else "main")
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        if not api:
            return self._file(repo, commit, "/".join(rest[2:]))
        if not rest or rest[0] == "revision":
            return self._json(repo.info(name, commit))
        if rest[0] == "tree":
            folder = repo.root / "/".join(rest[2:])
            deep = urllib.parse.parse_qs(url.query).get("recursive", ["false"])[0].lower() in ("true", "1")
            found = sorted(folder.rglob("*") if deep else folder.glob("*"))
            return self._json([repo.entry(path) for path in found])
        paths = (repo.root / one for one in json.loads(self.body)["paths"])
        return self._json([repo.entry(path) for path in paths if path.exists()])

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _file(self, repo: Repo, commit: str, path: str) -> None:
        if repo.gated:
            return self._refuse(401, "GatedRepo")
        if not (repo.root / path).is_file():
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        data = (repo.root / path).read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        if self.command == "HEAD" or not asked:
            return self._send(200, data, headers)
        threading.Event().wait(self.hub.delay_s)
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

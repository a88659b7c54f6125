"""A small hub on this machine: the requests that huggingface_hub makes to create a repository, upload to it and download."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "a" * 40


class Hub:
    """What the server holds and what it was asked.

    Attributes:
        files: content by (repository, path).
        objects: content of large files by SHA-256.
        asked: method and path of each request.
        refuse: status to answer every request with; 0: none.
        broken: whether large files are refused.
    """

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], bytes] = {}
        self.objects: dict[str, bytes] = {}
        self.repos: set[str] = set()
        self.asked: list[str] = []
        self.refuse = 0
        self.broken = False


@contextlib.contextmanager
def serving() -> Iterator[tuple[Hub, str]]:
    """The hub and its address, while it serves."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        self._file(body=True)

    def do_PUT(self) -> None:
        content = self._content()
        self.hub.objects[self.path.rpartition("/")[2]] = content
        self._answer(400 if self.hub.broken else 200, b"")

    def do_POST(self) -> None:
        content = self._content()
        base = f"http://{self.headers['Host']}"
        if self.path == "/api/repos/create":
            asked = json.loads(content)
            repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else f"me/{asked['name']}"
            self.hub.repos.add(repo)
            self._json({"url": f"{base}/{repo}"})
        elif self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", self.path):
            files = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for each in json.loads(content)["files"]
            ]
            self._json({"files": files})
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{base}/objects/{each['oid']}"}}}
                for each in json.loads(content)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self.path):
            for line in map(json.loads, content.decode().splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.hub.files[found[1], value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    self.hub.files[found[1], value["path"]] = self.hub.objects[value["oid"]]
            self._json({"commitUrl": f"{base}/{found[1]}/commit/{COMMIT}", "commitOid": COMMIT, "success": True})
        else:
            self._answer(404, b"")

    def _file(self, *, body: bool) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        repo = found[1] if found else ""
        if self.hub.refuse:
            self._answer(self.hub.refuse, b"")
        elif found is None or repo not in self.hub.repos:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif found[2] not in ("main", COMMIT):
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif (repo, found[3]) not in self.hub.files:
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            content = self.hub.files[repo, found[3]]
            etag = hashlib.sha256(content).hexdigest()
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "X-Linked-Etag": f'"{etag}"'}
            self._answer(200, content if body else b"", {**headers, "X-Linked-Size": str(len(content))}, len(content))

    def _content(self) -> bytes:
        self.hub.asked.append(f"{self.command} {self.path}")
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, value: object) -> None:
        if self.hub.refuse:
            self._answer(self.hub.refuse, b"")
        else:
            self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, size: int | None = None
    ) -> None:
        if headers is None:
            headers = {}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if size is None else size))
        self.end_headers()
        self.wfile.write(content)

"""A small Hugging Face Hub on 127.0.0.1: enough of its protocol for huggingface_hub to download and to push.

Download: the list of a repository's files, then HEAD and GET of each. Push: create, preupload, the Git LFS batch with one
PUT for each large file, commit. Not here: Xet (HF_HUB_DISABLE_XET=1 goes with it), branches, datasets, several commits.
Everything asked for is in `requests`, which is what the tests look at.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_aTokenOfTheTests"


class LocalHub(ThreadingHTTPServer):
    """`repositories` maps owner/name to {path: bytes}; `answers` the start of a path to a status, "gated" or "silence"."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.answers: dict[str, int | str] = {}
        self.claimed: dict[str, int] = {}  # bytes that the list of files says a file has
        self.requests: list[tuple[str, str]] = []
        self.uploads: dict[str, bytes] = {}
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def files(self, method: str) -> set[str]:
        """The files that were asked for with that method."""
        return {path.split("/resolve/")[1].split("/", 1)[1] for m, path in self.requests if m == method and "/resolve/" in path}

    def commit(self, repository: str) -> str:
        """40 hex digits that change with the content."""
        names = sorted(self.repositories[repository].items())
        return hashlib.sha1(b"".join(name.encode() + hashlib.sha1(data).digest() for name, data in names)).hexdigest()


@contextmanager
def local_hub():
    """A running `LocalHub`."""
    hub = LocalHub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.stopping.set()
        hub.shutdown()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LocalHub

    def log_message(self, *_) -> None:
        """Nothing on the terminal."""

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, values, status: int = 200) -> None:
        self._send(status, json.dumps(values).encode(), Content_Type="application/json")

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        answer = next((value for start, value in self.server.answers.items() if path.startswith(start)), None)
        if answer == "silence":
            self.server.stopping.wait(60)
            self.close_connection = True
        elif answer == "gated":
            self._send(403, X_Error_Code="GatedRepo")
        elif answer is not None:
            self._send(int(answer))
        elif path.startswith("/api/"):
            self._api(path.removeprefix("/api/"), body)
        elif path.endswith(".git/info/lfs/objects/batch"):
            actions = [
                {**each, "actions": {"upload": {"href": f"{self.server.url}/uploads/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._json({"transfer": "basic", "objects": actions})
        elif path.startswith("/uploads/") and self.command == "PUT":
            good = hashlib.sha256(body).hexdigest() == path.removeprefix("/uploads/")
            if good:
                self.server.uploads[path.removeprefix("/uploads/")] = body
            self._send(200 if good else 400)
        elif "/resolve/" in path:
            self._file(path)
        else:
            self._send(404, X_Error_Code="RepoNotFound")

    do_GET = do_HEAD = do_POST = do_PUT = _handle

    def _api(self, path: str, body: bytes) -> None:
        hub, allowed = self.server, self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if path == "validate-yaml":
            return self._json({"warnings": [], "errors": []})
        if self.command == "POST" and not allowed:
            return self._send(401)
        if path == "repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            hub.repositories.setdefault(name, {})
            return self._json({"url": f"{hub.url}/{name}"})
        name = "/".join(path.split("/")[1:3])
        if name not in hub.repositories:
            return self._send(404, X_Error_Code="RepoNotFound")
        files, what = hub.repositories[name], (path.split("/") + [""])[3]
        if what == "preupload":
            asked = [file["path"] for file in json.loads(body)["files"]]
            modes = ["lfs" if file.endswith(".safetensors") else "regular" for file in asked]
            listed = zip(asked, modes, strict=True)
            return self._json({"files": [{"path": f, "uploadMode": mode, "shouldIgnore": False} for f, mode in listed]})
        if what == "commit":
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.uploads[value["oid"]]
            page = f"{hub.url}/{name}/commit/{hub.commit(name)}"
            return self._json({"success": True, "commitOid": hub.commit(name), "commitUrl": page})
        if what == "revision" and path.split("/")[4] not in ("main", hub.commit(name)):
            return self._send(404, X_Error_Code="RevisionNotFound")
        siblings = [{"rfilename": file, "size": hub.claimed.get(file, len(data))} for file, data in files.items()]
        return self._json({"id": name, "sha": hub.commit(name), "siblings": siblings, "tags": []})

    def _file(self, path: str) -> None:
        name, _, rest = path[1:].partition("/resolve/")
        files, file = self.server.repositories.get(name), rest.split("/", 1)[1]
        if files is None:
            return self._send(401, X_Error_Code="RepoNotFound")
        if file not in files:
            return self._send(404, X_Error_Code="EntryNotFound")
        data, headers = files[file], {"X_Repo_Commit": self.server.commit(name)}
        headers |= {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "Accept_Ranges": "bytes"}
        if begin := self.headers.get("Range"):
            first = int(begin.removeprefix("bytes=").split("-")[0])
            headers["Content_Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            return self._send(206, data[first:], **headers)
        return self._send(200, data, Content_Length=str(len(data)), **headers)

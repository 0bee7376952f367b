"""A stand-in for the Hub on the loopback interface.

It answers the requests of the real client, huggingface_hub, for models, refs, trees (in pages),
commits, information and files. For files, it supports `ETag`, `X-Repo-Commit` and `Range`. It
imitates faults of the real Hub: 429 with Retry-After, server errors, connections that are cut in
the middle of a file, and a storage whose signed links expire.
"""

import collections
import contextlib
import hashlib
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub.constants

PAGE = 5
LARGE = (".safetensors", ".bin", ".pt", ".parquet")


@dataclass
class Repository:
    """A repository with commits, the files of each commit, branches and tags."""

    commits: dict = field(default_factory=dict)
    titles: dict = field(default_factory=dict)
    branches: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)
    history: list = field(default_factory=list)
    #: Whether only users with a token may download files. Everyone may list a gated repository.
    is_gated: bool = False
    #: The header of the repository's card, and labels such as `license:mit`.
    card: dict = field(default_factory=dict)
    labels: list = field(default_factory=list)

    def find(self, revision):
        for known in (self.branches, self.tags):
            revision = known.get(revision, revision)
        return revision if revision in self.commits else None


@dataclass
class Storage:
    """A storage to which the Hub redirects downloads of large files, with signed links.

    `url` is the address of the storage. `is_expired` is a function of a link and of the number of
    earlier downloads with it. Links are numbered from 0. The storage answers expired links with
    `status`. If `cuts` is positive, that many answers are cut in the middle.
    """

    url: str
    is_expired: Callable = lambda link, used: False
    status: int = 403
    cuts: int = 0
    n_links: int = 0
    used: list = field(default_factory=list)


class StandIn:
    """The server. Use it in a `with` statement. `url` is the address of the server."""

    def __init__(self):
        self.repositories = {}
        #: All requests, as pairs of a method and a path.
        self.asked = []
        #: The number of requests that are not in `asked`, because the client sends them for itself.
        self.n_own = 0
        #: The fraction of requests that fail. At most two requests in a row fail for a method and a
        #: path, so that the client does not run out of attempts.
        self.fault_rate = 0.0
        self.n_faults = 0
        self.faults_in_a_row = collections.Counter()
        self.random = random.Random(0)
        #: A function that returns (status, headers) of the next response, or None for a normal
        #: response.
        self.scripted = lambda: None
        #: Whether an error response contains the token of the request.
        self.echoes_token = False
        self.n_echoes = 0
        #: A mapping from the start of a path to a status. The server always answers a GET of such a
        #: path with this status and `Retry-After: 1`. huggingface_hub itself repeats some requests
        #: after the statuses 500, 502, 503 and 504, but not after other statuses.
        self.broken = {}
        #: A mapping from the path of a file, or of a request to the API, to a function that damages
        #: the contents of the answer.
        self.spoilt = {}
        #: Contents of addresses that do not belong to the Hub, by path.
        self.web = {}
        #: A `Storage`, or None if the Hub itself sends large files.
        self.storage = None
        #: Paths to which the server never sends an answer.
        self.silent = set()
        self.is_stopped = threading.Event()
        self.lock = threading.Lock()
        #: The second server has the same address and another port. It may be the storage.
        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), _Handler) for _ in range(2)]
        for server in self.servers:
            server.daemon_threads = True
            server.standin = self
        self.url, self.second_url = (f"http://127.0.0.1:{s.server_port}" for s in self.servers)

    def __enter__(self):
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.is_stopped.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, name, revision="main", files=None, kind="branches", title=""):
        """Commit files to a branch or tag of a repository, and return the SHA of the commit.

        The name of a data set begins with `datasets/`.
        `files` is a mapping or a folder.
        """
        if files is not None and not isinstance(files, dict):
            paths = [path for path in files.rglob("*") if path.is_file()]
            files = {str(path.relative_to(files)): path.read_bytes() for path in paths}
        repository = self.repositories.setdefault(name, Repository())
        digest = hashlib.sha1(f"{name} {revision} {len(repository.commits)}".encode())
        for path, content in sorted((files or {}).items()):
            digest.update(path.encode() + content)
        commit = digest.hexdigest()
        repository.commits[commit] = files or {}
        repository.titles[commit] = title
        getattr(repository, kind)[revision] = commit
        repository.history.insert(0, commit)
        if "main" not in repository.branches:
            self.add(name, files={"README.md": b"nothing here"})
        return commit

    def fault(self, request):
        """Return a random fault for a request, a pair of a method and a path, or None."""
        with self.lock:
            if self.random.random() >= self.fault_rate or self.faults_in_a_row[request] == 2:
                del self.faults_in_a_row[request]
                return None
            self.faults_in_a_row[request] += 1
            self.n_faults += 1
            return self.random.choice(["429", "500", "503", "cut", "hang up"])


@contextlib.contextmanager
def serving(patch, folder):
    """A stand-in that commands use instead of the Hub. `folder` contains the local cache."""
    patch.setenv("HF_HOME", str(folder))
    patch.delenv("HF_TOKEN", raising=False)
    with StandIn() as standin:
        patch.setenv("HF_ENDPOINT", standin.url)
        yield standin


#: Contents of a file of weights.
WEIGHTS = bytes(range(256)) * 400


@contextlib.contextmanager
def serving_here(patch, folder):
    """A stand-in that this process uses instead of the Hub. `folder` contains the local cache."""
    with StandIn() as standin:
        # huggingface_hub reads HF_ENDPOINT and HF_HOME only on import, so patch its constants.
        files = f"{standin.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for name, value in (
            *(("ENDPOINT", standin.url), ("HUGGINGFACE_CO_URL_TEMPLATE", files)),
            *(("HF_HUB_CACHE", str(folder)), ("HF_TOKEN_PATH", str(folder / "none"))),
        ):
            patch.setattr(huggingface_hub.constants, name, value)
        yield standin


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Otherwise, the body of an answer waits up to 40 ms for the acknowledgement of its headers.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        standin = self.server.standin
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        self.fault = None
        if path == "/api/agent-harnesses":
            # The client asks for this list until it has an answer. Threads that start at the same
            # time all ask for it, so the number of these requests changes from run to run.
            with standin.lock:
                standin.n_own += 1
            self.send(404, b"", {})
            return
        with standin.lock:
            standin.asked.append((self.command, path))
        if path in standin.silent:
            standin.is_stopped.wait()
            self.close_connection = True
            return
        broken = [standin.broken[start] for start in standin.broken if path.startswith(start)]
        is_broken = broken and self.command == "GET"
        scripted = (broken[0], {"Retry-After": "1"}) if is_broken else standin.scripted()
        if scripted:
            self.fault = None
            self.send(int(scripted[0]), b"", scripted[1])
            return
        self.fault = standin.fault((self.command, path))
        if self.fault == "hang up":
            self.close_connection = True
            return
        if self.fault in ("429", "500", "503"):
            headers = {"Retry-After": "0"} if self.fault == "429" else {}
            self.send(int(self.fault), b"", headers)
            return
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if path in standin.web:
            self.send(200, standin.web[path], {})
        elif path == "/api/models":
            self.models(query)
        elif path.startswith(("/api/models/", "/api/datasets/")):
            self.api(parts.path, query)
        elif path.startswith("/storage/"):
            self.store(parts.path.removeprefix("/storage"), int(query["signature"]))
        else:
            self.resolve(parts.path)

    do_HEAD = do_GET

    def do_POST(self):
        """Answer a request for information on files: `/api/<kind>/<name>/paths-info/<revision>`."""
        length = int(self.headers["Content-Length"])
        self.paths = parse_qs(self.rfile.read(length).decode())["paths"]
        self.do_GET()

    def models(self, query):
        names = [
            name
            for name in sorted(self.server.standin.repositories)
            if name.startswith(query["author"] + "/" if "author" in query else "")
            and query.get("search", "") in name
        ]
        self.json([{"id": name, "modelId": name, "tags": []} for name in names])

    def api(self, path, query):
        kind, *words = path.removeprefix("/api/").split("/")
        words[0] = words[0] if kind == "models" else f"{kind}/{words[0]}"
        name, verb = "/".join(words[:2]), words[2] if len(words) > 2 else ""
        repository = self.repository(name)
        if repository is None:
            return
        if verb == "refs":
            refs = {"converts": []}
            for kind in ("branches", "tags"):
                refs[kind] = [
                    {"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": commit}
                    for ref, commit in getattr(repository, kind).items()
                ]
            self.json(refs)
            return
        revision = unquote(words[3]) if len(words) > 3 else "main"
        commit = repository.find(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound")
        elif verb == "tree":
            files = sorted(repository.commits[commit].items())
            self.page([_entry(path, content) for path, content in files], query)
        elif verb == "paths-info":
            files = repository.commits[commit].items()
            self.json([_entry(path, content) for path, content in files if path in self.paths])
        elif verb == "commits":
            fixed = {"authors": [{"user": "someone"}], "date": "2026-01-01T00:00:00.000Z"}
            commits = [
                fixed | {"id": sha, "title": repository.titles[sha], "message": ""}
                for sha in repository.history
            ]
            self.page(commits, query)
        else:
            stated = {"tags": repository.labels, "cardData": repository.card}
            gated = "auto" if repository.is_gated else False
            self.json({"id": name, "sha": commit, "siblings": [], "gated": gated} | stated)

    def page(self, entries, query):
        start = int(query.get("cursor", 0))
        more = {}
        if start + PAGE < len(entries):
            path = urlsplit(self.path).path
            host = self.server.standin.url
            more = {"Link": f'<{host}{path}?recursive=True&cursor={start + PAGE}>; rel="next"'}
        self.json(entries[start : start + PAGE], more)

    def store(self, path, link):
        storage = self.server.standin.storage
        if storage.is_expired(link, storage.used.count(link)):
            self.send(storage.status, b"<Error><Code>AccessDenied</Code></Error>", {})
            return
        if self.command == "GET":
            storage.used.append(link)
            if storage.cuts:
                storage.cuts, self.fault = storage.cuts - 1, "cut"
        self.resolve(path, is_stored=True)

    def resolve(self, path, is_stored=False):
        words = path.strip("/").split("/")
        if words[0] == "datasets":
            words = ["/".join(words[:2]), *words[2:]]
        repository = self.repository("/".join(words[:2]))
        if repository is None:
            return
        if repository.is_gated and not self.headers.get("Authorization"):
            self.refuse(401, "GatedRepo")
            return
        commit = repository.find(unquote(words[3]))
        file = unquote("/".join(words[4:]))
        if commit is None:
            self.refuse(404, "RevisionNotFound")
            return
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        content = repository.commits[commit].get(file)
        if content is None:
            self.refuse(404, "EntryNotFound", headers)
            return
        entry = _entry(file, content)
        etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        headers["ETag"] = f'"{etag}"'
        if "lfs" in entry:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
            storage = self.server.standin.storage
            if storage and not is_stored:
                with self.server.standin.lock:
                    storage.n_links += 1
                    link = f"{storage.url}/storage{path}?signature={storage.n_links - 1}"
                self.send(302, b"", headers | {"Location": link})
                return
        damage = self.server.standin.spoilt.get(file)
        content = damage(content) if damage else content
        requested, status = self.headers.get("Range"), 200
        if requested and self.command == "GET":
            start = int(requested.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        self.send(status, content, headers)

    def repository(self, name):
        found = self.server.standin.repositories.get(unquote(name))
        if found is None:
            self.refuse(401, "RepoNotFound")
        return found

    def json(self, content, headers=None):
        body = json.dumps(content).encode()
        damage = self.server.standin.spoilt.get(unquote(urlsplit(self.path).path))
        body = damage(body) if damage else body
        self.send(200, body, {"Content-Type": "application/json"} | (headers or {}))

    def refuse(self, status, code, headers=None):
        self.send(status, b"", (headers or {}) | {"X-Error-Code": code})

    def send(self, status, body, headers):
        token = self.headers.get("Authorization")
        if self.server.standin.echoes_token and token and status >= 400:
            self.server.standin.n_echoes += 1
            body = json.dumps({"error": token, "token": token}).encode()
            headers = headers | {"X-Error-Message": token, "X-Request-Id": token}
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault == "cut":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
        else:
            self.wfile.write(body)


def _entry(path, content):
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry = {"type": "file", "path": path, "size": len(content), "oid": blob}
    if path.endswith(LARGE):
        sha256 = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
    return entry

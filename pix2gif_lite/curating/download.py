"""A list of URLs becomes whole files in a folder, politely, and every URL has its fate told.

The folder is a cache keyed by content: a file is named by the SHA-256 of its bytes and by its kind, which those bytes
tell and not the server. `index.sqlite` beside them remembers what became of each URL, so that a second run asks for
nothing again that is there or that will never be; timeouts and a server's troubles are tried again. To forget what the
index says, delete it: the files stay, and are fetched once more.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin

from ..files import write_whole
from .addresses import Allow, NotFetched, is_public, parse_url
from .public_web import LIMITS, Answer, Limits, get

REDIRECTS = (301, 302, 303, 307, 308)
PASSING = (408, 425, 429)  # and 5xx: worth another try
PICTURES = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1")  # brands that share mp4's box, AVIF and HEIF
HEAD = 512  # bytes that a kind is told by


class Fate(NamedTuple):
    """What became of a URL."""

    url: str
    status: str  # "kept" (fetched now), "cached" (was there), or the reason against it in one sentence
    path: Path | None  # the file, if there is one
    bytes: int  # its size; of one refused for its size, the size announced or seen; else 0


def fetch(url: str, cache: Path, limits: Limits = LIMITS, *, allow: Allow = is_public) -> Fate:
    """One URL into the folder `cache`, at `<sha256[:2]>/<sha256>.<kind>`, redirects followed, with retries.

    Every address on the way must satisfy `allow`. Raises OSError if the folder cannot be written to, and ValueError if
    it is a file or its index is damaged; whatever is wrong with the URL is its fate.
    """
    return _Run(cache, limits, allow).fetch(url)


def fetch_all(
    urls: Iterable[str], cache: Path, limits: Limits = LIMITS, progress_bar: bool = True, *, allow: Allow = is_public
) -> list[Fate]:
    """The fates of many URLs, in their order, as `fetch` tells them; a URL listed twice is fetched once.

    At most `limits.threads` at a time and `limits.per_host` of one host. Raises as `fetch` does; then, as with Ctrl-C,
    what was fetched stays, and the same call goes on from there.
    """
    from tqdm import tqdm

    urls, run = list(urls), _Run(cache, limits, allow)
    waiting: dict[str, deque[str]] = {}
    for url in dict.fromkeys(urls):
        waiting.setdefault(run.host(url), deque()).append(url)
    turns = deque(host for _ in range(limits.per_host) for host in waiting)  # hosts take turns, so none holds up the rest
    running: dict[Future, str] = {}
    fates: dict[str, Fate] = {}
    with ThreadPoolExecutor(limits.threads) as pool, tqdm(total=len(set(urls)), unit="URL", disable=not progress_bar) as bar:
        try:
            while True:
                while turns and len(running) < limits.threads:
                    host = turns.popleft()
                    if waiting[host]:
                        running[pool.submit(run.fetch, waiting[host].popleft())] = host
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    turns.append(running.pop(future))
                    fate = future.result()
                    fates[fate.url] = fate
                    bar.update()
        finally:
            run.stop.set()  # of Ctrl-C or a full disk: the rest ends within moments
    return [fates[url] for url in urls]


def kind_of(data: bytes) -> str | None:
    """What an animated file is by its first bytes: "gif", "png", "webp", "mp4", "webm" or "avi"; None for all else.

    PNG and WebP may turn out to be still, and "webm" may be any Matroska file, "mp4" QuickTime.
    """
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:4] == b"RIFF":
        return {b"WEBP": "webp", b"AVI ": "avi"}.get(bytes(data[8:12]))
    if data[4:8] == b"ftyp" and data[8:12] not in PICTURES:
        return "mp4"
    return "webm" if data[:4] == b"\x1a\x45\xdf\xa3" else None


class _Run:
    """What the threads of one call share."""

    def __init__(self, cache: Path, limits: Limits, allow: Allow) -> None:
        self.cache, self.limits, self.allow = Path(cache), limits, allow
        self.stop = threading.Event()
        self.gates: dict[str, threading.Semaphore] = {}  # a host's share of requests, wherever redirects come from
        if missing := [name for name in ("urllib3", "certifi") if find_spec(name) is None]:
            raise ModuleNotFoundError(f"Downloads need {' and '.join(missing)}: run `pip install 'pix2gif-lite[data]'`.")
        if self.cache.exists() and not self.cache.is_dir():
            raise ValueError(f"{str(cache)!r} is a file: give a folder for what is downloaded.")
        self.cache.mkdir(parents=True, exist_ok=True)
        with self._index() as index:
            index.execute("CREATE TABLE IF NOT EXISTS urls (url TEXT PRIMARY KEY, status TEXT, file TEXT, bytes INTEGER)")

    def fetch(self, url: str) -> Fate:
        try:
            parse_url(url, self.limits.ports)  # what is no URL for us is not worth remembering
        except NotFetched as error:
            return Fate(url, error.reason, None, 0)
        if known := self._known(url):
            return known
        for attempt in range(self.limits.retries + 1):
            try:
                body = self._follow(url).body
                kind = kind_of(body)
                if kind is None:
                    raise NotFetched(f"It is not an animation: {_described(body)}.", "never")
                return self._keep(url, body, kind)
            except NotFetched as error:
                failure, pause = error, max(error.wait, self.limits.backoff_seconds * 2**attempt)
            last = attempt == self.limits.retries or pause > self.limits.max_wait_seconds
            if failure.when != "retry" or last or self.stop.wait(pause):
                break
        if failure.when == "never":
            self._remember(url, failure.reason, None, failure.size)
        return Fate(url, failure.reason, None, failure.size)

    def host(self, url: str) -> str:
        """The host that a URL asks, or "" where it asks none."""
        try:
            return parse_url(url, self.limits.ports).host
        except NotFetched:
            return ""

    def _follow(self, url: str) -> Answer:
        """The 200 at the end of the redirects, each hop judged anew."""
        for _ in range(self.limits.max_redirects + 1):
            with self.gates.setdefault(self.host(url), threading.Semaphore(self.limits.per_host)):
                answer = get(url, self.limits, allow=self.allow, stop=self.stop)
            location = answer.headers.get("Location")
            if answer.status not in REDIRECTS or not location:
                return _judged(answer)
            try:
                url = urljoin(url, location.encode("latin-1").decode("utf-8", "replace"))  # headers come as Latin-1
            except ValueError as error:
                raise NotFetched("It redirects to what is not a URL.", "never") from error
        raise NotFetched(f"It redirects more than {self.limits.max_redirects} times.", "never")

    def _keep(self, url: str, body: bytes, kind: str) -> Fate:
        name = hashlib.sha256(body).hexdigest()
        path = self.cache / name[:2] / f"{name}.{kind}"
        if not (path.exists() and path.stat().st_size == len(body)):
            path.parent.mkdir(exist_ok=True)
            write_whole(path, body)
        self._remember(url, "kept", path, len(body))  # after the file: a crash in between costs one request
        return Fate(url, "kept", path, len(body))

    def _known(self, url: str) -> Fate | None:
        """The fate of a URL that need not be asked again."""
        with self._index() as index:
            row = index.execute("SELECT status, file, bytes FROM urls WHERE url = ?", (url,)).fetchone()
        if row is None:
            return None
        status, file, size = row
        if file is None:
            return None if 0 < size <= self.limits.max_bytes else Fate(url, status, None, size)  # a limit may be raised
        path = self.cache / file
        return Fate(url, "cached", path, size) if path.exists() and path.stat().st_size == size else None

    def _remember(self, url: str, status: str, path: Path | None, size: int) -> None:
        file = path and path.relative_to(self.cache).as_posix()
        with self._index() as index:
            index.execute("INSERT OR REPLACE INTO urls VALUES (?, ?, ?, ?)", (url, status, file, size))

    @contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        """The index for one transaction: SQLite keeps it whole across crashes, threads and processes."""
        path = self.cache / "index.sqlite"
        try:
            with closing(sqlite3.connect(path, timeout=60)) as index, index:
                yield index
        except sqlite3.OperationalError as error:
            raise OSError(f"Could not use {str(path)!r} ({error}): free some space or choose another folder.") from error
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{str(path)!r} is damaged ({error}): delete it, the files beside it stay.") from error


def _judged(answer: Answer) -> Answer:
    """The answer if it is a file, i.e. 200. Raises NotFetched otherwise."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    if answer.status == 200:
        return answer
    known = answer.status in HTTPStatus._value2member_map_
    name = f"{answer.status} {HTTPStatus(answer.status).phrase}" if known else str(answer.status)
    if answer.status not in PASSING and not 500 <= answer.status < 600:
        raise NotFetched(f"The server answered {name}.", "never")
    try:
        pause = Retry().parse_retry_after(answer.headers.get("Retry-After", "0"))  # seconds or a date, in seconds
    except (InvalidHeader, ValueError, OverflowError):  # a number of 5000 digits, a date of the year 10^9
        pause = 0.0
    raise NotFetched(f"The server answered {name}.", "retry", wait=pause)


def _described(body: bytes) -> str:
    head = bytes(body[:HEAD])
    if not head:
        return "the file is empty"
    if b"<html" in head.lower() or b"<!doctype html" in head.lower():
        return "it is an HTML page"
    return "it is a JPEG" if head[:3] == b"\xff\xd8\xff" else f"it begins with {head[:8]!r}"

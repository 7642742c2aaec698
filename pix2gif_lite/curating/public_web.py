"""One GET of a stranger's URL, bounded in time and in size.

The connection goes to an address that was judged (`addresses.py`), while Host, SNI and the certificate stay those of the
name. No proxy is used, whatever the environment says: it would look the name up again. Redirects are handed back and not
followed, so that each hop passes the same border.
"""

from __future__ import annotations

import functools
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import metadata
from typing import TYPE_CHECKING, NamedTuple

from .addresses import PORTS, Allow, NotFetched, is_public, look_up, parse_url

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse
    from urllib3.connection import HTTPConnection
    from urllib3.util import Url

CHUNK = 65536  # bytes
TICK = 0.1  # s: how soon a deadline or a stop is noticed


def user_agent() -> str:
    """Who asks: name, version and home of this project, so that a server's owner knows whom to write to."""
    about = metadata("pix2gif-lite")
    return f"{about['Name']}/{about['Version']} (+{about['Project-URL'].split(', ')[1]})"


@dataclass(frozen=True)
class Limits:
    """What a list of URLs may take, and how politely it is asked for. Raises ValueError for a number out of range."""

    threads: int = 8  # URLs at a time; each holds a file of up to max_bytes in memory
    per_host: int = 2  # requests at a time to one host
    connect_seconds: float = 10.0  # for the connection, and once more for its TLS
    read_seconds: float = 10.0  # of silence
    file_seconds: float = 60.0  # for one request and all of its answer
    max_bytes: int = 30_000_000
    retries: int = 3  # after the first attempt
    backoff_seconds: float = 1.0  # before the first retry, doubled for each further one
    max_wait_seconds: float = 60.0  # a server that asks for more (Retry-After) is left for another run
    max_redirects: int = 5
    ports: frozenset[int] = frozenset(PORTS.values())
    user_agent: str = field(default_factory=user_agent)

    def __post_init__(self) -> None:
        for name in ("threads", "per_host", "connect_seconds", "read_seconds", "file_seconds", "max_bytes"):
            if not getattr(self, name) > 0:  # so that NaN fails
                raise ValueError(f"{name} is {getattr(self, name)}: choose more than 0.")
        for name in ("retries", "backoff_seconds", "max_wait_seconds", "max_redirects"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: choose at least 0.")


LIMITS = Limits()


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Mapping[str, str]  # names in any case
    body: bytes  # as sent; empty unless the status is 200


def get(url: str, limits: Limits = LIMITS, *, allow: Allow = is_public, stop: threading.Event | None = None) -> Answer:
    """The answer to one GET, its body whole.

    All addresses of the host must satisfy `allow`; setting `stop` ends the request within moments. Raises NotFetched if
    there is no such answer within the limits.
    """
    from urllib3.exceptions import HTTPError

    parts, stop = parse_url(url, limits.ports), stop or threading.Event()
    headers = {
        "Host": parts.host if parts.port == PORTS[parts.scheme] else f"{parts.host}:{parts.port}",
        "User-Agent": limits.user_agent,
        "Accept-Encoding": "identity",  # so that max_bytes counts what arrives: no gzip bombs
        "Connection": "close",
    }
    deadline = time.monotonic() + limits.file_seconds
    _check_time(deadline, stop, parts.host, limits)
    try:
        with closing(_connect(parts, allow, limits)) as connection, _cut_off(connection.sock, deadline, stop):
            connection.request("GET", parts.request_uri, headers=headers, preload_content=False, decode_content=False)
            with closing(connection.getresponse()) as response:
                body = _read_body(response, limits) if response.status == 200 else b""
                answer = Answer(response.status, response.headers, body)
    except NotFetched:
        _check_time(deadline, stop, parts.host, limits)  # what was cut off looks like a broken connection
        raise
    except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:  # ValueError: http.client's parsing
        _check_time(deadline, stop, parts.host, limits)
        raise _explained(error, parts.host) from error
    _check_time(deadline, stop, parts.host, limits)  # or like the end of a file of unknown length
    return answer


def _connect(parts: Url, allow: Allow, limits: Limits) -> HTTPConnection:
    """A connection to the first address of the host that takes one, known to the server by the host's name."""
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.exceptions import HTTPError

    kind, tls = HTTPConnection, {}
    if parts.scheme == "https":
        kind, tls = HTTPSConnection, {"server_hostname": parts.host.strip("[]"), "ssl_context": _tls()}
    failure: Exception = OSError("no address")
    for address in look_up(parts.host, parts.port, allow):
        connection = kind(address, parts.port, timeout=limits.connect_seconds, **tls)
        try:
            connection.connect()
            connection.timeout = limits.read_seconds
            return connection
        except (HTTPError, OSError) as error:
            connection.close()
            failure = error
    raise failure


@functools.cache
def _tls() -> ssl.SSLContext:
    """Certificates are checked against certifi's authorities, and those of the machine if it has any."""
    import certifi

    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context


@contextmanager
def _cut_off(sock: socket.socket, deadline: float, stop: threading.Event) -> Iterator[None]:
    """Shuts the socket down at the deadline: a server that drips bytes never lets a read time out."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(TICK):
            if stop.is_set() or time.monotonic() > deadline:
                with suppress(OSError):  # closed already
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's, which takes TLS from under the reader
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _check_time(deadline: float, stop: threading.Event, host: str, limits: Limits) -> None:
    if stop.is_set():
        raise NotFetched("The run was stopped.", "later")
    if time.monotonic() > deadline:  # not in this run again: it has cost enough
        raise NotFetched(f"{host} took longer than {limits.file_seconds:g} s over the file.", "later")


def _read_body(response: BaseHTTPResponse, limits: Limits) -> bytes:
    from urllib3.exceptions import ProtocolError

    encoding, length = (response.headers.get(name, "")[:18] for name in ("Content-Encoding", "Content-Length"))
    if encoding.lower() not in ("", "identity"):
        raise NotFetched(f"The file came compressed ({encoding}), although it was asked for as it is.", "never")
    if length.isdecimal() and int(length) > limits.max_bytes:
        raise NotFetched(f"The file has {int(length):,} bytes, more than {limits.max_bytes:,}.", "never", size=int(length))
    body = bytearray()
    try:
        while chunk := response.read(CHUNK):
            body += chunk
            if len(body) > limits.max_bytes:
                raise NotFetched(f"The file has more than {limits.max_bytes:,} bytes.", "never", size=len(body))
    except ProtocolError as error:
        came = f"{len(body):,} of {int(length):,} bytes came" if length.isdecimal() else "its end did not come"
        raise NotFetched(f"The file is truncated: {came}.", "retry") from error
    return body


def _explained(error: Exception, host: str) -> NotFetched:
    cause = error.__cause__ or error  # the system's words, under urllib3's
    if isinstance(cause, TimeoutError):
        return NotFetched(f"{host} did not answer in time.", "retry")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return NotFetched(f"The certificate of {host} is not valid ({cause.verify_message}).", "later")
    return NotFetched(f"The connection to {host} failed ({getattr(cause, 'strerror', None) or type(cause).__name__}).", "retry")

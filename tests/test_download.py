"""Downloads against a real HTTP server on this machine that serves what the internet does, good and bad."""

import hashlib
import io
import os
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest
from PIL import Image

from pix2gif_lite import files
from pix2gif_lite.curating import public_web
from pix2gif_lite.curating.addresses import is_public
from pix2gif_lite.curating.download import Limits, fetch, fetch_all, kind_of

SOON = 10  # s: far less than what the server would take, far more than a busy machine needs


def gif(number: int) -> bytes:
    """A real GIF of two frames, other bytes for every number."""
    first, second = (Image.new("RGB", (16, 16), (number % 256, number // 256, blue)) for blue in (0, 200))
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=[second])
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        route, _, argument = self.path.strip("/").partition("/")
        host = self.headers["Host"].split(":")[0]
        with self.server.lock:
            self.server.seen[self.path] += 1
            self.server.order.append(self.path)
            self.server.headers.append(dict(self.headers))
            for name in ("all", host):
                self.server.flying[name] += 1
                self.server.most[name] = max(self.server.most[name], self.server.flying[name])
        self.asked = ("all", host)
        try:
            getattr(self, f"serve_{route}")(argument)
        except (BrokenPipeError, ConnectionResetError):  # the other side has hung up, as it should
            pass
        finally:
            self.close_connection = True
            self.land()

    def land(self):  # no longer in the air: before the last byte, after which the other side may ask again
        with self.server.lock:
            for name in self.asked:
                self.server.flying[name] -= 1
        self.asked = ()

    def answer(self, body=b"", status=200, **headers):
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if "Content_Length" not in headers:  # the body is all there is
            self.land()
        self.wfile.write(body)

    def serve_gif(self, number):
        self.answer(gif(int(number.split("?")[0])), Content_Type="text/html")  # the type is a lie, the bytes are not

    def serve_meet(self, argument):  # not before so many have asked for the same host (or any) at the same time
        host, most, number = argument.split("/")
        end = time.monotonic() + 2 * SOON
        while self.server.most[host] < int(most) and time.monotonic() < end:
            self.server.over.wait(0.005)
        self.serve_sleepy(number)

    def serve_held(self, number):  # not before 12 GIFs were asked for
        end = time.monotonic() + 2 * SOON
        while sum(path.startswith("/gif") for path in list(self.server.order)) < 12 and time.monotonic() < end:
            self.server.over.wait(0.005)
        self.serve_gif(number)

    def serve_sleepy(self, number):
        self.server.over.wait(0.05)
        self.serve_gif(number)

    def serve_silent(self, _):
        self.server.over.wait(60)

    def serve_drip(self, _):
        self.answer(b"GIF89a", Content_Length="1000")
        self.drip()

    def serve_dripping(self, _):  # a body without a length, so that being cut off looks like its end
        self.answer(b"GIF89a", Content_Length=None)
        self.drip()

    def serve_headers(self, _):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self.drip()

    def drip(self):
        while not self.server.over.wait(0.05):
            self.wfile.write(b"a")

    def serve_truncated(self, _):
        self.answer(gif(1), Content_Length=str(len(gif(1)) + 100))

    def serve_chunks(self, kind):
        self.answer(Content_Length=None, Transfer_Encoding="chunked")
        for piece in (gif(2)[:50], gif(2)[50:]):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if kind == "whole":
            self.wfile.write(b"0\r\n\r\n")

    def serve_claims(self, size):
        self.answer(b"GIF89a", Content_Length=size)

    def serve_endless(self, _):
        self.answer(b"GIF89a", Content_Length=None)
        while not self.server.over.is_set():
            self.wfile.write(bytes(50_000))
            with self.server.lock:
                self.server.sent += 50_000

    def serve_status(self, number):
        self.answer(status=int(number))

    def serve_once(self, number):  # trouble first, then good
        self.trouble(number, int(number))

    def serve_later(self, value):  # the same with Retry-After
        self.trouble("1", 503, Retry_After=value.replace("_", " "))

    def trouble(self, number, status, **headers):
        self.serve_gif(number) if self.server.seen[self.path] > 1 else self.answer(status=status, **headers)

    def serve_to(self, target):
        self.answer(status=302, Location=self.server.targets[target])

    def serve_loop(self, number):
        self.answer(status=301, Location=f"/loop/{1 - int(number)}")

    def serve_page(self, _):
        self.answer(b"\n<!DOCTYPE html><html>The image you are requesting does not exist.</html>", Content_Type="image/gif")

    def serve_packed(self, _):
        self.answer(gif(1), Content_Encoding="gzip")

    def serve_empty(self, _):
        self.answer()

    def serve_nonsense(self, _):
        self.wfile.write(b"\x00\xff 200 nonsense\r\n\r\n")


@contextmanager
def serving(tls=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.lock, server.over = threading.Lock(), threading.Event()
    server.seen, server.flying, server.most = Counter(), Counter(), Counter()
    server.order, server.headers, server.targets, server.sent = [], [], {}, 0
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # a client that refuses the certificate
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    server.port = server.server_address[1]
    server.url = lambda path, host="127.0.0.1": f"{'https' if tls else 'http'}://{host}:{server.port}/{path}"
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server():
    with serving() as server:
        yield server


def here(address):
    return is_public(address) or address == ip_address("127.0.0.1")


def quick(server, **changes) -> Limits:
    return Limits(
        **{
            "ports": frozenset({80, 443, server.port}),
            "connect_seconds": 10,
            "read_seconds": 30,
            "file_seconds": 30,
            "max_bytes": 100_000,
            "backoff_seconds": 0.01,
            "max_wait_seconds": 3,
        }
        | changes
    )


def one(server, path, cache, **changes):
    return fetch(server.url(path), cache, quick(server, **changes), allow=here)


def names(monkeypatch, table):
    """The system's resolver answers from `table`, host -> list of address lists, one a look-up; counts are returned."""
    real, asked = socket.getaddrinfo, Counter()

    def getaddrinfo(host, port, *args, **options):
        if host not in table:
            return real(host, port, *args, **options)
        asked[host] += 1
        answers = table[host][min(asked[host], len(table[host])) - 1]
        return [entry for address in answers for entry in real(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def stored(cache):
    """The names of the files in a cache, its index left out."""
    return sorted(p.relative_to(cache).as_posix() for p in cache.rglob("*") if p.is_file() and p.name != "index.sqlite")


# what comes in


def test_a_good_file_is_kept_under_its_content_and_not_asked_for_again(server, tmp_path):
    cache = tmp_path / "deep" / "cache"
    url, data = server.url("gif/7"), gif(7)
    fate = fetch(url, cache, quick(server), allow=here)
    name = hashlib.sha256(data).hexdigest()
    assert fate == (url, "kept", cache / name[:2] / f"{name}.gif", len(data))
    assert fate.path.read_bytes() == data and stored(cache) == [f"{name[:2]}/{name}.gif"]
    assert fetch(url, cache, quick(server), allow=here) == fate._replace(status="cached")
    assert server.seen == {"/gif/7": 1}
    sent = server.headers[0]
    assert sent["Accept-Encoding"] == "identity" and sent["Host"] == f"127.0.0.1:{server.port}"
    assert sent["User-Agent"].startswith("pix2gif-lite/") and "https://github.com/" in sent["User-Agent"]

    fate.path.write_bytes(data[:-5])  # somebody's hand, or a lost power supply
    assert fetch(url, cache, quick(server), allow=here) == fate and fate.path.read_bytes() == data


def test_the_same_content_at_two_urls_is_one_file(server, tmp_path):
    urls = [server.url("gif/3"), server.url("gif/3?again"), server.url("gif/3"), server.url("gif/4")]
    fates = fetch_all(urls, tmp_path, quick(server), progress_bar=False, allow=here)
    assert [fate.url for fate in fates] == urls and {fate.status for fate in fates} == {"kept"}
    assert fates[0].path == fates[1].path == fates[2].path != fates[3].path and len(stored(tmp_path)) == 2
    assert server.seen == {"/gif/3": 1, "/gif/3?again": 1, "/gif/4": 1}


@pytest.mark.parametrize("path", ["to/gif", "chunks/whole"])
def test_redirects_and_chunks_are_followed(server, tmp_path, path):
    server.targets["gif"] = "../gif/2"  # relative to /to/gif
    fate = one(server, path, tmp_path)
    assert fate.status == "kept" and fate.path.read_bytes() == gif(2)


# what does not


@pytest.mark.parametrize(
    ("path", "reason", "requests", "again"),  # again: how many a second run makes
    [
        ("truncated/", rf"truncated: {len(gif(1))} of {len(gif(1)) + 100} bytes", 3, 3),
        ("chunks/broken", r"truncated: its end did not come\.", 3, 3),
        ("claims/100001", r"has 100,001 bytes, more than 100,000\.", 1, 0),
        (f"claims/{'9' * 5000}", r"more than 100,000\.", 1, 0),
        ("endless/", r"more than 100,000 bytes\.", 1, 0),
        ("status/404", r"answered 404 Not Found\.", 1, 0),
        ("status/410", r"answered 410 Gone\.", 1, 0),
        ("status/304", r"answered 304 Not Modified\.", 1, 0),
        ("status/799", r"answered 799\.", 1, 0),
        ("status/500", r"answered 500 Internal Server Error\.", 3, 3),
        ("silent/", r"127\.0\.0\.1 did not answer in time\.", 3, 3),
        ("nonsense/", r"connection to 127\.0\.0\.1 failed \(BadStatusLine\)", 3, 3),
        ("drip/", r"127\.0\.0\.1 took longer than 0\.3 s", 1, 1),
        ("dripping/", r"127\.0\.0\.1 took longer than 0\.3 s", 1, 1),
        ("headers/", r"127\.0\.0\.1 took longer than 0\.3 s", 1, 1),
        ("page/", r"not an animation: it is an HTML page", 1, 0),
        ("packed/", r"came compressed \(gzip\)", 1, 0),
        ("empty/", r"not an animation: the file is empty", 1, 0),
    ],
)
def test_bad_answers_leave_no_file_and_are_told(server, tmp_path, path, reason, requests, again):
    drips = {"file_seconds": 0.3} if "longer" in reason else {}
    limits = quick(server, retries=2, read_seconds=0.2 if path == "silent/" else 30, **drips)
    began = time.monotonic()
    fate = fetch(server.url(path), tmp_path, limits, allow=here)
    assert time.monotonic() - began < SOON
    assert fate.path is None and stored(tmp_path) == [] and re.search(reason, fate.status), fate
    assert server.seen.total() == requests and server.sent < 10_000_000  # and not all that the server would send
    assert fetch(server.url(path), tmp_path, limits, allow=here) == fate
    assert server.seen.total() == requests + again


def test_a_size_that_was_too_large_is_asked_again_under_a_larger_limit(server, tmp_path):
    size = len(gif(5))
    assert one(server, "gif/5", tmp_path, max_bytes=size - 1)[1:] == (
        f"The file has {size:,} bytes, more than {size - 1:,}.",
        None,
        size,
    )
    assert one(server, "gif/5", tmp_path, max_bytes=size - 1).bytes == size and server.seen["/gif/5"] == 1
    assert one(server, "gif/5", tmp_path, max_bytes=size).status == "kept" and server.seen["/gif/5"] == 2


def test_a_refused_connection_is_tried_again(server, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fate = fetch(f"http://127.0.0.1:{port}/", tmp_path, quick(server, ports=frozenset({port})), allow=here)
    assert fate.status == "The connection to 127.0.0.1 failed (Connection refused)." and fate.path is None


# retries


@pytest.mark.parametrize("status", [503, 429, 500])
def test_trouble_passes(server, tmp_path, status):
    assert one(server, f"once/{status}", tmp_path).status == "kept" and server.seen.total() == 2


def test_no_more_retries_than_allowed_and_longer_pauses_between_them(server, tmp_path):
    began = time.monotonic()
    assert one(server, "status/502", tmp_path, retries=3, backoff_seconds=0.1).path is None
    assert server.seen.total() == 4 and 0.7 <= time.monotonic() - began < SOON  # 0.1 + 0.2 + 0.4
    assert one(server, "status/502", tmp_path, retries=0).path is None and server.seen.total() == 5


FAR = ("Fri,_01_Jan_9999_00:00:00_GMT",)


def test_retry_after_is_honoured(server, tmp_path):
    began = time.monotonic()
    assert one(server, "later/1", tmp_path).status == "kept" and 1 <= time.monotonic() - began < SOON
    date = formatdate(time.time() + 2, usegmt=True).replace(" ", "_")
    began = time.monotonic()
    assert one(server, f"later/{date}", tmp_path).status == "kept" and 0.5 <= time.monotonic() - began < SOON
    for nonsense in ("soon", "-1", "9" * 5000, "Mon,_01_Jan_999999999_00:00:00_GMT", *FAR):
        fate = one(server, f"later/{nonsense}", tmp_path)
        assert fate.status == ("The server answered 503 Service Unavailable." if nonsense in FAR else "kept")


def test_a_server_that_asks_for_a_long_pause_is_left_for_another_run(server, tmp_path):
    fate = one(server, "later/3600", tmp_path)
    assert fate.status == "The server answered 503 Service Unavailable." and server.seen.total() == 1
    assert one(server, "later/3600", tmp_path).status == "kept"


# where it does not go


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://10.0.0.1/a.gif", "10.0.0.1, which is not a public address"),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254, which is not a public address"),
        ("http://127.0.0.2/", "127.0.0.2, which is not a public address"),
        ("http://2130706434/", "127.0.0.2, which is not a public address"),  # the same as one number
        ("http://0x7f.2/", "127.0.0.2, which is not a public address"),
        ("http://[::1]/", "::1, which is not a public address"),
        ("http://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1, which is not a public address"),
        ("http://0/", "0.0.0.0, which is not a public address"),
        ("file:///etc/passwd", "only http:// and https://"),
        ("ftp://example.com/a.gif", "only http:// and https://"),
        ("http://user:secret@example.com/", "carries a user name or password"),
        ("http://127.0.0.1:22/", "is at port 22: only"),
        ("http://[", "not a URL"),
        ("http://a..b/", "'a..b' was not found"),
    ],
)
def test_redirects_to_where_nobody_should_go(server, tmp_path, target, reason):
    server.targets["there"] = target
    fate = one(server, "to/there", tmp_path)
    assert reason in fate.status and "secret" not in fate.status and fate.path is None
    assert one(server, "to/there", tmp_path) == fate and server.seen.total() == (2 if "not found" in reason else 1)
    direct = fetch(target, tmp_path, quick(server), allow=here)
    assert reason in direct.status and direct.path is None and stored(tmp_path) == []


def test_redirects_without_end(server, tmp_path):
    assert one(server, "loop/0", tmp_path, max_redirects=4).status == "It redirects more than 4 times."
    assert server.seen == {"/loop/0": 3, "/loop/1": 2}


def test_by_default_this_machine_is_out_of_reach_and_so_are_odd_ports(server, tmp_path):
    fate = fetch(server.url("gif/1"), tmp_path, quick(server))
    assert fate.status == "The host '127.0.0.1' is at 127.0.0.1, which is not a public address."
    assert "only 80, 443 are asked" in fetch(server.url("gif/1"), tmp_path, allow=here).status
    assert server.seen.total() == 0


def test_a_name_is_judged_by_all_its_addresses(server, tmp_path, monkeypatch):
    names(monkeypatch, {"gifs.example": [["127.0.0.1", "10.0.0.1"]]})
    fate = fetch(server.url("gif/1", "gifs.example"), tmp_path, quick(server), allow=here)
    assert fate.status == "The host 'gifs.example' is at 10.0.0.1, which is not a public address."
    assert server.seen.total() == 0


def test_the_connection_goes_to_the_address_that_was_judged(server, tmp_path, monkeypatch):
    asked = names(monkeypatch, {"gifs.example": [["127.0.0.1"], ["10.0.0.1"]]})  # it answers otherwise the second time
    fate = fetch(server.url("gif/1", "gifs.example"), tmp_path, quick(server, retries=0), allow=here)
    assert fate.status == "kept" and asked == {"gifs.example": 1}
    assert server.headers[0]["Host"] == f"gifs.example:{server.port}"


def test_the_next_address_is_tried_when_one_does_not_answer(server, tmp_path, monkeypatch):
    names(monkeypatch, {"gifs.example": [["127.0.0.3", "127.0.0.1"]]})
    allow = {ip_address("127.0.0.3"), ip_address("127.0.0.1")}.__contains__
    assert fetch(server.url("gif/1", "gifs.example"), tmp_path, quick(server, retries=0), allow=allow).status == "kept"


def test_proxies_of_the_environment_are_not_asked(server, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert one(server, "gif/1", tmp_path).status == "kept"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with the openssl command")
def test_certificates_are_checked_against_the_name_at_the_judged_address(tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=gifs.example".split()
    command += ["-addext", "subjectAltName=DNS:gifs.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    tls, told = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    tls.load_cert_chain(certificate, key)
    tls.sni_callback = lambda _socket, name, _context: told.append(name)
    names(monkeypatch, {"gifs.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]})
    with serving(tls) as server:
        limits, cache = quick(server, retries=1), tmp_path / "cache"
        fate = fetch(server.url("gif/1", "gifs.example"), cache, limits, allow=here)  # signed by nobody known
        assert fate.status.startswith("The certificate of gifs.example is not valid (") and server.seen.total() == 0
        assert told == ["gifs.example"]  # asked once

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        public_web._tls.cache_clear()
        try:
            assert fetch(server.url("gif/1", "gifs.example"), cache, limits, allow=here).status == "kept"
            assert server.headers[0]["Host"] == f"gifs.example:{server.port}"
            fate = fetch(server.url("gif/1", "other.example"), cache, limits, allow=here)
            assert fate.status.startswith("The certificate of other.example is not valid (Hostname mismatch")
            began = time.monotonic()
            fate = fetch(server.url("dripping/", "gifs.example"), cache, quick(server, file_seconds=0.3), allow=here)
            assert "took longer than 0.3 s" in fate.status and time.monotonic() - began < SOON
        finally:
            public_web._tls.cache_clear()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),  # carriers' own
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("172.32.0.1", True),
        ("192.168.1.1", False),
        ("198.18.0.1", False),
        ("203.0.113.1", False),  # documentation
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::ffff:93.184.216.34", False),  # mapped IPv4, be it public
        ("::93.184.216.34", False),
        ("64:ff9b::5db8:d822", False),  # NAT64
        ("64:ff9b:1::1", False),
        ("2002:0a00:0001::1", False),  # 6to4 of 10.0.0.1
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),  # Teredo
        ("2001:db8::1", False),
        ("fc00::1", False),
        ("fe80::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
    ],
)
def test_what_is_public(address, public):
    assert is_public(ip_address(address)) is public


# many


def test_every_url_has_its_fate_in_the_order_given(server, tmp_path):
    server.targets["private"] = "http://10.0.0.1/"
    paths = ["gif/1", "status/404", "truncated/", "to/private", "silent/", "page/", "gif/2", "claims/999999"]
    urls = [server.url(path) for path in paths] + ["file:///etc/passwd", "no url", "", "http://\ud800/", "ftp://a/b"]
    fates = fetch_all(urls, tmp_path, quick(server, retries=1, read_seconds=1, threads=4), progress_bar=False, allow=here)
    assert [fate.url for fate in fates] == urls
    assert [fate.status == "kept" for fate in fates] == [path.startswith("gif") for path in paths] + [False] * 5
    assert len({fate.status for fate in fates}) == len(urls) - 1  # each its own reason
    assert all(fate.status.endswith(".") and "\n" not in fate.status for fate in fates if fate.path is None)
    assert fetch_all([], tmp_path, progress_bar=False) == []


def test_threads_are_bounded(server, tmp_path):
    urls = [server.url(f"meet/all/3/{number}") for number in range(12)]
    limits = quick(server, threads=3, per_host=9)
    fates = fetch_all(urls, tmp_path, limits, progress_bar=False, allow=here)
    assert {fate.status for fate in fates} == {"kept"} and server.most["all"] == 3


def test_a_host_is_asked_twice_at_a_time_at_most_also_by_redirects(server, tmp_path, monkeypatch):
    hosts = [f"{letter}.example" for letter in "abcd"]
    names(monkeypatch, {host: [["127.0.0.1"]] for host in [*hosts, "cdn.example"]})
    urls = [server.url(f"meet/all/3/{number}", "a.example") for number in range(6)]
    for number, host in enumerate(hosts):
        for k in range(3):
            name = f"{number}-{k}"
            server.targets[name] = server.url(f"meet/cdn.example/2/{10 * number + k}", "cdn.example")
            urls.append(server.url(f"to/{name}", host))
    limits = quick(server, threads=8, per_host=2)
    fates = fetch_all(urls, tmp_path, limits, progress_bar=False, allow=here)
    assert {fate.status for fate in fates} == {"kept"}
    assert server.most["a.example"] == 2 and server.most["cdn.example"] == 2
    assert server.most["all"] > 2  # hosts do not wait for each other


def test_a_slow_host_does_not_hold_up_the_others(server, tmp_path, monkeypatch):
    names(monkeypatch, {"slow.example": [["127.0.0.1"]], "fast.example": [["127.0.0.1"]]})
    urls = [server.url(f"held/{number}", "slow.example") for number in range(4)]
    urls += [server.url(f"gif/{number}", "fast.example") for number in range(12)]
    limits = quick(server, threads=2, per_host=1)
    fates = fetch_all(urls, tmp_path, limits, progress_bar=False, allow=here)
    assert {fate.status for fate in fates} == {"kept"}
    assert [path for path in server.order if "held" in path][1:] == server.order[-3:]


SCRIPT = """
import sys
from ipaddress import ip_address
from pathlib import Path
from pix2gif_lite.curating.download import Limits, fetch_all
port, cache, *urls = sys.argv[1:]
allow = {ip_address("127.0.0.1")}.__contains__
fetch_all(urls, Path(cache), Limits(ports=frozenset({int(port)}), threads=2), progress_bar=False, allow=allow)
"""


def started(server, cache, urls):
    command = [sys.executable, "-c", SCRIPT, str(server.port), str(cache), *urls]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def check_whole(cache):
    for name in stored(cache):
        path = cache / name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def test_ctrl_c_leaves_whole_files_and_the_next_run_goes_on(server, tmp_path):
    cache = tmp_path / "cache"
    urls = [server.url(path) for path in ("gif/1", "drip/", "gif/2", "drip/b", "gif/3")]  # two drips take both threads
    process = started(server, cache, urls)
    wait_for(lambda: server.flying["all"] == 2 and server.seen["/drip/b"])
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    error = process.communicate(timeout=20)[1]
    assert time.monotonic() - began < SOON and process.returncode != 0 and "KeyboardInterrupt" in error
    assert not any(name.rpartition("/")[2].startswith(".") for name in stored(cache))
    check_whole(cache)
    assert [path for path in server.order if "gif" in path] == ["/gif/1", "/gif/2"]
    fates = fetch_all(urls, cache, quick(server, file_seconds=0.4), progress_bar=False, allow=here)
    assert [fate.status for fate in fates if "gif" in fate.url] == ["cached", "cached", "kept"]
    assert server.seen["/gif/1"] == server.seen["/gif/2"] == server.seen["/gif/3"] == 1


def test_a_killed_run_goes_on_where_it_was(server, tmp_path):
    cache = tmp_path / "cache"
    urls = [server.url(f"sleepy/{number}") for number in range(30)]
    process = started(server, cache, urls)
    wait_for(lambda: server.seen.total() >= 10)
    process.kill()
    process.communicate(timeout=20)
    wait_for(lambda: server.flying["all"] == 0)
    check_whole(cache)
    with closing(sqlite3.connect(cache / "index.sqlite")) as index:
        done = index.execute("SELECT count(*) FROM urls").fetchone()[0]
    assert 8 <= done < 30  # all but what the two threads had in hand
    server.seen.clear()
    fates = fetch_all(urls, cache, quick(server), progress_bar=False, allow=here)
    assert Counter(fate.status for fate in fates) == {"cached": done, "kept": 30 - done} and server.seen.total() == 30 - done
    assert [fate.path.read_bytes() for fate in fates] == [gif(number) for number in range(30)]


# the folder


def test_a_full_disk_stops_the_run_and_leaves_nothing(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    urls = [server.url(path) for path in ("gif/1", "drip/", "gif/2")]
    began = time.monotonic()
    with pytest.raises(OSError, match="No space left on device.*free some space"):
        fetch_all(urls, tmp_path, quick(server, file_seconds=30), progress_bar=False, allow=here)
    assert stored(tmp_path) == [] and time.monotonic() - began < SOON


def test_folders_that_will_not_do(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="file' is a file: give a folder"):
        fetch_all([], file)
    (tmp_path / "index.sqlite").write_bytes(b"nothing like a database" * 99)
    with pytest.raises(ValueError, match=r"index\.sqlite' is damaged .*: delete it, the files beside it stay"):
        fetch("http://example.com/", tmp_path)
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(OSError, match="Could not use"):
            fetch_all([], tmp_path / "locked")


@pytest.mark.parametrize("name", ["threads", "per_host", "connect_seconds", "file_seconds", "max_bytes"])
def test_limits_out_of_range(name):
    for value in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=f"{name} is {value}: choose more than 0"):
            Limits(**{name: value})
    with pytest.raises(ValueError, match="retries is -1: choose at least 0"):
        Limits(retries=-1)
    assert Limits(retries=0, backoff_seconds=0, max_redirects=0).retries == 0


def test_kinds_are_told_by_the_bytes():
    import numpy as np
    from made_videos import video

    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    for suffix, codec in {".mp4": "mpeg4", ".webm": "libvpx", ".avi": "mpeg4", ".mov": "mpeg4"}.items():
        expected = "mp4" if suffix == ".mov" else suffix[1:]
        assert kind_of(video(frames, f"a{suffix}", codec)) == expected
    first, *rest = map(Image.fromarray, frames)
    for kind in ("gif", "png", "webp", "jpeg", "bmp", "tiff"):
        file = io.BytesIO()
        first.save(file, kind, **({"save_all": True, "append_images": rest} if kind in ("gif", "png", "webp") else {}))
        assert kind_of(file.getvalue()) == (kind if kind in ("gif", "png", "webp") else None)
    for data in (b"", b"G", b"GIF88a;", b"RIFF\x00\x00\x00\x00WAVE", b"\x00\x00\x00\x1cftypavif", b"<html>", b"%PDF-1.7"):
        assert kind_of(data) is None

"""Where a stranger's URL may lead: over http or https to the open internet, or nowhere.

A list of URLs may point at the machine or the network it is read on, so a host is judged by all the addresses its name
has. They are handed back for the connection to use: were the name looked up a second time, it could answer otherwise
(DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from urllib3.util import Url

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Allow = Callable[[Address], bool]

PORTS = {"http": 80, "https": 443}
UNICAST = ipaddress.ip_network("2000::/3")  # all of IPv6 that is handed out; NAT64, mapped and local ranges lie outside
MAX_ADDRESSES = 4  # of one host are tried


@dataclass(eq=False)
class NotFetched(Exception):
    """Why a URL gave nothing, and when to ask again."""

    reason: str  # one sentence
    when: str  # "retry" after a pause, "later" in another run, or "never"
    wait: float = 0.0  # s: the pause that the server asks for
    size: int = 0  # bytes of a file that was refused for them


def is_public(address: Address) -> bool:
    """Whether an address belongs to the open internet.

    False for loopback, private, link-local, shared, reserved, multicast and unspecified ones, and for IPv6 that stands
    for IPv4 (mapped, NAT64, 6to4, Teredo), whatever it stands for.
    """
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return address.version == 4 or (address in UNICAST and address.sixtofour is None and address.teredo is None)


def parse_url(url: str, ports: frozenset[int] = frozenset(PORTS.values())) -> Url:
    """`url` in its parts, escaped as they are sent (urllib3), its port filled in.

    Raises NotFetched unless it is http or https with a host, one of these ports, and no user name or password.
    """
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url as split

    try:
        url.encode()  # no half of a surrogate pair, which nothing could store
        parts = split(url.strip())
    except (LocationParseError, ValueError) as error:
        raise NotFetched(f"{_short(url)} is not a URL.", "never") from error
    if parts.scheme not in PORTS or not parts.host:
        raise NotFetched(f"{_short(url)} is not fetched: only http:// and https:// with a host are.", "never")
    if parts.auth is not None:
        raise NotFetched(f"The URL for {parts.host} carries a user name or password: only open files are fetched.", "never")
    port = PORTS[parts.scheme] if parts.port is None else parts.port
    if port not in ports:
        raise NotFetched(f"{_short(url)} is at port {port}: only {', '.join(map(str, sorted(ports)))} are asked.", "never")
    return parts._replace(port=port)


def look_up(host: str, port: int, allow: Allow = is_public) -> list[str]:
    """The addresses of a host, at most 4, as the system's resolver orders them: the one look-up.

    Raises NotFetched if there is none, or if `allow` refuses any of them, also one beyond the fourth.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: an empty or overlong label
        raise NotFetched(f"The host {_short(host)} was not found.", "later") from error
    addresses = list(dict.fromkeys(entry[4][0] for entry in found))
    for address in addresses:
        if not allow(ipaddress.ip_address(address)):
            raise NotFetched(f"The host {_short(host)} is at {address}, which is not a public address.", "never")
    return addresses[:MAX_ADDRESSES]


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:97] + "...")

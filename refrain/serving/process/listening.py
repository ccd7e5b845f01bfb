"""The sockets that a server listens at."""

import errno
import ipaddress
import socket
from typing import Any

Address = tuple[Any, ...]  # of IPv4 or IPv6

REASONS = {
    errno.EADDRINUSE: "another program listens there; end it, or choose another --port (0 for any that is free)",
    errno.EACCES: "the system does not allow this port; choose one above 1023",
    errno.EADDRNOTAVAIL: "this machine has no such address; choose another --host, such as 127.0.0.1",
}


def open_sockets(host: str, port: int, has_keys: bool) -> list[socket.socket]:
    """A listening socket for each address of a host; ValueError where one is not to be had, or is open to all."""
    addresses = resolve(host, port)
    if not has_keys and not all(is_loopback(str(address[0])) for _, address in addresses):
        raise ValueError(
            f"host: others can reach {host}, and requests need no key; "
            "set REFRAIN_SERVE_API_KEY or --keys, or listen at 127.0.0.1"
        )
    sockets: list[socket.socket] = []
    for family, address in addresses:
        if port == 0 and sockets:  # of all addresses the same one
            address = (address[0], sockets[0].getsockname()[1], *address[2:])
        try:
            sockets.append(open_socket(family, address))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL and len(addresses) > 1:
                continue  # localhost is ::1 too, which some machines do not have
            for opened in sockets:
                opened.close()
            raise ValueError(f"{host}:{port}: {REASONS.get(error.errno or 0, error.strerror)}") from error
    return sockets


def resolve(host: str, port: int) -> list[tuple[int, Address]]:
    """The addresses of a host, each with its family."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise ValueError(f"host: {host!r} is no address; write one such as 127.0.0.1") from error
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def open_socket(family: int, address: Address) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # only then each piece is sent at once
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.listen(2048)
    except OSError:
        opened.close()
        raise
    return opened


def is_loopback(address: str) -> bool:
    """Whether only programs of this machine reach it."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def describe_address(opened: socket.socket) -> str:
    """The URL of a socket, as a browser takes it."""
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

"""Requests as bytes over a socket of one's own: cut off, dribbled, or no HTTP at all."""

import socket

GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"  # its head goes on
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def connect(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=120)


def read_all(client):
    """All until the other side ends the connection, one way or the other."""
    received = b""
    try:
        while part := client.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received

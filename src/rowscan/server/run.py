"""Run: the service as a process that listens, until it is told to end."""

import ipaddress
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import uvicorn

from rowscan.errors import RowscanError
from rowscan.explanation import explain
from rowscan.reader import Reader
from rowscan.server.app import create_app
from rowscan.server.connection import Connection

_BACKLOG = 512  # connections that have been made and not yet been accepted


def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    model: str | Path | None = None,
    allow_origins: Sequence[str] = (),
) -> None:
    """Answer over HTTP until SIGINT or SIGTERM; then finish what is running, and end.

    The address goes to standard output as soon as a client may ask; a warning goes to standard
    error when others than this machine may.

    Args:
        host: name or address to listen on.
        port: 0 for any that is free.
        model: a model file or run directory, for numbers or for single digits; the rest, or all,
            is done by the models that ship with Rowscan.
        allow_origins: origins of other pages that may ask, such as `https://example.org`.

    Raises:
        RowscanError: the address cannot be listened on.
        ModelError: no model file, or a damaged one.
    """
    numbers, digits = _readers(model)
    listening = _listen(host, port)
    address, port = listening.getsockname()[:2]
    if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        print(
            f"rowscan: listening on {address}: whoever reaches this machine over the network can "
            "use the service; it asks for no password and does not encrypt",
            file=sys.stderr,
            flush=True,
        )
    limits = Connection.limits
    config = uvicorn.Config(
        create_app(numbers, digits, limits=limits, allow_origins=allow_origins),
        http=Connection,
        ws="none",
        backlog=_BACKLOG,
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=limits.shutdown_seconds,
    )
    shown = f"[{address}]" if ":" in address else address
    print(f"Rowscan reads at http://{shown}:{port} (Ctrl-C ends it)", flush=True)
    uvicorn.Server(config).run(sockets=[listening])


def _readers(model: str | Path | None) -> tuple[Reader, Reader]:
    """One for numbers and one for single digits; what the model cannot do, a shipped one does.

    Both have read something already, so that the first client does not wait for models to open.
    """
    named = Reader(model)
    numbers = Reader() if named.kind == "digit" else named
    digits = Reader() if named.kind == "line" else named
    stroke = np.full((64, 64), 255, np.uint8)
    stroke[12:52, 30:34] = 0
    numbers.read(stroke)
    explain(stroke, digits)
    return numbers, digits


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        # A socket that knows its protocol is one for which asyncio switches off Nagle's algorithm;
        # without, each answer waits 40 ms for an acknowledgement.
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # elsewhere it would let two listen on one port
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be a host's
        reason = getattr(error, "strerror", None) or str(error)
        raise RowscanError(f"{host}:{port}: {reason}") from None
    return listening

"""Run: the service as a process that listens on an address until it is told to stop."""

import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from starlette.types import ASGIApp

from rowscan.errors import RowscanError, reason_of
from rowscan.explanation import explain
from rowscan.forms.form import Form
from rowscan.reader import Reader
from rowscan.server.app import create_app
from rowscan.server.connection import BACKLOG, limited_server
from rowscan.server.limits import Limits, ServerLimits
from rowscan.server.samples import Keeper


def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    model: str | Path | None = None,
    limits: Limits | None = None,
    server_limits: ServerLimits | None = None,
    allow_origins: Sequence[str] = (),
    allow_hosts: Sequence[str] = (),
    samples: Keeper | None = None,
    forms: Sequence[Path] = (),
) -> None:
    """Serve HTTP until SIGINT or SIGTERM; then finish the requests in progress and return.

    Prints the address on standard output once requests are accepted, and a warning on standard
    error if other machines can reach it.

    Args:
        host: name or address to listen on.
        port: 0 for any free port.
        model: a model file or run directory, for numbers or for single digits. The shipped models
            do what it cannot.
        limits: of requests and pictures.
        server_limits: of connections.
        allow_origins: other origins whose pages may send requests, such as `https://example.org`.
        allow_hosts: other names by which clients call this service, beside `host`, `localhost`,
            the name of this machine and any address.
        samples: keeps pictures with corrected texts, where a user of the page says so. It is for
            users of this machine: a service that listens to the network keeps nothing.

        forms: the files that describe the forms which `/v1/forms/NAME` reads.

    Raises:
        RowscanError: it cannot listen on the address.
        ModelError: the model cannot be opened.
        DataError: a form cannot be opened.
    """
    numbers, digits = _readers(model)
    opened = [Form(path, reader=numbers) for path in forms]
    listening = listen(host, port)
    app = create_app(
        numbers,
        digits,
        limits=limits,
        allow_origins=allow_origins,
        allow_hosts=own_names(host) + list(allow_hosts),
        samples=samples if is_local(listening) else None,
        forms=opened,
    )
    run_app(app, listening, "Rowscan reads at {} (Ctrl-C ends it)", server_limits)


def is_local(listening: socket.socket) -> bool:
    """Whether only this machine can reach what listens."""
    address = listening.getsockname()[0]
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def own_names(host: str) -> list[str]:
    """The names of a service that listens on `host`."""
    machine = socket.gethostname()
    return [host, machine, f"{machine}.local"]


def run_app(
    app: ASGIApp,
    listening: socket.socket,
    greeting: str,
    server_limits: ServerLimits | None = None,
) -> None:
    """Answer requests until SIGINT or SIGTERM; then finish the requests in progress and return.

    Args:
        app: answers them.
        listening: as `listen` opens it.
        greeting: printed once requests are accepted; `{}` is the address.
        server_limits: of connections.
    """
    address, port = listening.getsockname()[:2]
    if not is_local(listening):
        print(
            f"rowscan: listening on {address}: anyone who can reach this machine over the network "
            "can use the service; it has no passwords and no encryption",
            file=sys.stderr,
            flush=True,
        )
    server = limited_server(app, server_limits or ServerLimits())
    shown = f"[{address}]" if ":" in address else address
    print(greeting.format(f"http://{shown}:{port}"), flush=True)
    server.run(sockets=[listening])


def _readers(model: str | Path | None) -> tuple[Reader, Reader]:
    """One reader for numbers and one for single digits; a shipped model does what this cannot.

    Both have read a picture already, so that the first client does not wait for their models.
    """
    named = Reader(model)
    numbers = Reader() if named.kind == "digit" else named
    digits = Reader() if named.kind == "line" else named
    stroke = np.full((64, 64), 255, np.uint8)
    stroke[12:52, 30:34] = 0
    numbers.read(stroke)
    explain(stroke, digits)
    return numbers, digits


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address.

    Raises:
        RowscanError: it cannot.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        # asyncio disables Nagle's algorithm only for sockets with a protocol; otherwise each answer
        # waits 40 ms for an acknowledgement.
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # elsewhere it lets two processes listen on one port
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:  # UnicodeError: not a valid host name
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        hint = "; --port 0 takes any free port" if taken else ""
        raise RowscanError(f"{host}:{port}: {reason_of(error)}{hint}") from None
    return listening

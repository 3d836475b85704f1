"""Run: the process of `rowscan form new`, from a blank to the page, until it is told to stop."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rowscan.designer.app import create_designer_app
from rowscan.designer.draft import Draft
from rowscan.server.run import listen, own_names, run_app


def new_form(
    blank: str | Path,
    output: str | Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    allow_hosts: Sequence[str] = (),
) -> None:
    """Serve a page on which the fields of a form are placed and named.

    Fields are proposed, and the file is written at once and with each change.

    Args:
        blank: a picture or PDF of the empty form.
        output: the file; by default `form.toml` beside the picture. One that is there is opened.
        host: name or address to listen on.
        port: 0 for any free port.
        allow_hosts: other names by which browsers call this machine.

    Raises:
        DataError: the picture or the file cannot be read.
        UsageError: the file describes another form.
        OutputError: a file cannot be written.
        RowscanError: it cannot listen on the address.
    """
    print(f"reading {blank} …", file=sys.stderr, flush=True)  # a large scan takes seconds
    draft = Draft(Path(blank), None if output is None else Path(output))
    listening = listen(host, port)
    app = create_designer_app(draft, hosts=own_names(host) + list(allow_hosts))
    greeting = f"{draft.path}: {len(draft.form.fields)} fields. Name them at {{}} (Ctrl-C ends it)"
    run_app(app, listening, greeting)

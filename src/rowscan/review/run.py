"""Run: the process of `rowscan review`, from a folder to the page, until it is told to stop."""

import getpass
import os
from collections.abc import Sequence
from pathlib import Path

from rowscan.errors import DataError
from rowscan.review.app import create_review_app
from rowscan.review.fields import ReviewedForms
from rowscan.review.intake import Intake, reading_version
from rowscan.review.learning import Learning
from rowscan.review.store import Store
from rowscan.server.run import listen, own_names, run_app


def review(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    allow_hosts: Sequence[str] = (),
    model: str | Path | None = None,
    user: str | None = None,
    jobs: int | None = None,
    learn: bool = False,
    forms: Sequence[str | Path] = (),
) -> None:
    """Serve a page on which the readings of a folder are checked and corrected.

    The page opens at once, while the folder is read. What is read and corrected is in `rowscan.db`
    in the folder.

    Args:
        folder: pictures, with subfolders.
        host: name or address to listen on.
        port: 0 for any free port.
        allow_hosts: other names by which browsers call this machine.
        model: a model file or run directory; by default the one that was learned here and chosen,
            or else the one that ships.
        user: who corrects; by default the name of the user of this machine.
        jobs: worker processes that read; by default one core is left for the page.
        learn: begin to learn from what has been reviewed so far.
        forms: files that describe forms (`form.toml`), whose fields are read and reviewed; by
            default those that the folder was reviewed with before, if any.

    Raises:
        DataError: no such folder; or a form is wrong, or cannot be read.
        OutputError: the database cannot be written.
        ModelError: the model cannot be opened.
        RowscanError: it cannot listen on the address.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(folder, "expected a folder")
    user = user or _user()
    store = Store(folder)
    if forms:
        ReviewedForms([Path(path) for path in forms]).digest()  # they can be opened
        store.use_forms([_from(folder, Path(path)) for path in forms], user)
    known = ReviewedForms.of(store)
    chosen = store.model()
    used = Path(model) if model is not None else folder / chosen if chosen else None
    reading_version(used, known)  # an error here is seen; in the thread it is only on the page
    listening = listen(host, port)
    intake = Intake(folder, store, forms=known, jobs=jobs)
    learning = Learning(folder, store, "shipped" if used is None else str(used), intake.start)
    app = create_review_app(
        folder,
        store,
        intake,
        learning,
        user=user,
        forms=known,
        hosts=own_names(host) + list(allow_hosts),
    )
    intake.start(used)
    if learn:
        learning.start()
    run_app(app, listening, "Rowscan reviews at {} (Ctrl-C ends it)")


def _from(folder: Path, path: Path) -> str:
    """A path from a folder, so that they can be moved together; absolute if it is outside."""
    whole, base = path.resolve(), folder.resolve()
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else os.fspath(whole)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user, in some containers
        return "someone"

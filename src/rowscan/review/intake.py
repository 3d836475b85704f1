"""Intake: finds the pictures of a folder and has them read, in a thread, while people review.

With forms it has their fields read. Pictures that are known by their content are not read again,
wherever they are now.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from rowscan.batch.find import find_pictures
from rowscan.batch.items import End, Filled, Job, Page, Picture
from rowscan.batch.local import read_all
from rowscan.batch.shards import is_shard
from rowscan.errors import RowscanError
from rowscan.io.cores import available_cores
from rowscan.reading import unreadable
from rowscan.review.fields import ReviewedForms
from rowscan.review.store import Store


@dataclass(frozen=True)
class Progress:
    """How far the reading is."""

    found: int = 0
    """Pictures in the folder; grows while they are found."""
    read: int = 0
    """Pictures that are read, now or before."""
    finished: bool = False
    error: str = ""
    """Why it stopped."""


class Intake:
    """Reads a folder into a store.

    Attributes:
        progress: how far it is.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        *,
        forms: ReviewedForms | None = None,
        jobs: int | None = None,
    ) -> None:
        """Prepare.

        Args:
            folder: pictures, with subfolders.
            store: where readings go.
            forms: what pictures are laid upon; by default all numbers in them are read.
            jobs: worker processes; by default one core is left for the page.
        """
        self.progress = Progress()
        self._folder, self._store = folder, store
        self._forms = forms or ReviewedForms(())
        self._jobs = jobs or max(1, available_cores() - 1)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._seen: set[str] = set()

    def start(self, model: Path | None) -> None:
        """Read what this model has not read and nobody has corrected; ends an earlier reading."""
        self.stop()
        self._stop.clear()
        self._seen = set()
        self.progress = Progress()
        self._thread = threading.Thread(target=self._run, args=(model,), name="intake", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the reading after the picture that is being read."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, model: Path | None) -> None:
        try:
            self._read(model)
        except RowscanError as error:
            self._ended(error=str(error))
        except Exception as error:  # the page must say that nothing more comes
            self._ended(error=f"internal error: {type(error).__name__}: {error}")
        else:
            self._ended(finished=not self._stop.is_set())

    def _read(self, model: Path | None) -> None:
        version = reading_version(model, self._forms)
        unread = self._unread(version)
        pages: list[dict[str, object]] = []
        items: Iterator[Picture | End] = map(Picture, list(unread))
        job = Job(model=model, forms=self._forms.paths)
        with closing(read_all(items, job, jobs=self._jobs)) as events:
            for event in events:
                if isinstance(event, Filled):
                    pages.append(self._forms.to_page(event.form))
                    continue
                if isinstance(event, Page):
                    pages.append(event.reading.to_dict())
                    continue
                if event.error is not None and event.page is not None:
                    pages.append(unreadable(event.page, event.error))
                self._store.add_readings(unread[event.path], version, pages)
                self.progress = replace(self.progress, read=self.progress.read + 1)
                pages = []
                if self._stop.is_set():
                    return

    def _unread(self, version: str) -> dict[str, str]:
        """The paths of the pictures to read, one for each content, with their hashes."""
        known = self._store.files()
        gone = set(known)
        unread: dict[str, str] = {}
        for path in self._pictures():
            name = path.relative_to(self._folder).as_posix()
            content = self._place(path, name, known.get(name))
            if content is None:
                continue
            gone.discard(name)
            waiting = content not in self._seen and not self._store.has_reading(content, version)
            self._seen.add(content)
            if waiting:
                unread[str(path)] = content
            now = self.progress
            self.progress = replace(now, found=now.found + 1, read=now.read + (not waiting))
        if not self._stop.is_set():
            self._store.forget(gone)
        return unread

    def _pictures(self) -> Iterator[Path]:
        for item in find_pictures([str(self._folder)], blanks=self._forms.files()):
            if self._stop.is_set():
                return
            if isinstance(item, Picture) and not is_shard(item.path):
                yield Path(item.path)

    def _place(self, path: Path, name: str, known: tuple[str, int, int] | None) -> str | None:
        """The hash of a picture's content; None if the file has gone."""
        try:
            status = path.stat()
            if known is not None and known[1:] == (status.st_size, status.st_mtime_ns):
                return known[0]
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None
        self._store.place(name, content, status.st_size, status.st_mtime_ns)
        return content

    def _ended(self, *, finished: bool = True, error: str = "") -> None:
        self.progress = replace(self.progress, finished=finished, error=error)


def reading_version(model: Path | None, forms: ReviewedForms) -> str:
    """What decides how pictures are read: of the model alone where there are no forms.

    Raises:
        ModelError: the model file was not found.
        DataError: a `form.toml` or a blank cannot be read.
    """
    version = model_version(model)
    if not forms:
        return version
    return hashlib.sha256(f"{version} {forms.digest()}".encode()).hexdigest()[:32]


def model_version(model: Path | None) -> str:
    """The first half of the SHA-256 of a model file, of a run's, or of the one that ships.

    Raises:
        ModelError: the model file was not found.
    """
    from rowscan.recognition.model import load_content

    _, content = load_content(model, "line")
    return hashlib.sha256(content).hexdigest()[:32]

"""Forms: `rowscan read --form`, from paths to a table with a row for each form."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import PIL.Image

from rowscan.batch.find import find_pictures
from rowscan.batch.form_tables import PICTURES, WRITERS, columns, csv_rows, format_of
from rowscan.batch.formats import escaped, json_line
from rowscan.batch.items import STANDARD_INPUT, End, Filled, Job, Page, Picture
from rowscan.batch.journal import Journal, Row
from rowscan.batch.local import read_all
from rowscan.batch.shards import unpacked
from rowscan.errors import OutputError, reason_of
from rowscan.forms.results import FormReading
from rowscan.forms.rules import Seen
from rowscan.forms.specification import Specification, files_of, load
from rowscan.io.progress import ReadingProgress


def read_forms_to(
    output: Path | None,
    paths: Sequence[str],
    job: Job,
    *,
    output_format: str | None = None,
    jobs: int | None = None,
) -> bool:
    """Read forms and write a row for each; errors go to standard error.

    What was read is at once in a journal beside the file, `answers.xlsx.journal`; the file itself
    is written at the end, after an interruption too. The same call goes on with what is missing.

    Args:
        output: the file; None for standard output.
        paths: files and folders, local or addresses, or "-" for standard input.
        job: its `forms` are read.
        output_format: `csv`, `jsonl`, `xlsx` or `parquet`; by default as the file is named.
        jobs: worker processes, by default one for each core.

    Returns:
        Whether a form was found on each page.

    Raises:
        DataError: a `form.toml` is wrong, or a blank cannot be read.
        UsageError: another format, or the journal is another file.
        MissingExtraError: what writes the format is not installed.
        RowscanError: the model cannot be opened, or the output cannot be written.
    """
    kind = format_of(output, output_format)
    forms = [load(path) for path in job.forms]
    pairs = zip(job.forms, forms, strict=True)
    files = [file for path, form in pairs for file in files_of(path, form)]

    def find(left_out: Counter[str] | None = None) -> Iterator[Picture | End]:
        return unpacked(find_pictures(paths, blanks=files, left_out=left_out))

    count = _Count()
    with ExitStack() as stack:
        journal = None
        if output is not None:
            name = output.with_name(f"{output.name}.journal")
            journal = stack.enter_context(closing(Journal(name, files)))
            stack.callback(_write, output, kind, forms, journal)
        sink = _Sink(output, kind, forms, journal)
        done = journal.done if journal else set()
        remaining = (
            item
            for item in find(count.left_out)
            if item.path not in done or item.path == STANDARD_INPUT
        )
        progress = stack.enter_context(
            closing(
                ReadingProgress(
                    results_shown=output is None and sys.stdout.isatty(),
                    done=len(done),
                    count=lambda: sum(isinstance(item, Picture) for item in find()),
                )
            )
        )
        events = stack.enter_context(closing(read_all(remaining, job, jobs=jobs)))
        for path, readings, error in _pictures(events):
            if readings:
                sink.add(path, readings)
            for reading in readings:
                count.add(reading)
                if reading.error:
                    place = f"{path}[{reading.page}]" if reading.page > 1 else path
                    progress.say(f"rowscan: {escaped(place)}: {escaped(reading.error)}")
            if not readings and error:  # a path that holds no picture
                count.errors += 1
                progress.say(f"rowscan: {escaped(path)}: {escaped(error)}")
            progress.step()
        failed = journal.failed if journal else 0
        if done:
            lost = f" ({failed:,} could not be)" if failed else ""
            progress.say(f"{output}: {_counted(len(done), 'picture')} already read{lost}")
        for line in count.lines():
            progress.say(line)
    return count.errors + failed == 0


def _pictures(
    events: Iterable[Page | End],
) -> Iterator[tuple[str, list[FormReading], str | None]]:
    """The forms of each picture, once all of it is read."""
    readings: list[FormReading] = []
    for event in events:
        if isinstance(event, Filled):
            readings.append(event.form)
        elif isinstance(event, End):
            if event.error is not None and event.page is not None:
                readings.append(FormReading("", event.page, error=event.error))
            yield event.path, readings, event.error
            readings = []


class _Count:
    """What a run has read, in a line."""

    def __init__(self) -> None:
        self.forms = self.check = self.unsure = self.errors = 0
        self.left_out: Counter[str] = Counter()
        self._begun = time.monotonic()

    def add(self, reading: FormReading) -> None:
        self.forms += reading.status != "error"
        self.check += reading.status == "check"
        self.unsure += reading.status == "unsure"
        self.errors += reading.status == "error"

    def lines(self) -> Iterator[str]:
        if self.forms + self.errors > 1:
            seconds = time.monotonic() - self._begun
            yield (
                f"{_counted(self.forms, 'form')}: {self.check:,} to check, {self.unsure:,} unsure, "
                f"{_counted(self.errors, 'error')}, {seconds:,.1f} s"
            )
        if self.left_out:
            kinds = (f"{count:,} {kind}" for kind, count in sorted(self.left_out.items()))
            yield f"left out: {', '.join(kinds)}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + "s" * (count != 1)


class _Sink:
    """Where rows go while they are read: the journal, or standard output."""

    def __init__(
        self,
        output: Path | None,
        kind: str,
        forms: Sequence[Specification],
        journal: Journal | None,
    ) -> None:
        self._output, self._kind, self._journal = output, kind, journal
        self._columns = columns(forms)
        self._forms = {form.name: form for form in forms}
        self._seen = Seen()
        self._begun = False

    def add(self, path: str, readings: Sequence[FormReading]) -> None:
        rows = [self._row(path, reading) for reading in readings]
        if self._journal is not None:
            self._journal.add(path, rows)
            return
        whole = [marked({"path": path} | row, self._forms, self._seen) for row in rows]
        if self._kind == "jsonl":
            sys.stdout.writelines(json_line(row) for row in whole)
        else:
            sys.stdout.writelines(csv_rows(self._columns, whole, header=not self._begun))
        sys.stdout.flush()
        self._begun = True

    def _row(self, path: str, reading: FormReading) -> dict[str, Any]:
        row = reading.to_dict()
        fields = row["fields"]
        assert isinstance(fields, dict)
        for name, field in reading.fields.items():
            if field.status == "picture" and field.picture is not None and self._output is not None:
                fields[name]["picture"] = self._save(path, reading.page, name, field.picture)
        return row

    def _save(self, path: str, page: int, name: str, picture: Any) -> str:
        """Save the picture of a field beside the output; its path from there."""
        assert self._output is not None
        folder = self._output.with_name(f"{self._output.name}{PICTURES}")
        stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in path)[-100:]
        file = folder / f"{stem}-{page}-{name.replace(os.sep, '_')}.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(picture).save(file)
        except OSError as error:
            raise OutputError(file, f"cannot be written: {reason_of(error)}") from None
        return f"{folder.name}/{file.name}"


def _write(output: Path, kind: str, forms: Sequence[Specification], journal: Journal) -> None:
    """Write the file from all that the journal has, whole or not at all."""
    named = {form.name: form for form in forms}
    seen = Seen()
    for row in journal.rows():  # the first of two that have the same value is marked too
        marked(row, named, seen)

    def rows() -> Iterator[Row]:
        return (marked(row, named, seen) for row in journal.rows())

    temporary = output.with_name(f".{output.name}.{os.getpid()}{output.suffix}")
    try:
        WRITERS[kind](temporary, forms, rows)
        temporary.replace(output)
    except OSError as error:
        raise OutputError(output, f"cannot be written: {reason_of(error)}") from None
    finally:
        temporary.unlink(missing_ok=True)


def marked(row: Row, forms: dict[str, Specification], seen: Seen) -> Row:
    """The row with the rules that it breaks together with others."""
    form = forms.get(row["form"])
    if form is None:
        return row
    texts = {
        name: field["text"] for name, field in row["fields"].items() if field["status"] == "read"
    }
    page = f"[{row['page']}]" if row["page"] > 1 else ""
    repeated = seen.repeated(form, texts, f"{row['path']}{page}")
    if not repeated:
        return row
    return {**row, "status": "check", "broken": [*row["broken"], *map(str, repeated)]}

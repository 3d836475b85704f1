"""Local: `rowscan read` on this machine, from paths to a table. Ray's counterpart is `cluster`."""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from rowscan.batch.find import find_pictures
from rowscan.batch.formats import FORMATS, escaped
from rowscan.batch.items import STANDARD_INPUT, End, Job, Page, Picture
from rowscan.batch.pool import ReaderPool
from rowscan.batch.prefetch import prefetch, with_standard_input
from rowscan.batch.read import open_reader, read_picture
from rowscan.batch.results import Results
from rowscan.batch.shards import unpacked
from rowscan.batch.summary import Summary
from rowscan.batch.tables import Table
from rowscan.batch.terminal import Listing
from rowscan.batch.workbook import Workbook
from rowscan.errors import UsageError, reason_of
from rowscan.io.cores import available_cores
from rowscan.io.progress import ReadingProgress
from rowscan.io.storage import is_address

_WITHOUT_WORKERS = 2  # pictures: they are read before a second process has started


def read_to(
    output: Path | None,
    paths: Sequence[str],
    job: Job,
    *,
    output_format: str = "text",
    jobs: int | None = None,
) -> bool:
    """Read pictures and write each result as soon as it is there; errors go to standard error.

    Args:
        output: a file, perhaps of an interrupted run; None for standard output.
        paths: files and folders, local or addresses, or "-" for standard input.
        job: what to do with each picture.
        output_format: `text`, `csv`, `jsonl`, `table` or `xlsx`.
        jobs: worker processes, by default one for each core.

    Returns:
        Whether everything could be read.

    Raises:
        UsageError: the output is another kind of file, or exists and cannot be continued; XLSX
            without a file; or the folder for copies holds pictures.
        MissingExtraError: XlsxWriter, for XLSX, is not installed.
        RowscanError: the model cannot be opened, or the output cannot be written.
    """
    if job.annotate is not None:
        _prepare(job.annotate, paths)
        job = replace(job, base=_common_folder(paths))

    def find(left_out: Counter[str] | None = None) -> Iterator[Picture | End]:
        return find_pictures(paths, exclude=job.annotate, left_out=left_out)

    def names(items: Iterator[Picture | End]) -> Iterator[str]:
        return (item.path for item in items if isinstance(item, Picture))

    summary = Summary()
    with closing(_open(output, output_format, lambda: names(unpacked(find())))) as table:
        remaining = (
            item
            for item in unpacked(find(summary.left_out))
            if item.path == STANDARD_INPUT  # another picture than in the last run
            or not table.has(item.path, pages=isinstance(item, Picture) and item.may_have_pages)
        )
        progress = ReadingProgress(
            results_shown=table.on_terminal,
            done=table.resumed,
            count=lambda: sum(1 for _ in names(find())),
        )
        with closing(progress), closing(read_all(remaining, job, jobs=jobs)) as events:
            for event in events:
                summary.add(event, again=event.path != STANDARD_INPUT and table.begun(event.path))
                if isinstance(event, Page):
                    table.write(event.path, event.reading, fresh=event.path == STANDARD_INPUT)
                    continue
                if event.error is not None:
                    progress.say(f"rowscan: {escaped(event.path)}: {escaped(event.error)}")
                    if event.page is not None:
                        fresh = event.path == STANDARD_INPUT
                        table.write_failure(event.path, event.page, event.error, fresh=fresh)
                progress.step()
        if table.resumed:
            lost = f" ({table.failed:,} could not be)" if table.failed else ""
            more = f"{summary.pictures:,} added" if summary.pictures else "nothing to add"
            progress.say(f"{output}: {table.resumed:,} pictures already read{lost}, {more}")
        for line in summary.lines():
            progress.say(line)
    return summary.errors + table.failed == 0


def read_all(
    items: Iterator[Picture | End], job: Job, *, jobs: int | None = None
) -> Generator[Page | End, None, None]:
    """Read pictures in this process if there are one or two, otherwise in worker processes.

    Args:
        items: pictures, and ends of paths without pictures; only a few are taken in advance.
        job: what to do with each picture.
        jobs: worker processes, by default one for each core.

    Yields:
        For each picture its pages, then its `End`, in the order of the pictures.

    Raises:
        RowscanError: the model cannot be opened, or does not read lines.
    """
    jobs = jobs or available_cores()
    items = prefetch(items)
    first = list(islice(items, max(_WITHOUT_WORKERS + 1, jobs)))
    if len(first) > _WITHOUT_WORKERS:
        with ReaderPool(job, min(jobs, len(first))) as pool:
            yield from pool.read(chain(first, items))
        return
    reader = None
    for item in first:
        if isinstance(item, End):
            yield item
            continue
        reader = reader or open_reader(job, threads=jobs)
        yield from read_picture(with_standard_input(item), reader, job)


def _open(output: Path | None, output_format: str, names: Callable[[], Iterator[str]]) -> Results:
    """The file, or standard output, in its format."""
    if output_format == "table":
        return Listing(output)
    if output_format == "xlsx":
        if output is None:
            raise UsageError("--format xlsx: expected --output FILE")
        return Workbook(output)
    return Table(output, FORMATS[output_format], names=names)


def _common_folder(paths: Sequence[str]) -> Path:
    """The deepest folder above all pictures: names relative to it are unique."""
    folders = [
        os.path.abspath(path if Path(path).is_dir() else Path(path).parent)  # noqa: PTH100
        for path in paths
        if path != STANDARD_INPUT
    ]
    return Path(os.path.commonpath(folders) if folders else ".")


def _prepare(folder: Path, paths: Sequence[str]) -> None:
    """Create the folder for annotated copies, which must not overwrite any of the pictures."""
    for path in paths:
        if is_address(path):
            raise UsageError(f"{path}: --annotate supports only local pictures")
        if path != STANDARD_INPUT and Path(path).resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{folder}: copies would overwrite pictures; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {reason_of(error)}") from None

"""Cluster: reads pictures on a Ray cluster, into a folder of parts. Only this module imports Ray.

Ray Data lists the pictures on one node and distributes them in blocks to a pool of actors. Each
actor has one worker process, as `rowscan read` has on one machine (`batch.pool`). Only the process
that calls `read_on` writes results.
"""

import contextlib
import os
import pickle
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow

# Ray reads these when it is imported. Ray's client, unlike the rest of Ray, does not look for the
# token file.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports
if Path("~/.ray/auth_token").expanduser().exists():
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

import rowscan
from rowscan.batch.find import find_pictures
from rowscan.batch.formats import escaped
from rowscan.batch.items import STANDARD_INPUT, End, Job, Picture
from rowscan.batch.output_parts import PART_FORMATS, Block, Part, Parts, blocks, part_of
from rowscan.batch.pool import ReaderPool
from rowscan.batch.prefetch import prefetch
from rowscan.batch.read import open_reader
from rowscan.batch.shards import unpacked
from rowscan.errors import OutputError, UsageError
from rowscan.io.progress import ReadingProgress
from rowscan.io.storage import is_address
from rowscan.recognition.model import load_content

_MAX_RETRIES = 10  # of a block whose actor died
_AHEAD = 2  # blocks at an actor: the one that it reads, and the next


def read_on(
    cluster: str,
    output: str,
    paths: Sequence[str],
    job: Job,
    *,
    output_format: str = "parquet",
    jobs: int | None = None,
) -> bool:
    """Read pictures on a cluster, into parts in a folder; an interrupted run is resumed.

    Args:
        cluster: `ray`, the cluster that this machine belongs to, or else a new one of its cores; or
            `ray://HOST:PORT`, the address of another cluster.
        output: the folder, a local path or an address.
        paths: files and folders that every node of the cluster can reach, or addresses.
        job: what to do with each picture.
        output_format: one of `parts.PART_FORMATS`.
        jobs: actors, by default one for each core of the cluster.

    Returns:
        Whether everything could be read.

    Raises:
        UsageError: the folder belongs to another run, or a cluster does not support an option.
        ModelError: the model cannot be opened, or does not read lines.
        OutputError: the cluster cannot be reached or fails, or the folder cannot be written.
    """
    _check(job, paths, output_format)
    open_reader(job)  # fail here, not in each actor
    model = load_content(job.model, "line")[1]
    parts = Parts(
        output,
        output_format,
        {
            "version": rowscan.__version__,
            "model": sha256(model).hexdigest(),
            "min_confidence": job.min_confidence,
            "alphabet": job.alphabet,
            "pattern": job.pattern,
            "show_other": job.show_other,
            "paths": [path if is_address(path) else os.path.abspath(path) for path in paths],  # noqa: PTH100
        },
    )
    progress = ReadingProgress(results_shown=False, done=parts.pictures, count=lambda: None)
    with closing(progress), _connected(cluster):
        parts.begin()
        if parts.pictures:
            progress.say(f"{output}: {parts.pictures:,} pictures already read")
        actor = ray.remote(num_cpus=0)(_Coordinator).remote(
            paths=list(paths),
            job=job,
            model=None if job.model is None else model,
            output_format=output_format,
            done=parts.done,
            output=output,
            jobs=jobs,
            working_directory=str(Path.cwd()),
        )
        missing: list[End] = []
        while (item := ray.get(actor.next.remote())) is not None:
            if item == _CHANGED:
                raise _changed(output, missing)
            if isinstance(item, Part):
                parts.add(item)
                progress.step(item.pictures)
            else:
                missing.append(item)
            for end in item.errors if isinstance(item, Part) else [item]:
                progress.say(f"rowscan: {escaped(end.path)}: {escaped(end.error or '')}")
        parts.add_missing(missing)
        progress.say(
            f"{output}: {parts.pictures:,} pictures, {parts.unreadable:,} of them could not be read"
        )
    return not (parts.unreadable or missing)


def _check(job: Job, paths: Sequence[str], output_format: str) -> None:
    """Refuse what works only on one machine."""
    if job.annotate is not None:
        raise UsageError("--on does not support --annotate")
    if STANDARD_INPUT in paths:
        raise UsageError("--on does not support standard input (-)")
    if output_format not in PART_FORMATS:
        raise UsageError(f"--on supports --format {', '.join(PART_FORMATS)}, not {output_format}")


def _changed(output: str, missing: Sequence[End]) -> OutputError:
    """Why the pictures are not those that the run began with."""
    if missing:
        return OutputError(output, f"cannot be resumed: {missing[0].path}: {missing[0].error}")
    return OutputError(
        output, "the pictures have changed since this run began; name another folder"
    )


@contextlib.contextmanager
def _connected(cluster: str) -> Iterator[None]:
    """A connection to the cluster; any error of Ray becomes one line."""
    with contextlib.redirect_stdout(sys.stderr):  # Ray prints there when a worker dies
        try:
            with warnings.catch_warnings(action="ignore"):  # what matters is raised as an error
                ray.init(
                    address=None if cluster == "ray" else cluster,
                    log_to_driver=False,
                    logging_level="ERROR",
                )
        except Exception as error:  # of Ray, of gRPC, of the operating system
            raise OutputError(cluster, f"cannot be reached: {_root_cause(error)}") from None
        try:
            yield
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise OutputError(cluster, _root_cause(error)) from None
        finally:
            ray.shutdown()


def _root_cause(error: BaseException) -> str:
    """The root cause of an error of Ray, on one line: the last line of its text."""
    seen = {id(error)}
    while isinstance(cause := getattr(error, "cause", None) or error.__cause__, BaseException):
        if id(cause) in seen:
            break
        seen.add(id(cause))
        error = cause
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


_CHANGED = "changed"  # in place of a block that is not that of the interrupted run


class _Coordinator:
    """An actor that consumes Ray Data on the cluster: a client outside cannot stream from it."""

    def __init__(
        self,
        *,
        paths: list[str],
        job: Job,
        model: bytes | None,
        output_format: str,
        done: Mapping[int, str],
        output: str,
        jobs: int | None,
        working_directory: str,
    ) -> None:
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.target_max_block_size = 1  # bytes: each row is passed on at once
        jobs = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        # The listing reserves no core: the actors take all, so it would never begin. The difference
        # also keeps Ray Data from fusing both steps.
        listing = ray.data.read_datasource(
            _Listing(paths, done, output, working_directory), override_num_blocks=1, num_cpus=0
        )
        self._rows = iter(
            listing.map(
                _BlockReader,
                fn_constructor_args=(job, model, output_format, working_directory),
                compute=ActorPoolStrategy(size=jobs, max_tasks_in_flight_per_actor=_AHEAD),
                num_cpus=1,
                max_task_retries=_MAX_RETRIES,
            ).iter_rows()
        )

    def next(self) -> Part | End | str | None:
        """The next part, or the end of a path without pictures; None at the end."""
        row = next(self._rows, None)
        # Rows come from the same run.
        item: Part | End | str | None = row and pickle.loads(row["item"])  # noqa: S301
        return item


class _Listing(Datasource):  # type: ignore[misc]
    """The blocks of a run that are not done, as a data source of Ray Data."""

    def __init__(
        self, paths: Sequence[str], done: Mapping[int, str], output: str, working_directory: str
    ) -> None:
        super().__init__()
        self._output = output
        self._working_directory = working_directory
        self._paths = paths
        self._done = done

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown until everything is listed."""
        return None

    def get_read_tasks(self, parallelism: int, *_: object, **__: object) -> list[ReadTask]:
        """A single task, because names are listed in order."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(self._rows, unknown)]

    def _rows(self) -> Iterator[pyarrow.Table]:
        _change_directory(self._working_directory)
        last = -1
        for item in blocks(find_pictures(self._paths, exclude=self._output)):
            if isinstance(item, Block):
                last = item.number
                digest = self._done.get(item.number, item.digest)
                if digest != item.digest:
                    yield _row(_CHANGED)
                    return
            if isinstance(item, End) or item.number not in self._done:
                yield _row(item)
        if any(number > last for number in self._done):
            yield _row(_CHANGED)


def _change_directory(folder: str) -> None:
    """Resolve relative paths as the command does, if this node has the folder."""
    with contextlib.suppress(OSError):
        os.chdir(folder)


def _row(item: Block | End | str) -> pyarrow.Table:
    """A row of the listing, pickled because names need not be Unicode."""
    return pyarrow.table({"item": [pickle.dumps(item)]})


class _BlockReader:
    """An actor of Ray Data: one worker process that reads blocks."""

    def __init__(
        self, job: Job, model: bytes | None, output_format: str, working_directory: str
    ) -> None:
        _change_directory(working_directory)
        if model is not None:
            self._folder = tempfile.TemporaryDirectory()
            path = Path(self._folder.name) / "model.onnx"
            path.write_bytes(model)
            job = replace(job, model=path)
        self._format = output_format
        self._pool = ReaderPool(job, 1)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Replace a block by its part; other rows pass through."""
        block = pickle.loads(row["item"])  # noqa: S301
        if not isinstance(block, Block):
            return row
        pictures = prefetch(unpacked(map(Picture, block.paths)))
        part = part_of(block, self._pool.read(pictures), self._format)
        return {"item": pickle.dumps(part)}

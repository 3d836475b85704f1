"""Cluster: pictures read on a Ray cluster, into a folder of parts. What Ray is asked is only here.

Ray Data lists the pictures on one node and gives them out, a block at a time, to a pool of actors,
each of which has one process that reads, as `rowscan read` has on one machine (`workers`). What
they read comes back here and is written by this process alone.
"""

import contextlib
import json
import os
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

# Ray looks at these when it is imported. A client of Ray's would not look for the token that all
# else in Ray uses if it is there.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of ours tells nobody of it
if Path("~/.ray/auth_token").expanduser().exists():
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

import rowscan
from rowscan.batch.parts import LAYOUTS, Block, Part, Parts, blocks, changed, part_of
from rowscan.batch.pool import STANDARD_INPUT, End, Job, Picture, Workers, fetched
from rowscan.batch.read import find_pictures
from rowscan.batch.shards import unpacked
from rowscan.batch.tables import escaped
from rowscan.errors import OutputError, UsageError
from rowscan.io.progress import Progress
from rowscan.io.storage import is_address
from rowscan.recognition.model import Model, load_content

_RETRIES = 10  # times that a block is given out again when the actor that has it dies
_AHEAD = 2  # blocks that an actor has: the one that it reads, and the next


def read_on(
    cluster: str,
    output: str,
    paths: Sequence[str],
    job: Job,
    *,
    layout: str = "parquet",
    jobs: int | None = None,
) -> bool:
    """Read pictures on a cluster, into parts in a folder; a run that was interrupted goes on.

    Args:
        cluster: `ray`, the cluster that this machine belongs to, or else one of its own cores;
            or `ray://HOST:PORT`, the address of another one.
        output: the folder, a path of this machine or an address.
        paths: files and folders that each node of the cluster can reach, or addresses.
        job: what is to be done with each picture.
        layout: one of `parts.LAYOUTS`.
        jobs: actors to read with, by default one for each core of the cluster.

    Returns:
        Whether everything could be read.

    Raises:
        UsageError: the folder is of another run, or what is asked for cannot be had of a cluster.
        RowscanError: the cluster cannot be reached or fails, or the folder cannot be written.
    """
    if job.annotate is not None:
        raise UsageError("annotated copies are made on one machine; leave out --annotate or --on")
    if STANDARD_INPUT in paths:
        raise UsageError("standard input is read on one machine; leave out - or --on")
    if layout not in LAYOUTS:
        raise UsageError(f"--on writes {', '.join(LAYOUTS)}, not {layout}")
    Model(job.model, "line")  # what is no model is said here, not by each actor
    model = load_content(job.model, "line")[1]
    parts = Parts(
        output,
        layout,
        {
            "version": rowscan.__version__,
            "model": sha256(model).hexdigest(),
            "min_confidence": job.min_confidence,
            "paths": [path if is_address(path) else os.path.abspath(path) for path in paths],  # noqa: PTH100
        },
    )
    taken_up = parts.pictures
    missing: list[End] = []
    progress = Progress(results_shown=False, done=taken_up, count=lambda: None)
    with closing(progress), _connected(cluster):
        parts.begin()
        if taken_up:
            progress.say(f"{output}: {taken_up:,} pictures were there already")
        actor = ray.remote(num_cpus=0)(_Reading).remote(
            paths=list(paths),
            job=job,
            model=None if job.model is None else model,
            layout=layout,
            done=parts.done,
            output=output,
            jobs=jobs,
            here=str(Path.cwd()),
        )
        while (item := ray.get(actor.next.remote())) is not None:
            if item == _CHANGED:
                if missing:
                    raise OutputError(output, f"{missing[0].path} is needed to go on with it")
                raise changed(output)
            ends: Sequence[End]
            if isinstance(item, Part):
                parts.add(item)
                progress.step(item.pictures)
                ends = item.errors
            else:
                missing.append(item)
                ends = [item]
            for end in ends:
                progress.say(f"rowscan: {escaped(end.path)}: {escaped(end.error or '')}")
        parts.add_missing(missing)
        progress.say(
            f"{output}: {parts.pictures:,} pictures, {parts.unreadable:,} of them could not be read"
        )
    return not (parts.unreadable or missing)


@contextlib.contextmanager
def _connected(cluster: str) -> Iterator[None]:
    """A connection to the cluster; whatever goes wrong there becomes one line."""
    with contextlib.redirect_stdout(sys.stderr):  # Ray prints it when a worker has died
        try:
            with warnings.catch_warnings(action="ignore"):  # what matters comes as an error
                ray.init(
                    address=None if cluster == "ray" else cluster,
                    log_to_driver=False,
                    logging_level="ERROR",
                )
        except Exception as error:  # of Ray, of gRPC, of the operating system
            raise OutputError(cluster, f"cannot be reached: {_first_line(error)}") from None
        try:
            yield
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise OutputError(cluster, _first_line(error)) from None
        finally:
            ray.shutdown()


def _first_line(error: BaseException) -> str:
    """The reason that is at the root of an error of Ray's, on one line."""
    seen = {id(error)}
    while isinstance(cause := getattr(error, "cause", None) or error.__cause__, BaseException):
        if id(cause) in seen:
            break
        seen.add(id(cause))
        error = cause
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


_NONE = -1  # the number of a row that is no block
_CHANGED = "changed"


class _Reading:
    """An actor that asks Ray Data, on the cluster: a client from outside cannot stream from it."""

    def __init__(
        self,
        *,
        paths: list[str],
        job: Job,
        model: bytes | None,
        layout: str,
        done: Mapping[int, str],
        output: str,
        jobs: int | None,
        here: str,
    ) -> None:
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.target_max_block_size = 1  # bytes: each row is given out as soon as it is there
        jobs = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        # The listing takes no core, or with all cores the actors' it would never begin. That they
        # differ in it also keeps Ray Data from doing both in one place.
        listing = ray.data.read_datasource(
            _Listing(paths, done, output, here), override_num_blocks=1, num_cpus=0
        )
        self._rows = iter(
            listing.map(
                _Reader,
                fn_constructor_args=(job, model, layout, here),
                compute=ActorPoolStrategy(size=jobs, max_tasks_in_flight_per_actor=_AHEAD),
                num_cpus=1,
                max_task_retries=_RETRIES,
            ).iter_rows()
        )

    def next(self) -> Part | End | str | None:
        """The next part, or the end of a path without pictures; None when all is read."""
        row = next(self._rows, None)
        if row is None:
            return None
        errors = tuple(End(path, error) for path, error in json.loads(row["errors"]))
        if row["number"] == _NONE:
            return errors[0] if errors else _CHANGED
        number, pictures = int(row["number"]), int(row["pictures"])
        return Part(number, row["digest"], pictures, bytes(row["readings"]), errors)


class _Listing(Datasource):  # type: ignore[misc]
    """The blocks of a run that are not done, as a source that Ray Data takes rows from."""

    def __init__(
        self, paths: Sequence[str], done: Mapping[int, str], output: str, here: str
    ) -> None:
        super().__init__()
        self._output = output
        self._here = here
        self._paths = paths
        self._done = done

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown, until all is listed."""
        return None

    def get_read_tasks(self, parallelism: int, *_: object, **__: object) -> list[ReadTask]:
        """One, for names are listed in their order."""
        nothing_known = BlockMetadata(
            num_rows=None, size_bytes=None, input_files=None, exec_stats=None
        )
        return [ReadTask(self._rows, nothing_known)]

    def _rows(self) -> Iterator[pyarrow.Table]:
        _go_to(self._here)
        last = -1
        for item in blocks(find_pictures(self._paths, without=self._output)):
            if isinstance(item, End):
                yield _row(_NONE, [], [item])
                continue
            last = item.number
            there = self._done.get(item.number)
            if there is None:
                yield _row(item.number, list(item.paths), [])
            elif there != item.digest:
                yield _row(_NONE, [], [])
                return
        if any(number > last for number in self._done):
            yield _row(_NONE, [], [])


def _go_to(folder: str) -> None:
    """Let relative paths mean what they mean to the command, where there is such a folder."""
    with contextlib.suppress(OSError):
        os.chdir(folder)


def _row(number: int, paths: list[str], ends: list[End]) -> pyarrow.Table:
    """A row of what is listed. JSON, because a name need not be Unicode."""
    errors = [(end.path, end.error) for end in ends]
    return pyarrow.table(
        {"number": [number], "paths": [json.dumps(paths)], "errors": [json.dumps(errors)]}
    )


class _Reader:
    """What an actor of the pool holds: a process with a Reader."""

    def __init__(self, job: Job, model: bytes | None, layout: str, here: str) -> None:
        _go_to(here)
        if model is not None:
            self._folder = tempfile.TemporaryDirectory()
            path = Path(self._folder.name) / "model.onnx"
            path.write_bytes(model)
            job = replace(job, model=path)
        self._layout = layout
        self._workers = Workers(job, 1)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The part that a block becomes."""
        if row["number"] == _NONE:
            nothing = {"digest": "", "pictures": 0, "readings": b""}
            return {"number": _NONE, **nothing, "errors": row["errors"]}
        block = Block(row["number"], tuple(json.loads(row["paths"])))
        pictures = fetched(unpacked(map(Picture, block.paths)))
        part = part_of(block, self._workers.read(pictures), self._layout)
        return {
            "number": part.number,
            "digest": part.digest,
            "pictures": part.pictures,
            "readings": part.readings,
            "errors": json.dumps([(end.path, end.error) for end in part.errors]),
        }

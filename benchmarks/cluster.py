"""Compares reading on a Ray cluster with one machine: whether rows are equal, and the times.

    python benchmarks/cluster.py [--images 20000] [--remote 5000] [--jobs 2]

First, synthetic pictures in a folder: the time of `--jobs` and of `--on ray`, without the start of
each, which is the time of a few pictures. Then synthetic pictures in an object store (moto's), read
by a cluster of two nodes on this machine, one worker of which is killed in the middle: every
picture must be there once, as one machine reads it. Needs Ray, s3fs and moto[server].
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec
import numpy as np
import PIL.Image
import psutil
import torch

import rowscan
from rowscan.training.runs import environment
from rowscan.training.synthesis.inks import Inks
from rowscan.training.synthesis.lines import compose

DIFFERENT, FEW, SEED, PORT, STORE = 1000, 40, 3_000_017, 6399, 5055
READ = [sys.executable, "-m", "rowscan", "read"]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(),
}
AWS = {
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{STORE}",
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def main() -> None:
    """Print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--remote", type=int, default=5_000)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    print(environment(), end="\n\n", flush=True)
    os.environ.update(RAY_SETTINGS | AWS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = draw(folder / "drawn")
        if arguments.images:
            compare_times(folder, pictures, arguments.images, arguments.jobs)
        if arguments.remote:
            kill_in_the_middle(folder, pictures, arguments.remote)


def draw(folder: Path) -> list[Path]:
    """Pictures of one synthetic line each, as JPEG files."""
    folder.mkdir()
    test = rowscan.load_digits("mnist").test
    inks = Inks(test.images, test.labels)
    generator = torch.Generator().manual_seed(SEED)
    paths = []
    for number in range(DIFFERENT):
        ink = compose(1, inks, generator).ink[0].numpy()
        picture = PIL.Image.fromarray(255 - np.pad(255 * ink, 12).round().astype(np.uint8))
        paths.append(folder / f"{number:04}.jpg")
        picture.resize((3 * picture.width, 3 * picture.height)).save(paths[-1])
    return paths


def compare_times(folder: Path, pictures: list[Path], count: int, jobs: int) -> None:
    """`--jobs` and `--on ray` on the same folder."""
    for name, number in (("few", FEW), ("many", count)):
        (folder / name).mkdir()
        for i in range(number):
            (folder / name / f"{i:06}.jpg").hardlink_to(pictures[i % len(pictures)])
    times, peaks = {}, {}
    with cluster([jobs]):
        for name in ("few", "many"):
            for way, options in (("one machine", []), ("ray", ["--on", "ray"])):
                output = folder / f"{name} {way}"
                command = [*READ, name, "--format", "jsonl", "--jobs", str(jobs), *options]
                run = measured([*command, "--output", str(output)], folder)
                times[name, way], peaks[name, way] = run
    here = (folder / "many one machine").read_text().splitlines()
    there = rows(folder / "many ray")
    assert len(here) == count, len(here)
    assert here == there, "the rows differ"
    print(f"{count:,} pictures of a line, {jobs} at a time; the rows are the same")
    without = {}
    for way in ("one machine", "ray"):
        without[way] = times["many", way] - times["few", way]
        print(
            f"{way:12} {times['many', way]:7.1f} s, {times['few', way]:5.1f} s of it to start: "
            f"{(count - FEW) / without[way]:.0f} a second; at most {peaks['many', way]:.0f} MiB, "
            f"{peaks['few', way]:.0f} with {FEW} pictures"
        )
    print(f"ray takes {without['ray'] / without['one machine']:.2f} times as long", flush=True)


def measured(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of a command, and the peak memory of it and its child processes, in MiB."""
    start, peak = time.perf_counter(), 0
    process = psutil.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None:
        held = 0
        with suppress(psutil.NoSuchProcess):
            for each in [process, *process.children(recursive=True)]:
                held += each.memory_full_info().pss
            peak = max(peak, held)
        time.sleep(0.5)
    assert process.returncode == 0, process.stderr.read()
    return time.perf_counter() - start, peak / 2**20


def kill_in_the_middle(folder: Path, pictures: list[Path], count: int) -> None:
    """Two nodes, an object store, and a worker that is killed."""
    with store() as bucket, cluster([1, 1]):
        system = fsspec.filesystem("s3")
        for i in range(count):
            system.pipe_file(f"{bucket}/{i:06}.jpg", pictures[i % len(pictures)].read_bytes())
        print(f"\n{count:,} pictures in an object store, two nodes", flush=True)
        source = f"s3://{bucket}"
        here = folder / "alone.jsonl"
        subprocess.run(
            [*READ, source, "--format", "jsonl", "--output", here], check=True, capture_output=True
        )
        output = folder / "cluster"
        command = [*READ, source, "--on", "ray", "--format", "jsonl", "--output", str(output)]
        start = time.perf_counter()
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while len(list((output / "done").glob("*"))) < count // 1500:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        victim = next(p for p in psutil.process_iter() if "ray::" in p.name() and "Map" in p.name())
        print(f"kill -9 {victim.pid} ({victim.name()})")
        victim.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        assert process.returncode == 0, said
        alone, together = here.read_text().splitlines(), rows(output)
        paths = [json.loads(row)["path"] for row in together]
        assert len(paths) == len(set(paths)) == count, len(paths)
        assert alone == together, "the rows differ"
        print(f"every picture once, as one machine reads it; {time.perf_counter() - start:.0f} s")


def rows(folder: Path) -> list[str]:
    """The rows of all parts, in order."""
    parts = sorted((folder / "readings").glob("part-*.jsonl"))
    return [line for part in parts for line in part.read_text().splitlines()]


@contextmanager
def cluster(cores: list[int]) -> Iterator[None]:
    """Nodes on this machine, each with a number of cores."""
    options = ["--include-dashboard=false", "--disable-usage-stats"]
    try:
        for node, count in enumerate(cores):
            place = ["--address", f"127.0.0.1:{PORT}"] if node else ["--head", "--port", str(PORT)]
            more = [] if node else options
            command = [*RAY, "start", *place, *more, "--num-cpus", str(count)]
            subprocess.run(command, check=True, capture_output=True)
        yield
    finally:
        subprocess.run([*RAY, "stop", "--force"], check=False, capture_output=True)


@contextmanager
def store() -> Iterator[str]:
    """An object store with one bucket; its name."""
    server = shutil.which("moto_server", path=Path(sys.executable).parent)
    assert server is not None
    process = subprocess.Popen(
        [server, "-p", str(STORE)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            time.sleep(0.2)
            try:
                fsspec.filesystem("s3", use_listings_cache=False).mkdir("scans")
                break
            except Exception:
                continue
        yield "scans"
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()

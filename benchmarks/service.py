"""Measures the service: time to start, latency, throughput, memory, and beside slow clients.

    python benchmarks/service.py [--model FILE] [--requests 5000] [--concurrency 64]

Starts `rowscan serve` on a free port and sends requests from this process, so both share the
machine. Memory comes from `/metrics` (on Linux).
"""

import argparse
import asyncio
import contextlib
import io
import re
import socket
import statistics
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator

import httpx2 as httpx
import PIL.Image
import PIL.ImageDraw

from rowscan.training.runs import environment

SHEET = (480, 336)  # the page's sheet, in pixels
READINGS = 300
WARM = 1000  # requests after which memory should no longer grow


def main() -> None:
    """Print one table for each question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", help="a model file or run directory; by default the shipped models"
    )
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=64)
    arguments = parser.parse_args()
    print(environment(), end="\n\n")
    picture = drawn_four()
    start = time.perf_counter()
    with serving(arguments.model) as url:
        while True:
            with contextlib.suppress(httpx.ConnectError):
                httpx.post(f"{url}/v1/read", content=picture).raise_for_status()
                break
        print(f"start to first answer {time.perf_counter() - start:6.2f} s\n")

        print(f"{'a drawn digit':30}{'p50':>9}{'p95':>9}{'slowest':>10}")
        row("alone", one_after_the_other(url, picture))
        with slow_clients(url):
            row("beside slow clients", one_after_the_other(url, picture))

        statuses, seconds, memory = asyncio.run(
            at_once(url, picture, arguments.requests, arguments.concurrency)
        )
        print(f"\n{arguments.requests:,} requests, {arguments.concurrency} at a time")
        print(f"{'answers':24}{', '.join(f'{n:,} x {s}' for s, n in sorted(statuses.items()))}")
        print(f"{'a second':24}{arguments.requests / seconds:,.0f}")
        for asked, used in memory.items():
            print(f"{f'memory after {asked:,}':24}{used / 1e6:.0f} MB")


@contextlib.contextmanager
def serving(model: str | None) -> Iterator[str]:
    """The address of a service started for this."""
    command = [sys.executable, "-m", "rowscan", "serve", "--port", "0"]
    command += ["--model", model] if model else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield re.findall(r"http://\S+", process.stdout.readline())[0]
        process.terminate()


@contextlib.contextmanager
def slow_clients(url: str) -> Iterator[None]:
    """Ten clients each with half a head, half a body, 50 MB; and a PNG of 200 megapixels."""
    host, port = url.removeprefix("http://").split(":")
    head = b"POST /v1/read HTTP/1.1\r\nHost: x\r\n"
    with contextlib.ExitStack() as stack:
        for content in (
            head,
            head + b"Content-Length: 100000\r\n\r\nhalf",
            head + b"Content-Length: 50000000\r\n\r\n" + bytes(100_000),
        ) * 10:
            client = stack.enter_context(socket.create_connection((host, int(port))))
            client.sendall(content)
        for name, body in (("200 megapixels", huge_png()), ("50 MB", bytes(50_000_000))):
            start = time.perf_counter()
            answer = httpx.post(f"{url}/v1/read", content=body, timeout=60)
            taken = 1000 * (time.perf_counter() - start)
            print(f"  {name}: {answer.status_code} after {taken:.0f} ms")
        yield


def one_after_the_other(url: str, picture: bytes) -> list[float]:
    """Seconds for each reading."""
    seconds = []
    with httpx.Client(base_url=url) as client:
        for _ in range(READINGS):
            start = time.perf_counter()
            client.post("/v1/read", content=picture).raise_for_status()
            seconds.append(time.perf_counter() - start)
    return seconds[10:]


async def at_once(
    url: str, picture: bytes, requests: int, concurrency: int
) -> tuple[Counter[int], float, dict[int, float]]:
    """Counts of each status, the total seconds, and the bytes used after numbers of requests."""
    statuses: Counter[int] = Counter()
    memory = {}
    start = time.perf_counter()
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:

        async def ask(times: int) -> None:
            for _ in range(times):
                statuses[(await client.post("/v1/read", content=picture)).status_code] += 1

        for part in (min(WARM, requests), max(0, requests - WARM)):
            shares = [part // concurrency + (i < part % concurrency) for i in range(concurrency)]
            await asyncio.gather(*map(ask, shares))
            metrics = (await client.get("/metrics")).text
            used = re.search(r"^process_resident_memory_bytes (\S+)", metrics, re.M)
            memory[statuses.total()] = float(used[1]) if used else float("nan")
    return statuses, time.perf_counter() - start, memory


def row(name: str, seconds: list[float]) -> None:
    """Print times in milliseconds."""
    p50, p95 = (1000 * statistics.quantiles(seconds, n=20)[i] for i in (9, 18))
    print(f"{name:30}{p50:6.1f} ms{p95:6.1f} ms{1000 * max(seconds):7.1f} ms", flush=True)


def drawn_four() -> bytes:
    """A 4, as the page sends it."""
    image = PIL.Image.new("RGB", SHEET, "white")
    pen = PIL.ImageDraw.Draw(image)
    pen.line([(257, 69), (185, 199), (308, 199)], fill="black", width=6, joint="curve")
    pen.line([(267, 129), (267, 274)], fill="black", width=6)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def huge_png(width: int = 20_000, height: int = 10_000) -> bytes:
    """White paper, 4 bits a pixel, about 100 kB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    squeeze = zlib.compressobj()
    line = b"\0" + b"\xff" * (width // 2)
    pixels = b"".join(squeeze.compress(line) for _ in range(height)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", width, height, 4, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


if __name__ == "__main__":
    main()

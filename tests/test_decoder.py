"""Pictures are decoded by a process with limits, which a bomb ends without harm to the next one."""

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import PIL.Image
import pytest

from rowscan.errors import (
    DataError,
    MissingExtraError,
    RowscanError,
    TooLargeError,
    UnsupportedFormatError,
)
from rowscan.io.decoder import Decoder
from rowscan.io.messages import Failure, receive, send
from rowscan.io.pictures import open_reduced
from rowscan.io.raster import Request

PATIENCE = 240.0  # seconds


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    ink = PIL.Image.linear_gradient("L").resize((width, height)).convert("RGB")
    ink.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def tiff(*shades: int) -> bytes:
    buffer = io.BytesIO()
    pages = [PIL.Image.new("L", (20, 10 + shade), shade) for shade in shades]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    return buffer.getvalue()


SMALL = png(60, 40)


def request(content: bytes, *, first: int = 1, count: int | None = None) -> Request:
    return Request(source=content, enough=1000, max_pixels=10**8, first=first, count=count)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(memory=120_000_000)
    yield decoder
    decoder.close()


def works(decoder: Decoder) -> bool:
    (page,) = decoder.pages(request(SMALL), deadline=time.monotonic() + PATIENCE)
    ((pixels, size),) = open_reduced(SMALL, 1000)
    np.testing.assert_array_equal(page.pixels, pixels)
    return page.size == size == (60, 40)


def test_it_decodes_as_open_reduced_does(decoder: Decoder) -> None:
    assert works(decoder)
    some = request(tiff(0, 9, 18, 27), first=2, count=2)
    found = list(decoder.pages(some, deadline=time.monotonic() + PATIENCE))
    assert [int(page.pixels[0, 0]) for page in found] == [9, 18]
    assert [page.size for page in found] == [(20, 19), (20, 28)]
    assert works(decoder)


def test_an_error_is_raised_here(decoder: Decoder) -> None:
    before = decoder.start()
    for content in (b"no picture", SMALL[:90]):
        with pytest.raises(DataError):
            list(decoder.pages(request(content), deadline=time.monotonic() + PATIENCE))
    assert works(decoder)
    assert decoder.start() is before


@pytest.mark.parametrize(
    "error",
    [
        TooLargeError("a.tif", "more than 3 pages"),
        UnsupportedFormatError(None, "not a picture"),
        MissingExtraError("reading PDFs", "pypdfium2", "pdf"),
    ],
)
def test_errors_arrive_as_they_were(error: RowscanError) -> None:
    there, here = os.pipe()
    with os.fdopen(there, "rb") as source, os.fdopen(here, "wb") as sink:
        send(sink, Failure.of(error))
        arrived = receive(source, msgspec.json.Decoder(Failure)).error()
    assert (type(arrived), arrived.args, str(arrived)) == (type(error), error.args, str(error))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x80\x05N.",  # a pickle
        b"{}\n",
        b'{"type": "failure", "kind": "SystemExit", "parts": []}\n',
        b'{"type": "failure", "kind": "DataError", "parts": []}\n',
        b"[" * 200_000,
    ],
)
def test_what_is_no_answer_is_taken_for_the_end(said: bytes) -> None:
    with pytest.raises(EOFError):
        receive(io.BufferedReader(io.BytesIO(said)), msgspec.json.Decoder(Failure)).error()


def test_a_picture_that_takes_too_much_memory_costs_itself_alone(decoder: Decoder) -> None:
    with pytest.raises(TooLargeError, match="more memory"):
        list(decoder.pages(request(png(9000, 9000)), deadline=time.monotonic() + PATIENCE))
    assert works(decoder)


def test_one_that_takes_too_much_time_ends_its_process(decoder: Decoder) -> None:
    before = decoder.start()
    with pytest.raises(TooLargeError, match="time to decode"):
        list(decoder.pages(request(png(4000, 4000)), deadline=time.monotonic() + 0.001))
    assert before.poll() is not None
    assert works(decoder)


def test_who_stops_in_the_middle_leaves_nothing_for_the_next(decoder: Decoder) -> None:
    begun = decoder.pages(request(tiff(0, 9)), deadline=time.monotonic() + PATIENCE)
    assert next(begun).size == (20, 10)
    begun.close()
    assert works(decoder)


def large_png(colours: int, bits: int) -> bytes:
    """98 megapixels in 300 kB: greys or colours, nothing on them."""
    side = 9_900
    row = b"\0" + b"\xff" * (side * colours * bits // 8)
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, bits, 0 if colours == 1 else 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_no_process_of_the_command_takes_more_memory_than_it_may(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    (tmp_path / "colours.png").write_bytes(large_png(3, 8))
    (tmp_path / "deep.png").write_bytes(large_png(1, 16))
    code = """
import contextlib, re, resource
from pathlib import Path
from rowscan.__main__ import main
from rowscan.io import decoder
with contextlib.suppress(SystemExit):
    main()
for process in decoder._idle:
    process.close()
status = Path("/proc/self/status")
# The peak in getrusage begins with that of the process that started this one.
own = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) if status.exists() else 0
print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
    command = [sys.executable, "-c", code, "read", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "2 pictures: 0 numbers, 2 empty, 0 unsure, 0 errors" in done.stderr
    own, children = map(int, done.stdout.splitlines()[-1].split())
    assert own < 450_000
    assert 200_000 < children < 600_000

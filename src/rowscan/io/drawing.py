"""Drawing: a picture with boxes on it as SVG, for notebooks."""

import base64
import html
import io
from collections.abc import Sequence

import PIL.Image

from rowscan.errors import RowscanError
from rowscan.io.pictures import Source, open_reduced

_PIXELS = 500_000
_SIDE = 900  # pixels of the longer side on the screen


def svg(
    source: Source | None,
    page: int,
    size: tuple[int, int],
    boxes: Sequence[tuple[tuple[int, int, int, int], str]],
) -> str:
    """The page with its boxes, each with a text above it.

    Args:
        source: the picture; without it, or where it can no longer be opened, the boxes are alone.
        page: its page, from 1.
        size: width and height that the boxes are in.
        boxes: x, y, width and height, and the text.
    """
    width, height = size
    stroke = max(1.0, max(size) / 500)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'style="max-width: 100%; width: {min(_SIDE, _SIDE * width // max(*size, 1))}px">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    if content := _jpeg(source, page):
        data = base64.b64encode(content).decode()
        parts.append(
            f'<image width="{width}" height="{height}" href="data:image/jpeg;base64,{data}"/>'
        )
    for (x, y, wide, high), text in boxes:
        parts.append(
            f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" fill="none" '
            f'stroke="#1864ab" stroke-width="{stroke:.1f}"/>'
            f'<text x="{x}" y="{y - 2 * stroke:.1f}" font-size="{8 * stroke:.1f}" '
            f'font-family="sans-serif" fill="#1864ab">{html.escape(text)}</text>'
        )
    return "".join([*parts, "</svg>"])


def _jpeg(source: Source | None, page: int) -> bytes | None:
    """The page, reduced."""
    if source is None:
        return None
    try:
        pixels, _ = next(open_reduced(source, _PIXELS, first=page))
    except (RowscanError, StopIteration):
        return None
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()

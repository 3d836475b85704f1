"""Pictures: a page as a browser shows it: a JPEG of at most the size that is read."""

import io

import PIL.Image

from rowscan.segmentation.binarize import WORKING_PIXELS, Picture

_QUALITY = 88
_BROWSER_PIXELS = 2 * WORKING_PIXELS
"""Only JPEG is reduced while it is decoded, by whole numbers; anything else is reduced here."""


def draw(page: Picture) -> bytes:
    """A page that is open, as JPEG."""
    image = PIL.Image.fromarray(page)
    if image.width * image.height > _BROWSER_PIXELS:
        factor = (_BROWSER_PIXELS / (image.width * image.height)) ** 0.5
        image = image.resize(
            (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()

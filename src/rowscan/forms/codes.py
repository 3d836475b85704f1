"""Codes: QR codes and bar codes (EAN, UPC) by which forms are told apart. It lays no page."""

import re
from dataclasses import dataclass

import cv2
import numpy as np

from rowscan.arrays import UInt8
from rowscan.reading import Box
from rowscan.segmentation.binarize import resize

_ENLARGED = 2.0  # of a side: at 150 dpi the modules of a code have few pixels


@dataclass(frozen=True)
class Code:
    """A code on a page."""

    text: str
    """What it says."""
    box: Box
    """Where it is, in pixels."""


def find(picture: UInt8[np.ndarray, "height width"]) -> Code | None:
    """The QR code of a page; or its bar code, if it has none."""
    for scale in (1.0, _ENLARGED):
        seen = resize(picture, scale) if scale > 1 else picture
        for detector in (cv2.QRCodeDetector(), cv2.barcode.BarcodeDetector()):
            text, corners, *_ = detector.detectAndDecode(seen)
            if text and corners is not None:
                around = np.reshape(corners, (-1, 2)) / scale
                x, y = np.floor(around.min(0)).astype(int).tolist()
                right, bottom = np.ceil(around.max(0)).astype(int).tolist()
                return Code(text, (max(x, 0), max(y, 0), right - max(x, 0), bottom - max(y, 0)))
    return None


def matches(text: str, name: str) -> bool:
    """Whether a code says a name, in which `*` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, name.split("*"))), text, re.DOTALL) is not None

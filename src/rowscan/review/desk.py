"""Desk: what the page asks of a review, as values. The routes are in `app`."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rowscan.review.exports import EXPORTS
from rowscan.review.fields import ReviewedForms, repeated
from rowscan.review.intake import Intake
from rowscan.review.learning import Learning
from rowscan.review.pictures import Pictures
from rowscan.review.store import Store


@dataclass(frozen=True, eq=False)
class Desk:
    """A folder under review. Threads may share it."""

    folder: Path
    store: Store
    intake: Intake
    learning: Learning
    forms: ReviewedForms
    """What its pictures are laid upon; perhaps none."""
    user: str
    """Who corrects, until the page is told another name."""
    pictures: Pictures

    def news(self, readings: int, corrections: int) -> dict[str, Any]:
        """The pages, or those with news since these numbers, and how far everything is."""
        newest = self.store.newest()  # before the rows: what comes between is sent twice
        rows = self.store.entries(readings=readings, corrections=corrections)
        return {
            "database": self.store.name,
            "folder": self.folder.resolve().name,
            "user": self.user,
            "forms": [form.name for form in self.forms.specifications],
            "readings": newest[0],
            "corrections": newest[1],
            "pages": [list(row) for row in rows],
            "progress": vars(self.intake.progress),
            "learning": self.learning.to_dict(),
        }

    def page(self, page: int) -> dict[str, Any]:
        """A page with its lines or fields as they stand now.

        Raises:
            DataError: there is no such page; or a file that a rule names cannot be read.
        """
        entry = self.store.entry(page)
        content = json.loads(entry["content"])
        lines = self.store.lines(page)
        shown = {
            "id": page,
            "path": entry["path"],
            "number": entry["number"],
            "status": entry["status"],
            "state": entry["state"],
            "confidence": entry["confidence"],
            "width": content["width"],
            "height": content["height"],
            "error": content.get("error"),
            "lines": [{**line, "digits": None} for line in lines],
        }
        if "form" not in content:
            return shown
        reading = self.forms.reading(content, lines)
        others = repeated(self.store, self.forms, page, reading)
        reading = replace(reading, broken=(*reading.broken, *others))
        return shown | self.forms.shown(content, lines, reading)

    def picture(self, page: int, number: int | None) -> bytes:
        """A page as JPEG, or another page of its document: a form may have several.

        Raises:
            DataError: it cannot be shown.
        """
        entry = self.store.entry(page)
        return self.pictures.jpeg(entry["path"], entry["hash"], number or entry["number"])

    def file(self, name: str) -> bytes:
        """An export, by a name of `EXPORTS`.

        Raises:
            MissingExtraError: what writes it is not installed.
        """
        write, _ = EXPORTS[name]
        return b"".join(write(self.store))

"""Review: a folder is read, what is doubtful corrected in a browser, and the corrections learned.

Needs the extra `rowscan[server]`.
"""

from rowscan.review.exports import export
from rowscan.review.run import review

__all__ = ["export", "review"]

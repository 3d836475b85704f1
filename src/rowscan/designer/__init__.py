"""Designer: the page on which the fields of a new form are named. Reading is up to `forms`."""

from rowscan.designer.run import new_form

__all__ = ["new_form"]

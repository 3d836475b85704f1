"""Forms: a filled form laid upon its blank, and each field read by its name.

`Form` is the way in. It reads pictures; folders and tables are up to `rowscan.batch`.
"""

from rowscan.forms.form import Form, Forms
from rowscan.forms.results import FieldReading, FormReading

__all__ = ["FieldReading", "Form", "FormReading", "Forms"]

"""Forms: a filled form laid upon its blank, and each field read by its name.

`form.Form` is the way in. It reads pictures; folders and tables are up to `rowscan.batch`.
"""

"""Server: the service over HTTP and its page. Needs the extra `rowscan[server]`."""

from rowscan.server.app import create_app
from rowscan.server.limits import Limits
from rowscan.server.run import serve

__all__ = ["Limits", "create_app", "serve"]

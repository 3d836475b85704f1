"""Server: the service over HTTP and its page. Needs the extra `rowscan[server]`."""

from rowscan.server.app import create_app
from rowscan.server.limits import Limits, ServerLimits
from rowscan.server.run import serve

__all__ = ["Limits", "ServerLimits", "create_app", "serve"]

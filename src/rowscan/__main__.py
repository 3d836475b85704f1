"""The command `rowscan`, also as `python -m rowscan`: quiet from its first moment on."""

import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Entry point; see `rowscan.cli.main`."""
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:  # while modules are loaded, without a traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for name in ("stdout", "stderr"):  # a caller can have closed them
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
    from rowscan import cli

    try:
        signal.signal(signal.SIGINT, interrupt)
        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

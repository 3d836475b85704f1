"""`python -m rowscan` is the command `rowscan`."""

from rowscan.cli import main

if __name__ == "__main__":
    main()

"""The `lambent` command, also as `python -m lambent_lab`.

What it needs takes a moment to load: Ctrl-C in that moment is no reason for a traceback either.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Load the command line and run it."""
    try:
        from lambent_lab.commands import main as run
    except KeyboardInterrupt:
        sys.stderr.write("\nlambent: interrupted\n")
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())

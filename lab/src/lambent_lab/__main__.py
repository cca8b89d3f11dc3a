"""`python -m lambent_lab` is the `lambent` command."""

from __future__ import annotations

import sys

from lambent_lab.commands import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m blazen_trio.cli`` is ``blazen-trio``."""

import sys

from blazen_trio.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m wavegen``: the command line."""

import sys

from wavegen.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

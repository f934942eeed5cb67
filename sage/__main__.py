"""`python -m sage`: the `sage` command where its script is not on the path. Knows no verb."""

import sys

from sage.cli import main

if __name__ == "__main__":
    sys.exit(main())

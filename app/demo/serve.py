"""The service as a child of the demo: ``python -m app.demo.serve ARGUMENTS`` of ``andon serve``."""

import sys

from app.cli import main
from app.demo import leash

if __name__ == "__main__":
    leash.hold()
    sys.argv = ["andon", "serve", *sys.argv[1:]]
    main()

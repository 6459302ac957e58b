"""Children of the demo wait for a word from it on their standard input, and end when it is gone."""

import os
import signal
import sys
import threading
from collections.abc import Callable


def hold(told: Callable[[str], object] = str) -> None:
    """Pass each line of standard input to ``told``, in a thread; its end ends this process."""

    def listen() -> None:
        for line in sys.stdin:
            told(line.strip())
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=listen, name="leash", daemon=True).start()


def main(command: list[str]) -> int:
    """Run another program on the leash: ``python -m app.demo.leash PROGRAM ARGUMENTS``."""
    import subprocess  # noqa: PLC0415 - the other children do without it

    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - the demo's own words
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    hold()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

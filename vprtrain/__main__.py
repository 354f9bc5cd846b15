"""The command ``vprtrain``.

Nothing slow is imported before :func:`console` is called, so that Ctrl-C ends the command from its
first moment on without a traceback.
"""

from __future__ import annotations

import signal


def main(arguments: list[str]) -> int | None:
    """Run the command that the first argument names; the exit status."""
    from vprtrain.commands import main as program

    return program.main(arguments)


def console() -> None:
    """The console script."""
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:  # not if it is ignored, as in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from vprtrain.commands import program

    signal.signal(signal.SIGINT, interrupt)
    program.run(main)


if __name__ == "__main__":
    console()

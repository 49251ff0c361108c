"""``python -m timewarp``, and the command ``timewarp``."""

import locale
import os
import sys
from typing import NoReturn

from .interrupts import code_of, guard_process


def run() -> NoReturn:
    """The process of one command, from its first moment on under a guard for signals."""
    guard = guard_process()
    _in_utf8()
    try:
        from .commands import main

        code = main()
    except KeyboardInterrupt as error:
        guard.end(code_of(error))
    except SystemExit as stop:  # of the parser: help, version, a bad option
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    if guard.said:  # interrupted: what libraries would do at exit has no more use
        guard.end(code)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # a reader such as `head` has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 141
    sys.exit(code)


def _in_utf8() -> None:
    """Begin again in Python's UTF-8 mode where the locale has another encoding: names and files are UTF-8 anywhere.

    Libraries open files and write lines in the encoding of the locale, and that is settled when Python starts.
    """
    if os.name == "posix" and not sys.flags.utf8_mode and locale.getpreferredencoding(False).lower() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    run()

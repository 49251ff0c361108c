"""Errors that are the user's to mend: one line on stderr, exit code 2, no traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something that the user asked for cannot be done; the message says what was got and what to do."""


USER_ERRORS: tuple[type[Exception], ...] = (UserError, ValueError, OSError, NotImplementedError)
"""What :func:`timewarp.commands.main` turns into one line: bad values, missing or foreign files, a full disk."""


def one_line(error: BaseException) -> str:
    """The message of an error on a single line.

    >>> one_line(ValueError("a\\nb"))
    'a b'
    """
    if isinstance(error, OSError) and error.strerror:
        named = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{named}"
    return " ".join(str(error).split()) or type(error).__name__

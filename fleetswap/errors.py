"""Bad input: what the command line reports as one line, with exit code 2."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that names the file, the line or key, the bad value and what is allowed.
    """

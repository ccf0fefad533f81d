"""Who gives the command."""

from __future__ import annotations

import getpass


def user_name() -> str:
    """Name of the user of this machine; a container's may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"

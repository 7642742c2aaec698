"""What an error says, in one line: other libraries' messages run over many, and some say nothing."""

from __future__ import annotations


class Failed(RuntimeError):
    """What was asked for was right, and something around it failed: a compiler, another process. One sentence for users."""


def reason(error: BaseException) -> str:
    """The first line of the error's message; without one, the name of its kind."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]

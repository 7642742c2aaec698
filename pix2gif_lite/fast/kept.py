"""What was asked for last, up to so many bytes of it, and how to know that what it was made of is still the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor


def state_of(x: Tensor) -> tuple[Any, ...]:
    """Where the numbers of a tensor are, how they lie there, and how often they were written to.

    Two equal states of tensors that are both still held are of the same numbers.
    """
    return x.data_ptr(), x.shape, x.stride(), x.dtype, x._version


class Kept:
    """The values asked for last, up to `most` bytes of them; the very last whatever its size."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable) -> Any | None:
        """The value, from now on the newest; None where it is not kept."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def forget(self, unless: Callable[[Hashable], bool]) -> None:
        """Keep those alone whose keys are so."""
        for key in [key for key in self._held if not unless(key)]:
            del self._held[key]

    def put(self, key: Hashable, value: Any, size: int) -> Any:
        """Keep a value of `size` bytes, at the cost of the oldest. Returns it."""
        self._held[key] = value, size
        self._held.move_to_end(key)
        while len(self._held) > 1 and sum(size for _, size in self._held.values()) > self.most:
            self._held.popitem(last=False)
        return value

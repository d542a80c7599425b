"""The type of what goes into a JSON body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Union

# A name in quotes cannot be combined with | at run time.
JSON = Union[None, bool, int, float, str, Sequence["JSON"], Mapping[str, "JSON"]]  # noqa: UP007

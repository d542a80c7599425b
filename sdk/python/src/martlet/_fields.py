"""Reading of JSON answers: typed, and with an error that names the field instead of a KeyError."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from .errors import InternalError

T = TypeVar("T")


class Fields:
    """A JSON object whose fields are read by the type they must have. Fields nobody asks for are left alone."""

    __slots__ = ("_values",)

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise InternalError("the server's answer is not an object")
        self._values: dict[str, Any] = value

    def _get(self, name: str, kind: type[T] | tuple[type[T], ...]) -> T | None:
        value = self._values.get(name)
        if value is None:
            return None
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise InternalError(f"the server's answer is not what this version knows: {name} is no {kinds[0].__name__}")
        return value

    def _need(self, name: str, value: T | None) -> T:
        if value is None:
            raise InternalError(f"the server's answer is not what this version knows: {name} is missing")
        return value

    def text(self, name: str) -> str:
        return self._need(name, self._get(name, str))

    def text_or_none(self, name: str) -> str | None:
        return self._get(name, str)

    def integer(self, name: str) -> int:
        return self._need(name, self._get(name, int))

    def integer_or_none(self, name: str) -> int | None:
        return self._get(name, int)

    def number(self, name: str) -> float:
        return float(self._need(name, self._get(name, (float, int))))

    def number_or_none(self, name: str) -> float | None:
        value = self._get(name, (float, int))
        return None if value is None else float(value)

    def flag(self, name: str) -> bool:
        return bool(self._get(name, bool))

    def time(self, name: str) -> datetime:
        return self._need(name, self.time_or_none(name))

    def time_or_none(self, name: str) -> datetime | None:
        text = self._get(name, str)
        if text is None:
            return None
        try:
            # Python 3.10 does not know the Z.
            return datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            raise InternalError(f"the server's answer is not what this version knows: {name} is no time") from None

    def texts(self, name: str) -> list[str]:
        return [item for item in self._get(name, list) or [] if isinstance(item, str)]

    def mapping(self, name: str) -> dict[str, str]:
        return {key: value for key, value in (self._get(name, dict) or {}).items() if isinstance(value, str)}

    def numbers(self, name: str) -> dict[str, float]:
        values = (self._get(name, dict) or {}).items()
        return {key: float(value) for key, value in values if isinstance(value, (int, float))}

    def part(self, name: str, parse: Callable[[Fields], T]) -> T:
        return self._need(name, self.part_or_none(name, parse))

    def part_or_none(self, name: str, parse: Callable[[Fields], T]) -> T | None:
        value = self._get(name, dict)
        return None if value is None else parse(Fields(value))

    def parts(self, name: str, parse: Callable[[Fields], T]) -> list[T]:
        return [parse(Fields(item)) for item in self._get(name, list) or []]

    def any(self, name: str) -> Any:
        return self._values.get(name)

    def object_or_none(self, name: str) -> dict[str, Any] | None:
        return self._get(name, dict)

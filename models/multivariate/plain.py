"""A River model as plain values and back, exactly, without pickle.

The object graph is walked: numbers, text, containers, numpy arrays, `random.Random`, `functools.partial` and instances
of River's own classes. Each object that is no plain value gets a number where it is met first, so that what was one
object is one object again. Nothing else is taken, in either direction: a name that is not River's and not in the short
list below is never looked up, so reading runs no code but River's `__setstate__`.
"""

from __future__ import annotations

import collections
import copyreg
import functools
import importlib
import random
from typing import Any, Final

import msgspec
import numpy as np

_BUILTINS: Final[dict[str, type]] = {
    "builtins:bool": bool,
    "builtins:dict": dict,
    "builtins:float": float,
    "builtins:int": int,
    "builtins:list": list,
    "builtins:str": str,
    "builtins:tuple": tuple,
    "collections:deque": collections.deque,
}
_RIVER: Final = "river."
_CYTHON: Final = "__pyx_unpickle_"
"""Beginning of the names of the functions that make Cython's objects from their state."""
_LARGEST_INT: Final = 1 << 63
_NUMERIC: Final = "biufc"


def encode(model: object) -> bytes:
    """The model as msgpack. Raises ValueError that names what cannot be saved, and where in the model it is."""
    return msgspec.msgpack.encode(_Encoder().of(model, type(model).__name__))


def decode(data: bytes) -> Any:
    """The model again. Raises ValueError where the bytes are not what `encode` gives."""
    try:
        return _Decoder().of(msgspec.msgpack.decode(data))
    except (msgspec.DecodeError, TypeError, LookupError, AttributeError, RecursionError, ImportError) as error:
        raise ValueError(f"state of a River model is damaged: {error!r}") from error


class _Encoder:
    """Everything but plain values becomes [kind, …]; `seen` keeps objects alive, so that their ids stay theirs."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, object]] = {}

    def of(self, value: Any, where: str) -> Any:
        """The value in plain form."""
        if value is None or type(value) in (bool, float, str, bytes):
            return value
        if type(value) is int:
            return value if -_LARGEST_INT <= value < _LARGEST_INT else ["int", str(value)]
        if isinstance(value, np.generic):
            return ["scalar", value.dtype.str, self._bytes(value, where)]
        if isinstance(value, type) or (callable(value) and not hasattr(value, "__dict__")):
            return ["name", _name_of(value, where)]
        if id(value) in self._seen:
            return ["same", self._seen[id(value)][0]]
        self._seen[id(value)] = (len(self._seen), value)
        return self._object(value, where)

    def _object(self, value: Any, where: str) -> list[Any]:
        kind = type(value)
        if kind in (list, tuple, collections.deque):
            head = [value.maxlen] if kind is collections.deque else []
            return [kind.__name__, *head, *(self.of(one, f"{where}[{at}]") for at, one in enumerate(value))]
        if kind in _DICT_KINDS:
            factory = self.of(getattr(value, "default_factory", None), where)
            pairs = [[self.of(key, where), self.of(one, f"{where}[{key!r}]")] for key, one in value.items()]
            return [kind.__name__, factory, *pairs]
        if kind.__module__.startswith(_RIVER):
            return self._instance(value, where)
        return self._leaf(value, where)

    def _leaf(self, value: Any, where: str) -> list[Any]:
        kind = type(value)
        if kind is np.ndarray:
            return ["array", value.dtype.str, list(value.shape), self._bytes(value, where)]
        if kind is random.Random:
            version, words, gauss = value.getstate()
            return ["random", version, list(words), gauss]
        if kind is functools.partial:
            parts = (value.func, list(value.args), dict(value.keywords))
            return ["partial", *(self.of(part, where) for part in parts)]
        raise ValueError(f"{where} is a {kind.__module__}.{kind.__qualname__}, which cannot be saved without pickle")

    def _instance(self, value: Any, where: str) -> list[Any]:
        """What makes it, the arguments of that, and its state, as pickle's protocol 2 asks objects for them."""
        made, arguments, state, *more = (*value.__reduce_ex__(2), None, None, None, None)[:5]
        way = "call"
        if made is copyreg.__newobj__:  # type: ignore[attr-defined]
            made, *arguments = arguments
            way = "new"
        name = _name_of(made, where)
        if any(part is not None for part in more):
            raise ValueError(f"{where} is a container of its own kind ({name}), which cannot be saved")
        parts = (list(arguments), state)
        return [way, name, *(self.of(part, f"{where}.{name}") for part in parts)]

    @staticmethod
    def _bytes(value: Any, where: str) -> bytes:
        if value.dtype.kind not in _NUMERIC:
            raise ValueError(f"{where} is an array of {value.dtype}; only numbers are saved")
        return bytes(value.tobytes())


class _Decoder:
    def __init__(self) -> None:
        self._known: list[Any] = []

    def of(self, plain: Any) -> Any:
        """The value again."""
        if not isinstance(plain, list):
            return plain
        if not plain:
            raise ValueError("state of a River model holds an object of no kind")
        kind, *rest = plain
        if kind == "int":
            return int(rest[0])
        if kind == "scalar":
            return np.frombuffer(rest[1], dtype=_numeric(rest[0]))[0]
        if kind == "name":
            return _named(rest[0])
        if kind == "same":
            return self._known[rest[0]]
        place = len(self._known)
        self._known.append(None)
        return self._object(kind, rest, place)

    def _object(self, kind: str, rest: list[Any], place: int) -> Any:
        known = self._known
        if kind == "tuple":
            known[place] = tuple(self.of(one) for one in rest)
        elif kind == "list":
            known[place] = []
            known[place].extend(self.of(one) for one in rest)
        elif kind in _DICTS:
            known[place] = _DICTS[kind](self.of(rest[0]))
            known[place].update((self.of(key), self.of(one)) for key, one in rest[1:])
        elif kind == "deque":
            known[place] = collections.deque(maxlen=rest[0])
            known[place].extend(self.of(one) for one in rest[1:])
        elif kind == "array":
            known[place] = np.frombuffer(rest[2], dtype=_numeric(rest[0])).reshape(rest[1]).copy()
        elif kind == "random":
            known[place] = random.Random()  # noqa: S311  a model's own generator, not a secret
            known[place].setstate((rest[0], tuple(rest[1]), rest[2]))
        elif kind == "partial":
            function, arguments, keywords = (self.of(part) for part in rest)
            known[place] = functools.partial(function, *arguments, **keywords)
        elif kind in ("new", "call"):
            self._instance(kind, rest, place)
        else:
            raise ValueError(f"state of a River model holds a {kind!r}")
        return known[place]

    def _instance(self, kind: str, rest: list[Any], place: int) -> None:
        made, arguments = _named(rest[0]), self.of(rest[1])
        if not isinstance(made, type) and not made.__name__.startswith(_CYTHON):
            raise ValueError(f"state of a River model calls {rest[0]!r}, which makes no object")
        one = made.__new__(made, *arguments) if kind == "new" else made(*arguments)
        self._known[place] = one
        state = self.of(rest[2])
        if state is None:
            return
        if hasattr(one, "__setstate__"):
            one.__setstate__(state)
            return
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        for name, value in {**(attributes or {}), **(slots or {})}.items():
            object.__setattr__(one, name, value)


_DICT_KINDS: Final = (dict, collections.defaultdict, collections.Counter, collections.OrderedDict)
_DICTS: Final[dict[str, Any]] = {
    "dict": lambda _: {},
    "defaultdict": collections.defaultdict,
    "Counter": lambda _: collections.Counter(),
    "OrderedDict": lambda _: collections.OrderedDict(),
}


def _name_of(value: Any, where: str) -> str:
    name = f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', '')}"
    if name not in _BUILTINS and not name.startswith(_RIVER):
        raise ValueError(f"{where} needs {name}, which is not River's")
    return name


def _named(name: str) -> Any:
    if name in _BUILTINS:
        return _BUILTINS[name]
    module, _, qualified = name.partition(":")
    if not module.startswith(_RIVER) or "." in qualified:
        raise ValueError(f"state of a River model names {name!r}, which is not River's")
    found = getattr(importlib.import_module(module), qualified)
    if getattr(found, "__module__", "") != module or not callable(found):
        raise ValueError(f"state of a River model names {name!r}, which is not River's")
    return found


def _numeric(name: str) -> np.dtype[Any]:
    dtype = np.dtype(name)
    if dtype.kind not in _NUMERIC:
        raise ValueError(f"state of a River model holds an array of {dtype}")
    return dtype

"""A module that has exactly the names of `surface.json`, takes exactly their arguments, and records what is called.

What the bindings lack is an error here too: an unknown name, an argument too many or too few, one of another type, a
property that cannot be set, an object that cannot be made. What methods *do* is given from outside (`behaviour`).
"""

from __future__ import annotations

import enum
import inspect
import json
from pathlib import Path
from types import SimpleNamespace

SURFACES = json.loads((Path(__file__).parent / "surface.json").read_text())
ALIASES = {"IParserError": "ParserError"}


class Record:
    """What was called, in order, and which names were used at all."""

    def __init__(self):
        self.calls = []
        self.used = set()

    def names(self, *wanted):
        """The calls among some names, in order."""
        return [call for call, *_ in self.calls if call in wanted]

    def arguments(self, name):
        """The arguments of every call of one name."""
        return [arguments for call, arguments in self.calls if call == name]


class FakeObject:
    """Base of all classes of the fake."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "_spec" in cls.__dict__:
            return
        for name, value in cls.__dict__.items():  # a subclass of the user's: what it overrides is called by the library
            if name in cls._spec["methods"] and name != "__init__":
                names = [argument for argument, *_ in cls._spec["methods"][name][0]["args"]]
                assert list(inspect.signature(value).parameters)[1:] == names, f"{cls.__name__}.{name} takes {names}"

    def __init__(self, *args, **kwargs):
        cls = self._bound()
        assert "__init__" in cls._spec["methods"], f"{cls.__name__} cannot be made, only returned"
        self.__dict__["own"] = SimpleNamespace()
        self._call("__init__", args, kwargs)

    @classmethod
    def _bound(cls):
        """The generated class itself, for an instance of a user's subclass too."""
        return next(base for base in cls.__mro__ if "_spec" in base.__dict__)

    @classmethod
    def returned(cls, **state):
        """An instance as the library would return it; what the fake knows of it lies in `.own`, out of the way."""
        made = cls.__new__(cls)
        made.__dict__["own"] = SimpleNamespace(**state)
        return made

    def _call(self, name, args, kwargs):
        cls = self._bound()
        record, module = cls._module._record, cls._module
        bound, returns = bind(f"{cls.__name__}.{name}", cls._spec["methods"][name], args, kwargs, module)
        record.calls.append((f"{cls.__name__}.{name}", bound))
        record.used.add((cls.__name__, name))
        behaviour = module._behaviour.get((cls.__name__, name))
        if behaviour is not None:
            return behaviour(self, **bound)
        return module._default(returns)

    def __getattr__(self, name):
        cls = type(self)._bound()
        if name in cls._spec["methods"]:
            return lambda *args, **kwargs: self._call(name, args, kwargs)
        if name in cls._spec["properties"]:
            cls._module._record.used.add((cls.__name__, name))
            behaviour = cls._module._behaviour.get((cls.__name__, name))
            assert behaviour is not None, f"the fake does not know {cls.__name__}.{name}"
            return behaviour(self)
        raise AttributeError(f"TensorRT {cls._module.__version__}: {cls.__name__} has no {name}")

    def __setattr__(self, name, value):
        cls = type(self)._bound()
        if name in cls._spec["properties"]:
            if not cls._spec["properties"][name]:
                raise AttributeError(f"{cls.__name__}.{name} cannot be set")
            cls._module._record.used.add((cls.__name__, name))
            cls._module._record.calls.append((f"{cls.__name__}.{name}=", value))
        elif type(self) is cls:
            raise AttributeError(f"TensorRT {cls._module.__version__}: {cls.__name__} has no {name}")
        self.__dict__[name] = value


class FakeModule:
    """The bindings of one library and version: a key of `SURFACES`."""

    def __init__(self, which, behaviour):
        surface = SURFACES[which]
        self.__version__ = surface["version"]
        self._behaviour = behaviour
        self._record = Record()
        for name, spec in surface["classes"].items():
            self.__dict__[name] = self._enum(name, spec) if spec["members"] else self._class(name, spec)

    def _enum(self, name, spec):
        return enum.Enum(name, spec["members"], type=Number)

    def _class(self, name, spec):
        constants = {constant: constant for constant in spec["constants"]}
        return type(name, (FakeObject,), {"_spec": spec, "_module": self, **constants})

    def _default(self, returns):
        plain = {"None": None, "bool": True, "int": 0, "str": "", "list[str]": []}
        if returns in plain:
            return plain[returns]
        return self.__dict__[ALIASES.get(returns, returns)].returned()

    def __getattr__(self, name):
        raise AttributeError(f"TensorRT {self.__version__} has no {name}, or surface.py does not list it")


class Number:
    """An enumeration's member turns into a number only when asked to, like pybind11's."""

    def __new__(cls, value):
        made = object.__new__(cls)
        made._value_ = value
        return made

    def __int__(self):
        return self._value_


def bind(what, overloads, args, kwargs, module):
    """The arguments by name, after the first overload that takes them; and what it returns."""
    for overload in overloads:
        names = [name for name, *_ in overload["args"]]
        if len(args) > len(names) or not set(kwargs) <= set(names[len(args) :]):
            continue
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        required = {name for name, _, optional in overload["args"] if not optional}
        kinds = {name: kind for name, kind, _ in overload["args"]}
        if required <= set(given) and all(fits(value, kinds[name], module) for name, value in given.items()):
            return given, overload["returns"]
    taken = [[f"{name}: {kind}" for name, kind, _ in overload["args"]] for overload in overloads]
    raise TypeError(f"{what} takes {taken}, got {args} {kwargs}")


def fits(value, kind, module):
    """Whether a value may be passed for a type, in pybind11's rules as far as they are needed."""
    plain = {"str": str, "bool": bool, "tuple": tuple, "list": list, "Buffer": (bytes, bytearray, memoryview)}
    if kind in plain:
        return isinstance(value, plain[kind])
    if kind == "SupportsInt":
        return hasattr(value, "__int__") and not isinstance(value, str)
    if kind == "Dims":
        return isinstance(value, (tuple, list)) and all(isinstance(size, int) for size in value)
    if kind == "object":
        return True
    known = module.__dict__.get(ALIASES.get(kind, kind))
    return known is not None and isinstance(value, known)

"""The cases: a door, one of its arguments and a vile value; or a format and vile contents."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from . import values
from .doors import THEIRS, Door, World, doors, good_arguments
from .formats import FORMATS, Format, contents

SEED = 17

INTO = ("Segmenter.segment.parameters", "Recipe.override.overrides", "Segmenter.load.parameters")
"""Arguments that are tables of parameters: the vile values also go to every parameter of them."""


class Case(NamedTuple):
    """One call."""

    name: str
    run: Callable[[], Any]
    theirs: bool = False
    """Whether an error of the user's own object may come through."""


def all_cases(world: World, seed: int = SEED) -> Iterator[Case]:
    """Every case, the good ones first."""
    values_by_name = values.PLAIN | values.paths(world.folder / "paths")
    for door in doors(world):
        good = good_arguments(door, world)
        yield Case(f"{door.name} (good)", partial(door.call, **good))
        for parameter in door.parameters:
            theirs = (door.name, parameter) in THEIRS
            for name, make in values_by_name.items():
                run = partial(_call, door, world, parameter, make)
                yield Case(f"{door.name}.{parameter} = {name}", run, theirs)
            if f"{door.name}.{parameter}" in INTO:
                yield from _into(door, world, parameter, values_by_name)
            if (door.name, parameter) == ("Segmenter.segment_many", "photos"):
                for name, make in values_by_name.items():
                    yield Case(f"a photo of a batch = {name}", partial(_batch, door, world, make))
    for name, form in FORMATS.items():
        yield from _of_format(name, form, world, seed)


def _into(door: Door, world: World, parameter: str, values_by_name: dict[str, Callable[[], Any]]) -> Iterator[Case]:
    for field in type(world.segmenter.parameters).__struct_fields__:
        for name, make in values_by_name.items():
            run = partial(_call, door, world, parameter, lambda field=field, make=make: {field: make()})
            yield Case(f"{door.name}.{parameter}[{field}] = {name}", run)


def _call(door: Door, world: World, parameter: str, make: Callable[[], Any]) -> None:
    given = good_arguments(door, world)
    _finish(door.call(**{**given, parameter: make()}))


def _batch(door: Door, world: World, make: Callable[[], Any]) -> None:
    """A vile photo costs itself alone: the good ones about it are segmented."""
    from ovdeploy.runtime import Result

    given = good_arguments(door, world)
    before, _, after = door.call(**{**given, "photos": [world.image, make(), world.image]})
    assert isinstance(before, Result) and isinstance(after, Result), "a vile photo cost its neighbours"


def _finish(answer: Any) -> None:
    """Take what an iterator gives, and close what was opened."""
    if hasattr(answer, "__next__"):
        for _ in zip(range(3), answer, strict=False):
            pass
    if hasattr(answer, "close"):
        answer.close()


def _of_format(name: str, form: Format, world: World, seed: int) -> Iterator[Case]:
    folder = world.folder / "formats" / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    yield Case(f"{name} (good)", partial(_read, form, world, folder, partial(form.good, world)))
    for damage, make in contents(form, world, seed).items():
        yield Case(f"{name}: {damage}", partial(_read, form, world, folder, make))


def _read(form: Format, world: World, folder: Path, make: Callable[[], bytes]) -> None:
    for file in folder.iterdir():
        if not form.kept or file.name == form.file:
            file.unlink()
    (folder / form.file).write_bytes(make())
    form.read(world, folder / form.file)


def chosen(cases: list[Case], count: int | None, seed: int, always: list[str]) -> list[int]:
    """Which cases a run tries: some by chance, the good ones, and those that are known to fail.

    Args:
        cases: all.
        count: how many by chance; None means all.
        seed: of the chance.
        always: names of others.
    """
    if count is None or count >= len(cases):
        return list(range(len(cases)))
    picked = set(random.Random(seed).sample(range(len(cases)), count))
    picked |= {index for index, case in enumerate(cases) if case.name.endswith("(good)") or case.name in always}
    return sorted(picked)

"""Sentences about a scene, in varied words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NOUNS = ("thing", "object", "shape", "toy")
OPENINGS = (
    "",
    "a photo of ",
    "a picture of ",
    "there is ",
    "we see ",
    "a scene with ",
    "here are ",
    "a close view of ",
)
BEFORE = ("on", "in front of", "with", "above", "near", "over")
JOINED = (" and ", " next to ", " beside ", " with ", ", ")
NOTHING_BUT = ("nothing but", "only", "a lot of", "some")


def captions_of(
    rng: np.random.Generator, things: Sequence[tuple[str, str]], stuff: Sequence[str], count: int = 3
) -> tuple[str, ...]:
    """Captions of a scene.

    Args:
        rng: chooses the words.
        things: name and silhouette of each thing in sight.
        stuff: names of the stuff in sight.
        count: how many captions.
    """
    return tuple(_caption(rng, things, stuff) for _ in range(count))


def phrase(rng: np.random.Generator, name: str, noun: str) -> str:
    """A thing in words: "a red striped star", "the red striped thing", "red striped"."""
    chance = rng.random()
    word = f" {noun}" if chance < 0.5 else f" {rng.choice(NOUNS)}" if chance < 0.8 else ""
    article = str(rng.choice(("a", "the", "one")))
    return f"{'an' if article == 'a' and name[0] in 'aeiou' else article} {name}{word}"


def _caption(rng: np.random.Generator, things: Sequence[tuple[str, str]], stuff: Sequence[str]) -> str:
    ground = " and ".join(stuff)
    if not things:
        return f"{rng.choice(NOTHING_BUT)} {ground}"
    named = [phrase(rng, *things[i]) for i in rng.permutation(len(things))[:5]]
    listed = ", ".join(named[:-1])
    said = f"{listed}{rng.choice(JOINED)}{named[-1]}" if listed else named[-1]
    where = f" {rng.choice(BEFORE)} {ground}" if stuff and rng.random() < 0.85 else ""
    return f"{rng.choice(OPENINGS)}{said}{where}"

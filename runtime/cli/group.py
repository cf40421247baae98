"""The group of all subcommands: what each is for, without importing it; what may have been meant by a mistyped one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from ..errors import one_of
from .failing import asks_for_json, tell_json

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "ovdeploy.commands"

SUMMARIES = {
    "segment": "Name every pixel of photos.",
    "batch": "Make a table of a million photos, and resume.",
    "prompt": "Segment one object by points, a box or a mask.",
    "everything": "Find every thing in photos, without words.",
    "track": "Follow things through a video, pointed out or named.",
    "inspect": "Show what a bundle holds, and verify every file.",
    "doctor": "Tell what works here, and how to install the rest.",
    "evaluate": "Measure accuracy on labelled photos.",
    "bench": "Measure time and memory, side by side.",
    "profile": "Show where the time of every stage goes.",
    "parity": "Prove that engines agree with PyTorch.",
    "lint": "Find what TensorRT would refuse in the graphs.",
    "build-plans": "Build plans for NVIDIA GPUs.",
    "calibrate": "Make INT8 or FP8 engines from your photos.",
    "tune": "Fit thresholds to labelled photos.",
    "layers": "Measure CLIP's blocks on your photos.",
    "sign": "Sign a bundle, so that others can tell it is yours.",
    "scenes": "Draw scenes with exact label maps.",
}
"""What `--help` says of the commands of this package; those of others are imported for it."""

ELSEWHERE = {
    "export": "bundles are made by a command of its own, where PyTorch is: export-engines RECIPE",
    "export-engines": "that is a command of its own: export-engines RECIPE",
    "version": "that is an option: ovdeploy --version",
    "help": "that is an option: ovdeploy --help",
}
"""Answers to what people may look for among the subcommands."""

GIVEN = "ovdeploy.given"
"""Key of a context's `meta`: the command line, as it came."""

WIDTH = 60
"""Characters of a summary in `--help`."""


class Commands(click.Group):
    """A group whose commands are entry points. Only the one that is called is imported."""

    @cached_property
    def found(self) -> dict[str, EntryPoint]:
        """Entry points by name."""
        from importlib.metadata import entry_points

        return {point.name: point for point in entry_points(group=GROUP)}

    def list_commands(self, context: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted(self.found)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of this name, imported now."""
        if name not in self.found:
            return None
        command: click.Command = self.found[name].load()
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is called; an unknown name is answered with the likeliest."""
        name = str(args[0])
        if name not in self.found and not name.startswith("-"):
            context.fail(ELSEWHERE.get(name) or one_of("command", name, self.found))
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command is for."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(context, name)) for name in self.list_commands(context)])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line, up to the subcommand."""
        given = tuple(args)
        with self._told(given):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[GIVEN] = given
        return context

    def invoke(self, context: click.Context) -> Any:
        """Call the subcommand."""
        with self._told(context.meta[GIVEN]):
            return super().invoke(context)

    def _summary(self, context: click.Context, name: str) -> str:
        if name in SUMMARIES and self.found[name].value.startswith("ovdeploy."):
            return SUMMARIES[name]
        try:
            command = self.get_command(context, name)
        except Exception as error:  # of somebody else's package; the other commands are fine
            return textwrap.shorten(f"(cannot be imported: {error})", WIDTH)
        return command.get_short_help_str(WIDTH) if command else ""

    def _called(self, given: Sequence[str]) -> click.Command:
        """The subcommand of a command line that was read; what it raises itself does not say where."""
        name = next(word for word in given if word in self.found)
        return self.get_command(click.Context(self), name) or self

    @contextmanager
    def _told(self, given: Sequence[str]) -> Iterator[None]:
        """Tell a wrong command line as JSON too, if that was asked for; click writes its sentences and ends."""
        try:
            yield
        except click.UsageError as error:
            command = error.ctx.command if error.ctx else self._called(given)
            if asks_for_json(command, given):
                tell_json("UsageError", error.format_message(), exit_code=error.exit_code)
            raise

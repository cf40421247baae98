"""Common ground of the commands: options that several take, and how they are read."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from ..backends.options import MOST_THREADS
from ..errors import one_of
from ..geometry.limits import DEVICES
from .failing import Command
from .failing import fail_cleanly as fail_cleanly


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """`NAME=VALUE` pairs of `--set`, the values as TOML would read them.

    Raises:
        click.BadParameter: not a pair, or not a value.
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{setting!r}: expected NAME=VALUE, for example --set stride=112")
        parsed[name.strip()] = _value(text.strip(), setting)
    return parsed


def parse_pairs(weights: Iterable[str]) -> dict[str, str]:
    """`ROLE=SOURCE` pairs of `--weights`.

    Raises:
        click.BadParameter: not a pair.
    """
    parts = [(weight, *weight.partition("=")) for weight in weights]
    for weight, role, _, source in parts:
        if not role or not source:
            raise click.BadParameter(f"{weight!r}: expected ROLE=SOURCE, for example --weights clip=clip.safetensors")
    return {role: source for _, role, _, source in parts}


class Choice(click.Choice):
    """One of some words; another is answered with the likeliest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word, or an error that lists the valid ones."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(one_of("value", value, map(str, self.choices)), param, ctx)


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator that adds several options, in their order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def verify_option(command: Command) -> Command:
    """`--verify-key`, for commands that load bundles, and for their child processes: by the environment."""

    @functools.wraps(command)
    def wrapped(*args: Any, verify_key: Path | None, **kwargs: Any) -> Any:
        if verify_key is None:
            return command(*args, **kwargs)
        from ..bundle.signature import VERIFY_VARIABLE

        before = os.environ.get(VERIFY_VARIABLE)
        os.environ[VERIFY_VARIABLE] = str(verify_key)
        try:
            return command(*args, **kwargs)
        finally:
            if before is None:
                del os.environ[VERIFY_VARIABLE]
            else:
                os.environ[VERIFY_VARIABLE] = before

    told = "Refuse a bundle that was not signed with this key's private half (`ovdeploy sign`)."
    option = click.option("--verify-key", type=click.Path(path_type=Path), metavar="PUBLIC.pem", help=told)
    return option(wrapped)  # type: ignore[return-value]


def either_bundle(command: Command) -> Command:
    """`--bundle BUNDLE`, or BUNDLE by itself, for commands that take nothing else by its place."""

    @functools.wraps(command)
    def wrapped(*args: Any, bundle: Path | None, placed: Path | None, **kwargs: Any) -> Any:
        if bundle and placed and bundle != placed:
            raise click.UsageError(f"two bundles are given: --bundle {bundle}, and {placed}")
        if not (bundle or placed):
            raise click.UsageError("Missing option '--bundle'.", click.get_current_context())
        return command(*args, bundle=bundle or placed, **kwargs)

    told = f"{BUNDLE_HELP} BUNDLE by itself means the same."
    option = click.option("--bundle", type=click.Path(path_type=Path), help=told)
    return together(
        click.argument("placed", required=False, metavar="[BUNDLE]", type=click.Path(path_type=Path)), option
    )(wrapped)  # type: ignore[return-value]


BUNDLE_HELP = "A folder that export-engines wrote."
bundle_argument = together(either_bundle, verify_option)
bundle_option = together(
    click.option("--bundle", required=True, type=click.Path(path_type=Path), help=BUNDLE_HELP), verify_option
)
parameter_options = together(
    click.option(
        "--parameters",
        "overlay",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Override parameters by a file, as `ovdeploy tune` writes it; --set goes before it.",
    ),
    click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Override a parameter; may be repeated."
    ),
)
engine_options = together(
    click.option("--backend", default="auto", show_default=True, help="What runs the engines."),
    click.option(
        "--precision",
        default="fp32",
        show_default=True,
        help="One that the bundle holds; auto: the fastest on this CPU.",
    ),
)
thread_option = click.option(
    "--threads",
    type=click.IntRange(1, MOST_THREADS),
    help="Threads within an operator.  [default: the backend's choice]",
)
gpu_options = together(
    click.option(
        "--device", type=click.IntRange(0, DEVICES), default=0, show_default=True, help="Which GPU, if one is used."
    ),
    click.option(
        "--allow-fallback", is_flag=True, help="Let the CPU do what a GPU provider cannot; else it is an error."
    ),
    click.option("--allow-host-code", is_flag=True, help="Open version-compatible TensorRT plans; trust their source."),
    click.option(
        "--backend-option",
        "backend_options",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda context, option, given: dict(_pair(text) for text in given),
        help="An option that only this backend has, such as cuda-graphs=off for tensorrt-rtx; may be repeated.",
    ),
)


def read_overrides(overlay: Path | None, settings: tuple[str, ...]) -> dict[str, Any]:
    """The overrides that `parameter_options` mean.

    Raises:
        ParameterError: the file cannot be used.
        click.BadParameter: a setting is not a pair, or not a value.
    """
    from ..recipe.parameters_file import load_parameters

    return {**(load_parameters(overlay) if overlay else {}), **parse_settings(settings)}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise click.BadParameter(f"{text!r}: expected NAME=VALUE, for example cuda-graphs=off")
    return name.strip(), value.strip()


def _value(text: str, setting: str) -> Any:
    words: dict[str, bool] = {"true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise click.BadParameter(f"{setting!r}: expected a number, true or false")

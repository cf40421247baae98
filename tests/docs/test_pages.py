"""README and the pages of documentation: their Python runs, their commands exist, their examples run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from support.samples import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
LONGEST_README = 150


def blocks(path: Path, *languages: str) -> list[str]:
    fence = rf"```(?:{'|'.join(languages)})\n(.*?)```"
    return re.findall(fence, path.read_text(encoding="utf-8"), re.DOTALL)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def as_after_the_demo(complete_bundle, tmp_path, monkeypatch):
    """The folder of somebody who has run `make demo`; its bundle is one of random weights."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "tiny").symlink_to(complete_bundle)
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "coffee.jpg").symlink_to(ROOT / "engines" / "coffee.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


FURTHER = {
    "grounded.md": ("demo/grounded", "micro_grounded_bundle"),
    "video.md": ("demo/sam2-tiny", "micro_video_bundle"),
}
"""What else a page takes as exported: its folder, and the fixture of a bundle of its kind."""


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_the_pythons_of_a_page_run(page, as_after_the_demo, request):
    """Every block, in order, as a user would run it after `make demo` and the page's own commands."""
    if page.name in FURTHER:
        folder, fixture = FURTHER[page.name]
        (as_after_the_demo / folder).symlink_to(request.getfixturevalue(fixture))
        (as_after_the_demo / "photo.jpg").symlink_to(ROOT / "engines" / "coffee.jpg")
    scope: dict = {}
    for block in blocks(page, "python"):
        exec(block, scope)


def parses(line: str) -> bool:
    """Whether click reads a line of `ovdeploy` or `export-engines`: the command, its options and their values."""
    from ovdeploy.export.commands import export_engines
    from ovdeploy.runtime.cli import main

    name, *words = shlex.split(line, comments=True)
    command = export_engines
    if name == "ovdeploy" and not words[0].startswith("-"):
        name, *words = words
        found = main.get_command(click.Context(main), name)
        assert found is not None, line
        command = found
    elif name == "ovdeploy":
        command = main
    try:
        with command.make_context(name, words) as context:
            assert not context.args
    except click.exceptions.Exit:  # --help and --version, which write their answer
        return True
    except click.UsageError as error:
        raise AssertionError(f"{line}: {error.format_message()}") from error
    return True


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_of_a_page_can_be_called(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()  # what one of them wants to be there
    shell = "\n".join(blocks(page, "sh", "console")).replace("\\\n", " ")
    lines = [line.strip() for line in shell.splitlines()]
    assert all(parses(line) for line in lines if re.match(r"(ovdeploy|export-engines)\b", line))


def test_the_examples_in_the_commands_help_can_be_called(tmp_path, monkeypatch):
    from ovdeploy.export.commands import export_engines
    from ovdeploy.runtime.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    commands = [export_engines, *(main.get_command(click.Context(main), name) for name in sorted(main.found))]
    lines = [line.strip() for command in commands for line in (command.help or "").splitlines()]
    examples = [line.partition("   (")[0] for line in lines if re.match(r"(ovdeploy|export-engines) [a-z]", line)]
    assert len(examples) > 30 and all(map(parses, examples))


def test_there_are_commands_and_python_to_test():
    readme = ROOT / "README.md"
    assert blocks(readme, "python") and "export-engines" in "\n".join(blocks(readme, "sh"))


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_the_examples_run(example, complete_bundle, tmp_path):
    done = subprocess.run(
        [sys.executable, example, complete_bundle], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example shows something"


def test_the_readme_is_a_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= LONGEST_README


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"([\w/-]+\.md)", (ROOT / "mkdocs.yml").read_text()))
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert there == listed


def test_pages_and_files_say_nothing_of_a_machine():
    for path in [*PAGES, *EXAMPLES, ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", ROOT / "Makefile"]:
        assert not re.search(r"/(home|root|tmp/[a-z]+|work)/", path.read_text(encoding="utf-8")), path

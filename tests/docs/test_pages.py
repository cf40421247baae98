"""README and the pages of documentation: their Python runs, their commands exist, their examples run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_the_pythons_of_a_page_run(page, as_after_the_demo):
    """Every block, in order, as a user would run it after `make demo`."""
    scope: dict = {}
    for block in blocks(page, "python"):
        exec(block, scope)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_of_a_page_exist(page):
    """Each `ovdeploy` and `export-engines` line parses: the command is there and so are its options."""
    from ovdeploy.export.commands import export_engines
    from ovdeploy.runtime.cli import main

    shell = "\n".join(blocks(page, "sh", "console")).replace("\\\n", " ")
    for line in (line.strip() for line in shell.splitlines()):
        if not re.match(r"(ovdeploy|export-engines)\b", line):
            continue
        words = line.partition(" #")[0].split()
        command = export_engines if words[0] == "export-engines" else main.get_command(None, words[1])
        assert command is not None, line
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= options | {"--help"}, line


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

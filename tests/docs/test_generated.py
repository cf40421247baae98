"""The pages that are made from the code are what it says today, and say something of everything."""

import importlib
import re
import sys
from types import SimpleNamespace

import msgspec
import pytest

from ovdeploy.runtime import available_recipes
from ovdeploy.runtime.bundle import migration
from support.samples import ROOT


@pytest.fixture(scope="module")
def generate():
    """`docs/generate.py` is a script, and what it is made of lies beside it in no package of ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        patch.setattr(sys, "dont_write_bytecode", True)
        yield importlib.import_module("generate")


@pytest.fixture(scope="module")
def generator(generate):
    """The modules by name."""
    names = ("structs", "pipelines", "recipes", "bundle_format", "markdown")
    return SimpleNamespace(**{name: importlib.import_module(f"generator.{name}") for name in names})


def test_the_pages_are_those_of_the_code(generate):
    assert not generate.stale(), "run: python docs/generate.py"


def test_every_field_is_described(generator):
    pipelines = generator.pipelines.own_pipelines()
    structs = {
        *generator.structs.MANIFEST,
        *generator.recipes.RECIPE,
        *(p.parameters for p in pipelines),
        *(p.sizes for p in pipelines),
    }
    silent = [
        f"{struct.__name__}.{field.name}"
        for struct in structs
        for field in msgspec.structs.fields(struct)
        if not generator.structs.described(struct, field.name)
    ]
    assert not silent, "give these a docstring, or a line in PLAIN"


def test_every_pipeline_recipe_and_version_has_its_row(generate, generator):
    bundle, recipes, _ = generate.pages().values()
    for pipeline in generator.pipelines.own_pipelines():
        for name in (pipeline.name, *pipeline.by_name, *pipeline.parameters.__struct_fields__, *pipeline.baked):
            assert f"`{name}`" in recipes
    assert all(f"| `{name}` |" in recipes for name in available_recipes())
    versions = [int(version) for version, _ in generator.bundle_format.history()]
    assert versions == list(range(1, migration.SCHEMA_VERSION + 1)), "the module of migrations lists them"
    assert all(f"\n| {version} | " in bundle for version in versions)


def test_tables_are_whole_and_pages_hold_nothing_of_a_machine(generate):
    for text in generate.pages().values():
        assert text.startswith("<!-- Made by `python docs/generate.py`")
        for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            assert len({line.count("|") for line in block.splitlines()}) == 1, block
        assert str(ROOT) not in text and not re.search(r"/(home|root|tmp|usr|opt|Users)/|0x[0-9a-f]{6,}", text)


def test_a_pipe_in_a_cell_does_not_end_it(generator):
    assert generator.markdown.table(("a", "b"), [("x | y", "z")]).splitlines()[-1] == "| x &#124; y | z |"

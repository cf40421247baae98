"""What the search decides, by errors that a meter of paper gives."""

from __future__ import annotations

import math
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovdeploy.calib.int8.back import Back
from ovdeploy.calib.int8.meter import Measured
from ovdeploy.calib.int8.search import StageSearch
from ovdeploy.calib.int8.stage import Choice
from ovdeploy.runtime.graph.products import Product
from ovdeploy.runtime.graph.qdq import FORMATS
from ovdeploy.runtime.graph.smooth import Site
from ovdeploy.runtime.recipe.int8 import Int8Settings
from ovdeploy.runtime.reporting import silent

PRODUCTS = [Product(f"n{i}", f"v{i}", f"w{i}", f"b{i // 2}") for i in range(8)]


class Paper:
    """A meter whose products' errors add up like noise, by their limits and the strengths of their sites."""

    def __init__(self, work, errors) -> None:
        self.work, self.errors, self.asked = work, errors, 0

    def of(self, variant, limits, on):
        self.asked += 1
        total = math.sqrt(sum(self.errors(node, variant.strengths, limits) ** 2 for node in on))
        return Measured(1 - total, total)

    def of_engine(self, choice):
        worse = {8: 2.0, 7: 1.0}[choice.weight_bits]
        found = self.of(SimpleNamespace(strengths=choice.strengths), choice.limits, choice.on)
        return Measured(found.cosine, found.relative * worse)

    def limits(self, strengths, method):
        return {product.value: {"minmax": 1.0, "wide": 1.25}[method] for product in self.work.products}

    def close(self):
        pass


def work_of(**settings):
    given = {"ranges": ("minmax", "wide"), "relative": 1.0, "cosine": 0.0, **settings}
    sites = [Site("norm", tuple(PRODUCTS[:2])), *(Site("", (product,)) for product in PRODUCTS[2:])]
    return SimpleNamespace(
        products=PRODUCTS, all=PRODUCTS, settings=Int8Settings(**given), format=FORMATS["int8"], stage="dino",
        sites={site.name: site for site in sites},
    )  # fmt: skip


def searched(errors, **settings):
    work = work_of(**settings)
    search = StageSearch(work, None, "onnxruntime", silent)
    search.meter = Paper(work, errors)
    return search.find()


def plain(node, strengths, limits):
    return 0.01 * (int(node[1:]) + 1)


def test_every_value_gets_the_range_and_the_balancing_that_suit_it():
    def errors(node, strengths, limits):
        index = int(node[1:])
        site = "norm" if index < 2 else f"v{index}"
        right_range = 1.25 if index == 5 else 1.0
        right_strength = 0.5 if index in (0, 1, 4) else 0.0
        return 0.01 * (1 + (limits[f"v{index}"] != right_range) + (strengths[site] != right_strength))

    choice = searched(errors)
    assert choice.method == "search" and choice.relative == pytest.approx(0.01 * math.sqrt(8))
    assert choice.methods == {f"v{i}": "wide" if i == 5 else "minmax" for i in range(8)}
    assert {name for name, strength in choice.strengths.items() if strength} == {"norm", "v4"}


@pytest.mark.parametrize(("gain", "taken"), [(0.95, False), (0.85, True)])
def test_a_multiplication_must_be_worth_its_pass_and_a_norms_division_is_free(gain, taken):
    def errors(node, strengths, limits):
        balanced = strengths["norm" if node in ("n0", "n1") else f"v{node[1:]}"]
        return 0.01 * (gain if balanced and node in ("n0", "n1", "n3") else 2.0 if balanced else 1.0)

    strengths = searched(errors).strengths
    assert strengths["norm"] == 0.5 and bool(strengths["v3"]) == taken and not strengths["v4"]


def test_bits_are_those_of_the_better_engine():
    assert searched(plain).weight_bits == 7
    assert searched(plain, weight_bits=(8,)).weight_bits == 8


def test_what_is_searched_as_a_whole_has_one_range():
    choice = searched(plain, search="stage")
    assert set(choice.methods.values()) == {"minmax"} and set(choice.strengths.values()) == {0.0}


choices = st.lists(st.floats(0, 0.1), min_size=8, max_size=8)


@given(choices, st.floats(0, 0.2), st.sampled_from([0.0, 0.5, 0.8, 1.0]))
def test_the_fewest_products_go_back_that_the_error_asks_for_and_the_share_allows(errors, relative, share):
    by_node = {product.node: error for product, error in zip(PRODUCTS, errors, strict=True)}
    work = work_of(relative=relative, share=share)
    meter = Paper(work, lambda node, strengths, limits: by_node[node])
    choice = Choice(
        smoothing=0.0, method="minmax", limits=dict.fromkeys((p.value for p in PRODUCTS), 1.0), methods={},
        on=tuple(by_node), errors=by_node, table={}, cosine=1.0, relative=0.0,
    )  # fmt: skip
    after = Back(meter, work.settings, [[product] for product in PRODUCTS], silent).put(choice)
    order = sorted(by_node, key=lambda node: -by_node[node])
    allowed = round((1 - share) * 8 - 0.4999)  # down to whole products

    def left(count):
        return math.sqrt(sum(by_node[node] ** 2 for node in order[count:]))

    expected = next((count for count in range(allowed + 1) if left(count) <= relative), allowed)
    assert set(after.on) == set(order[expected:])
    assert meter.asked <= 6, "found by halving"


def test_units_go_back_whole_and_the_cosine_asks_no_share():
    work = work_of(cosine=0.94, share=1.0)
    meter = Paper(work, plain)
    units = [PRODUCTS[i : i + 2] for i in range(0, 8, 2)]
    choice = msgspec.structs.replace(searched(plain), errors={p.node: plain(p.node, {}, {}) for p in PRODUCTS})
    after = Back(meter, work.settings, units, silent).put(choice)
    assert after.on == ("n0", "n1", "n2", "n3") and after.cosine >= 0.94

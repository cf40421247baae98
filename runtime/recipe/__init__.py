"""Recipes: models, method and parameters, as TOML files say them."""

from __future__ import annotations

from .recipe import ModelChoice as ModelChoice
from .recipe import PresetNote as PresetNote
from .recipe import Recipe as Recipe
from .recipe import Tolerances as Tolerances
from .recipe import available_recipes as available_recipes
from .recipe import load_recipe as load_recipe
from .recipe import recipe_from as recipe_from
from .recipe import with_optional as with_optional

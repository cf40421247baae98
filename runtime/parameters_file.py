"""A path that users import: files of parameters are read in `recipe.parameters_file`."""

from .recipe.parameters_file import load_parameters as load_parameters
from .recipe.parameters_file import save_parameters as save_parameters
from .recipe.parameters_file import with_parameters as with_parameters

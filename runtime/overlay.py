"""A path that users import: pictures of a mask are drawn in `pictures`."""

from .pictures.colours import colours_of as colours_of
from .pictures.colours import palette as palette
from .pictures.legend import Entry as Entry
from .pictures.legend import add_legend as add_legend
from .pictures.overlay import draw_overlay as draw_overlay

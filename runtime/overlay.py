"""A path that users import: pictures of a mask are drawn in `photo.overlay`."""

from .photo.overlay import add_legend as add_legend
from .photo.overlay import draw_overlay as draw_overlay
from .photo.overlay import palette as palette

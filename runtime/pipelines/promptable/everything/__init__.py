"""Everything mode: a grid of points over a photo, and the masks that are worth keeping.

The semantics are those of segment_anything's SamAutomaticMaskGenerator; the order of the work is another. Masks whose
IoU estimate is too low are never enlarged, both resizes of the others are one banded matrix an axis and reach only
where a logit can matter, and what is kept of a mask are the bits inside its box.
"""

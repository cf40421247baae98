"""Everything mode beside SamAutomaticMaskGenerator."""

from __future__ import annotations

UPSTREAM = {
    "points_per_side": "points_per_side",
    "prompt_batch": "points_per_batch",
    "iou_threshold": "pred_iou_thresh",
    "stability_threshold": "stability_score_thresh",
    "stability_offset": "stability_score_offset",
    "box_threshold": "box_nms_thresh",
    "crop_layers": "crop_n_layers",
    "crop_box_threshold": "crop_nms_thresh",
    "crop_overlap": "crop_overlap_ratio",
    "crop_points_divisor": "crop_n_points_downscale_factor",
    "min_area": "min_mask_region_area",
}
"""Its names of our parameters."""

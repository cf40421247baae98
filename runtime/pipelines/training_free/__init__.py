"""Training-free open-vocabulary segmentation: CLIP, DINO and SAM joined by a method."""

"""Accuracy on labelled photos: `ovdeploy evaluate`, and its parts for use from Python.

Per photo the mask is compared with the labels, and one line goes to a journal; figures, tables and pictures are made
from the journal. What is computed is said in `metrics` and `boundary`.
"""

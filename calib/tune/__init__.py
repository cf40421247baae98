"""Fitting thresholds on labelled photos: `ovdeploy tune`, and its parts for use from Python.

`axes` says what can be tuned and which values are tried, `search` is the search, `replay` keeps what the engines made
of each photo so that a trial needs none of them, `yardsticks` has what is made better (`things` the F1 of single
things), `fit` puts them together, `noise` asks whether a gain could be luck.
"""

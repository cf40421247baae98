"""Fitting thresholds on labelled photos: `ovdeploy tune`, and its parts for use from Python.

`axes` says what can be tuned and which values are tried, `search` is the search, `replay` keeps what the engines made
of each photo so that a trial needs none of them, `yardsticks` what is made better (`things` has the F1), `fit` puts them together, `noise` asks whether a gain could be luck.
"""

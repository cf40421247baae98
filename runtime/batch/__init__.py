"""Batches: a million photos and more become a table of Parquet, shard by shard, in processes or on many machines.

A plan divides what is there into portions, numbered from 0. A worker does a portion, a process with a segmenter of its
own; a crew of workers hears of every photo, so it knows who hangs and what killed whom. What comes of a portion is
written as one shard, whole or not at all, and a shard that is there is done.
"""

"""INT8 and FP8 from the user's own photos: collecting, ranges, Q/DQ graphs, the gate and its report."""

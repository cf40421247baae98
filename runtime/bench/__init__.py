"""Measuring bundles: what `ovdeploy bench` does.

Every *runner* (the PyTorch reference, a backend with a precision) lives in a process of its own, so that its start and
its memory are its own; the parent asks them in turn, round by round, for the same photo. What a runner is comes from
the entry-point group `ovdeploy.runners`, and the matrix products that the machine's peak is measured with from
`ovdeploy.products`: some of both need PyTorch, and the runtime need not know.
"""

"""A stage on a device: what it is fed, and PyTorch's own module of it."""

from __future__ import annotations

import numpy as np
import torch

from ovdeploy.runtime.backends.measures import example_feeds


def usual_feeds(contract):
    """Inputs of the usual sizes."""
    return example_feeds(contract, {name: axis.usual for name, axis in contract.axes.items()})


def torch_run(module, feeds, device, dtype):
    """A function that runs a reference module on a device, synchronised at the end."""
    module = module.to(device=device, dtype=dtype)
    tensors = [torch.from_numpy(np.array(array)).to(device) for array in feeds.values()]
    tensors = [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors]

    def run():
        with torch.no_grad():
            outputs = module(*tensors)
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()
        return outputs

    return run

"""A stage on a device: what it is fed, PyTorch's own module of it, and a device that is only pretended."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

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


def resident_run(session, feeds):
    """A function that runs a session from arrays on its device to arrays on its device."""
    spread = {name: array if array.ndim == 0 else session.put(name, array) for name, array in feeds.items()}
    sizes = session.contract.check_feeds(feeds)
    into = {spec.name: session.empty(spec.name, **sizes) for spec in session.contract.outputs if _known(spec, sizes)}
    return lambda: session.run(spread, into)


def _known(spec, sizes):
    """Whether an output's shape follows from the inputs' (a head of window logits has axes of its own)."""
    return all(isinstance(dim, int) or dim in sizes for dim in spec.shape)


def pretended(module, device, known):
    """The module with each parameter and buffer replaced by one that claims to be on the device, `known` by id."""
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for name, value in table.items():
                if value is None or value.device == device:
                    continue
                fake = torch.empty_like(value, device=device).requires_grad_(False)
                fake = nn.Parameter(fake) if isinstance(value, nn.Parameter) else fake
                table[name] = known.setdefault(id(value), (fake, value))[0]
    return module

"""Writes down the names, arguments and types of TensorRT's, TensorRT-RTX's and cuda-python's bindings, as installed.

Run as a program it prints the surface of one of them: `python surface.py tensorrt_bindings`. It needs no GPU:
TensorRT's bindings are imported over empty libraries (`test_surface.py` makes them), TensorRT-RTX's as they are. The
result for TensorRT 10.16 and 11.4, TensorRT-RTX 1.7 and cuda-python is kept in `surface.json`; the recording fake is
made from it, so that what the fake accepts the real bindings have.

    PYTHONPATH=tests python tests/runtime/backends/tensorrt/test_surface.py      # writes surface.json again
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys

CLASSES = (
    "Builder",
    "BuilderFlag",
    "DataType",
    "Dims",
    "EngineInspector",
    "ExecutionContextAllocationStrategy",
    "HardwareCompatibilityLevel",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProgressMonitor",
    "ITensor",
    "ITimingCache",
    "LayerInformationFormat",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "ProfilingVerbosity",
    "Runtime",
    "TensorIOMode",
    "TensorLocation",
)
"""TensorRT's classes that the fake has. One that the code begins to use must be added."""

RTX_CLASSES = (
    "ComputeCapability",
    "CudaGraphStrategy",
    "DynamicShapesKernelSpecializationStrategy",
    "EngineValidity",
    "ILayer",
    "IRuntimeCache",
    "IRuntimeConfig",
)
"""Those that are used of TensorRT-RTX alone."""

SIGNATURE = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\) -> (.+)$")


def tensorrt_surface(module):
    names = (*CLASSES, *RTX_CLASSES) if "rtx" in module.__name__ else CLASSES
    classes = {name: class_surface(getattr(module, name)) for name in names}
    return {"version": module.__version__, "classes": classes}


def class_surface(kind):
    found = {"members": {}, "methods": {}, "properties": {}, "constants": []}
    if hasattr(kind, "__members__"):
        found["members"] = {name: int(value) for name, value in kind.__members__.items()}
        return found
    for name in dir(kind):
        value = getattr(kind, name)
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(value, property):
            found["properties"][name] = value.fset is not None
        elif callable(value) and not isinstance(value, type):
            overloads = [parsed(line) for line in (value.__doc__ or "").split("\n") if SIGNATURE.match(line)]
            if overloads:
                found["methods"][name] = overloads
        elif not isinstance(value, type):
            found["constants"].append(name)
    return found


def parsed(line):
    """{"args": [[name, type, is it optional], …], "returns": type} of a line that pybind11 wrote."""
    _, arguments, returns = SIGNATURE.match(line).groups()
    args = []
    for argument in split(arguments):
        name, _, rest = argument.partition(":")
        kind, equals, _ = rest.partition(" = ")
        if name.strip() != "self":
            args.append([name.strip(), short(kind), bool(equals)])
    return {"args": args, "returns": short(returns)}


def split(text):
    """At commas that no bracket encloses."""
    parts, depth, begin = [], 0, 0
    for index, letter in enumerate(text):
        depth += (letter in "([{<") - (letter in ")]}>")
        if letter == "," and not depth:
            parts.append(text[begin:index].strip())
            begin = index + 1
    return [*parts, text[begin:].strip()] if text.strip() else []


def short(kind):
    """A type without its modules, which differ between versions."""
    return re.sub(r"\w+(\.\w+)*\.|\w+::", "", kind.strip())


def cuda_surface(module):
    functions = {}
    for name in dir(module):
        value = getattr(module, name)
        if name.startswith("cuda") and callable(value) and not isinstance(value, type):
            try:
                functions[name] = list(inspect.signature(value).parameters)
            except ValueError:
                continue
    kinds = ("cudaMemcpyKind", "cudaStreamCaptureMode", "cudaError_t")
    enums = {kind: {name: int(value) for name, value in getattr(module, kind).__members__.items()} for kind in kinds}
    enums["cudaError_t"] = {name: value for name, value in enums["cudaError_t"].items() if value in ERRORS}
    wanted = set(FUNCTIONS)
    return {
        "functions": {name: names for name, names in functions.items() if name in wanted},
        "enums": enums,
        "properties": sorted(name for name in dir(module.cudaDeviceProp()) if name in ("name", "major", "minor")),
    }


ERRORS = (0, 1, 2, 35, 700, 900, 901)
"""The error codes that the fake tells; versions differ in others."""

FUNCTIONS = (
    "cudaDriverGetVersion",
    "cudaEventCreate",
    "cudaEventDestroy",
    "cudaEventElapsedTime",
    "cudaEventRecord",
    "cudaFree",
    "cudaFreeHost",
    "cudaGetDevice",
    "cudaGetDeviceCount",
    "cudaGetDeviceProperties",
    "cudaGetErrorString",
    "cudaGetLastError",
    "cudaGraphDestroy",
    "cudaGraphExecDestroy",
    "cudaGraphInstantiate",
    "cudaGraphLaunch",
    "cudaMalloc",
    "cudaMallocHost",
    "cudaMemcpyAsync",
    "cudaSetDevice",
    "cudaStreamBeginCapture",
    "cudaStreamCreateWithFlags",
    "cudaStreamDestroy",
    "cudaStreamEndCapture",
    "cudaStreamSynchronize",
    "cudaThreadExchangeStreamCaptureMode",
)
"""The CUDA runtime's functions that the fake has."""


def main():
    module = importlib.import_module(sys.argv[1])
    of = cuda_surface if sys.argv[1].startswith("cuda") else tensorrt_surface
    print(json.dumps(of(module), sort_keys=True))


if __name__ == "__main__":
    main()

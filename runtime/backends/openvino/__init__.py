"""OpenVINO: sessions on the CPU, and its profiler."""

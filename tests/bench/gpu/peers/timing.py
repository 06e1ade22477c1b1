"""How the peers of this folder time work on a device."""

import json
import time

import torch


def synchronize(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def best(device, work, blocks=5, least_seconds=0.05):
    """Seconds of one call of work(): the best of several blocks of calls that each take a while."""
    work()
    synchronize(device)
    calls, fastest = 1, None
    while True:
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        synchronize(device)
        seconds = time.perf_counter() - begin
        if seconds < least_seconds and calls < 10000:
            calls = max(2 * calls, int(calls * least_seconds / max(seconds, 1e-6)))
            continue
        fastest = min(seconds / calls, fastest or seconds)
        blocks -= 1
        if blocks == 0:
            return fastest


def machine(device):
    if device.type != "cuda":
        return {"device": "cpu"}
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": properties.name,
        "memory": properties.total_memory,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def report(bench, device, **figures):
    print(json.dumps({"bench": bench, "torch": torch.__version__, **machine(device), **figures}), flush=True)

"""What debug switches leave in a run folder: the records of each rank, and what rank 0 has of all of them."""
import pathlib

import runs


def records(run, switch, rank):
    """What a rank wrote down itself."""
    return runs.lines(pathlib.Path(run) / "logs" / "debug" / f"{switch}.rank{rank:03}.jsonl")


def digests(run, switch):
    """The lines at rank 0."""
    return [line for line in runs.lines(pathlib.Path(run) / "debug.jsonl") if line["switch"] == switch]


def findings(run, switch):
    """(rank, text) of what rank 0 was told; the rank is None for what only all ranks together show."""
    return [(one["rank"], one["text"]) for line in digests(run, switch) for one in line.get("findings", [])]

"""Which process holds which connection: read from the kernel, so that nothing has to be believed of the processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Socket", "held", "sharing"]

_ESTABLISHED = "01"


@dataclass(frozen=True, order=True)
class Socket:
    """One end of a TCP connection; two processes that hold the same inode share one connection."""

    inode: int
    port: int
    remote: int


def held(pid: int, remotes: Collection[int]) -> frozenset[Socket]:
    """The connections of a process.

    Args:
        pid: the process; one that has ended holds nothing.
        remotes: ports of the servers that matter.
    """
    try:
        inodes = {_inode(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
        tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    except (FileNotFoundError, ProcessLookupError):
        return frozenset()
    found = (_socket(line.split()) for table in tables for line in table.splitlines()[1:])
    return frozenset(one for one in found if one is not None and one.inode in inodes and one.remote in remotes)


def _inode(link: Path) -> int:
    try:
        target = str(link.readlink())
    except FileNotFoundError:  # closed since it was listed
        return -1
    return int(target[8:-1]) if target.startswith("socket:[") else -1


def _socket(words: list[str]) -> Socket | None:
    if words[3] != _ESTABLISHED:
        return None
    ports = [int(address.rpartition(":")[2], 16) for address in words[1:3]]
    return Socket(int(words[9]), *ports)


def sharing(master: int, holders: Mapping[int, frozenset[Socket]]) -> list[str]:
    """What is wrong with who holds what.

    Args:
        master: the process that forks the others; it must hold nothing.
        holders: what each process holds, the master's own included.

    Returns:
        A line for each connection that is shared, or is the master's.
    """
    faults = [f"the master holds a connection to port {one.remote}" for one in sorted(holders.get(master, ()))]
    every = sorted({one for sockets in holders.values() for one in sockets})
    for one in every:
        pids = sorted(pid for pid, sockets in holders.items() if one in sockets)
        if len(pids) > 1:
            faults.append(f"one connection to port {one.remote} is held by {len(pids)} processes")
    return faults

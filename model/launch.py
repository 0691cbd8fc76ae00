"""The processes of one run, whatever launcher started them: which one is the first, and how it shares its decisions.

torchrun, srun and Lightning (`trainer.devices=2`) start processes. The processes communicate through a TCPStore of
torch.distributed; they need no process group.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from model.errors import RunFailed
from model.interruption import received

# Variable for the processes that Lightning starts. It names the store of the first process: its port, the number of the
# first process in the system, and how many processes the run has.
STORE = "NWAY_CLIP_STORE"
# Names of Slurm's interactive jobs. In such a shell, Slurm's variables say nothing about the commands that are typed.
INTERACTIVE = ("bash", "interactive")
# The key under which the first process publishes its folder, as arguments for the other processes, or its exit code if
# it ended without a folder.
PLACE = "place"
# Seconds that a process waits for the others: after a failure until all have failed; the first process, at its end,
# until the others have read what it has published.
PATIENCE = 30.0
# Seconds between two checks of the store.
PAUSE = 0.1


def by_torchrun() -> bool:
    """Returns whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def by_srun() -> bool:
    """Returns whether srun has started this process, by the same rule as Lightning."""
    return (
        "SLURM_NTASKS" in os.environ
        and "SLURM_PROCID" in os.environ
        and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE
    )


def by_lightning() -> bool:
    """Returns whether Lightning has started this process, as a child of the first process of the run."""
    return f":{os.getppid()}:" in os.environ.get(STORE, "") and os.environ.get("LOCAL_RANK", "0") != "0"


def rank() -> int:
    """Returns the number of this process among the processes of its run; the first process is 0."""
    if by_torchrun() or "RANK" in os.environ:
        return int(os.environ["RANK"])
    if by_srun():
        return int(os.environ["SLURM_PROCID"])
    local, node = (int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", "NODE_RANK"))
    return local if node == 0 else max(1, local)


def first_process() -> bool:
    """Returns whether this is the first process of the run, which alone changes the folder of the run."""
    return rank() == 0


def launched_count() -> int | None:
    """Returns how many processes torchrun or srun has started; None where neither has started this process."""
    if by_torchrun():
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_NTASKS"]) if by_srun() else None


class Board:
    """Values that the processes of a run share, by key. In a run of one process, a dictionary holds them."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._store: Any = None
        self._processes = 1

    def join(self) -> bool:
        """Connects this process to the store of its run; returns whether there is a store."""
        from torch.distributed import PrefixStore, TCPStore

        self._processes = launched_count() or 1
        if by_torchrun() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            agent = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
            self._store = PrefixStore(f"nway_clip/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", agent)
        elif by_srun():
            self._store = TCPStore(slurm_host(), slurm_port(), is_master=first_process(), wait_for_workers=False)
        elif by_lightning():
            port, _, self._processes = (int(part) for part in os.environ[STORE].split(":"))
            self._store = TCPStore("127.0.0.1", port, is_master=False)
        if self._store is not None and not first_process():
            self.publish(f"joined/{rank()}", True)
        return self._store is not None

    def open_store(self, processes: int) -> None:
        """Opens a store with all values published so far, in the process from which Lightning starts the others.

        processes: how many processes the run has.
        """
        from torch.distributed import TCPStore

        if self._store is None:
            self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
            self._processes = processes
            os.environ[STORE] = f"{self._store.port}:{os.getpid()}:{processes}"
            for key, value in self._values.items():
                self._store.set(key, value)

    def close(self) -> None:
        """Forgets all values and the store."""
        self._values, self._store, self._processes = {}, None, 1
        os.environ.pop(STORE, None)

    def publish(self, key: str, value: Any) -> None:
        """Makes `value`, plain data, available to every process under `key`."""
        self._values[key] = json.dumps(value)
        if self._store is not None:
            self._store.set(key, self._values[key])

    def wait_for(self, key: str) -> Any:
        """Returns the value of `key` once it is published. For a process with a store.

        Raises RuntimeError where the process that has opened the store has ended.
        """
        while not self.has(key):
            time.sleep(PAUSE)
        return json.loads(self._store.get(key))

    def agree(self, key: str, decide: Callable[[], Any]) -> Any:
        """Returns in every process what `decide` returns, plain data, in the first one.

        Where `decide` raises an error in the first process, the others raise RunFailed. Processes without a store,
        whose variables were set by hand, each call `decide`.
        """
        if first_process():
            try:
                decision = decide()
            except Exception as error:
                self.publish(key, {"failed": str(error)})
                raise
            self.publish(key, {"decided": decision})
            return decision
        if self._store is None:
            return decide()
        answer = self.wait_for(key)
        if "failed" in answer:
            raise RunFailed(answer["failed"])
        return answer["decided"]

    def has(self, key: str) -> bool:
        """Returns whether `key` has been published."""
        return key in self._values or (self._store is not None and self._store.check([key]))

    def published_by_others(self, key: str) -> Iterator[Any]:
        """Yields the values that other processes have published so far under the keys `key/<rank>`."""
        for other in range(self._processes):
            if other != rank() and self.has(f"{key}/{other}"):
                yield self.wait_for(f"{key}/{other}")

    def all_failed(self, job: str) -> bool:
        """Returns whether a job that failed in this process fails in all processes, so that the next job can begin.

        A process that fails alone must end, because the other processes wait for it in the job.
        """
        if self._store is None:
            return True
        self.publish(f"{job}/failed/{rank()}", True)
        end = time.monotonic() + PATIENCE
        keys = [f"{job}/failed/{other}" for other in range(self._processes)]
        while not all(map(self.has, keys)) and time.monotonic() < end:
            time.sleep(PAUSE)
        if not all(map(self.has, keys)):
            self.publish(f"{job}/left", True)
        return not self.has(f"{job}/left")

    def wait_for_all(self, exit_codes: Callable[[], list[int | None]]) -> None:
        """Waits until all processes have called this method.

        exit_codes: returns the exit codes of the processes that this process has started, None for one that runs.
        Raises RunFailed where one has ended.
        """
        self.publish(f"here/{rank()}", True)
        while not all(self.has(f"here/{other}") for other in range(self._processes)):
            if any(code is not None for code in exit_codes()):
                raise RunFailed("a process of this run has ended before the training began; its own message says why")
            time.sleep(PAUSE)

    def leave(self, exit_code: int) -> None:
        """Ends the part of this process in the run.

        The first process publishes its exit code where it has not published a folder, and waits until the other
        processes have read what it published.
        """
        if self._store is None:
            return
        if not first_process():
            with contextlib.suppress(RuntimeError):  # the first process may have ended
                self.publish(f"left/{rank()}", True)
            return
        others = list(range(1, self._processes))
        if not self.has(PLACE):
            self.publish(PLACE, {"exit": exit_code})
        else:  # the single process of a batch script has the variables of srun too, but no other process joins it
            others = [other for other in others if self.has(f"joined/{other}")]
        end = time.monotonic() + PATIENCE
        while not all(self.has(f"left/{other}") for other in others) and time.monotonic() < end:
            time.sleep(PAUSE)


board = Board()


def slurm_host() -> str:
    """Returns the node of srun's first task: the first of `SLURM_NODELIST`, as in `node[3-5,8]` or `node1 node2`."""
    nodes = os.environ.get("MASTER_ADDR") or os.environ.get("SLURM_NODELIST", "127.0.0.1")
    return re.split(r"[ ,]", re.sub(r"\[(\w+)[^\]]*\]", r"\1", nodes))[0]


def slurm_port() -> int:
    """Returns a port that is the same in every task of a job. Lightning uses a port from 15000 for its own store."""
    digits = "".join(sign for sign in os.environ.get("SLURM_JOB_ID", "0") if sign.isdigit())
    return 25000 + int(digits[-4:] or "0")


def end_with_parent() -> None:
    """Makes a process that Lightning has started end when the first process ends, even while it waits in torch.

    A signal that only this process receives is passed on to the first process.
    """
    parent = os.getppid()
    received.pass_on = lambda number: os.kill(parent, number)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="ends-with-parent").start()

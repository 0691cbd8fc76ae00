"""The processes of one run, whatever launcher started them: which one is the first, and how it tells the others what it
has decided.

torchrun, srun and Lightning (`trainer.devices=2`) start processes. These communicate through a TCPStore of
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

# Tells the processes that Lightning starts where the first one's store is: its port and its process number.
STORE = "NWAY_CLIP_STORE"
# Of Slurm, where a shell was asked for: its variables say nothing about the commands that are typed there.
INTERACTIVE = ("bash", "interactive")
# The key of where the first process runs: arguments for the others, or the exit code with which it ended before.
PLACE = "place"
# Seconds that a process waits for the others: one which has failed, for them to fail alike, and the first one, for them
# to learn that it has ended.
ALIKE = 30.0
# Seconds between two looks.
PAUSE = 0.1


def by_torchrun() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def by_srun() -> bool:
    """Whether srun has started this process, as Lightning decides it."""
    return (
        "SLURM_NTASKS" in os.environ
        and "SLURM_PROCID" in os.environ
        and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE
    )


def by_lightning() -> bool:
    """Whether the first process of this run is the parent of this process."""
    return f":{os.getppid()}:" in os.environ.get(STORE, "") and os.environ.get("LOCAL_RANK", "0") != "0"


def rank() -> int:
    """The number of this process among all of its run; the first is 0."""
    if by_torchrun() or "RANK" in os.environ:
        return int(os.environ["RANK"])
    if by_srun():
        return int(os.environ["SLURM_PROCID"])
    local, node = (int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", "NODE_RANK"))
    return local if node == 0 else max(1, local)


def first_process() -> bool:
    """Whether this process may change the run's folder: of the processes that train together, one does."""
    return rank() == 0


def launched() -> int | None:
    """How many processes torchrun or srun has started; None where neither has started this one."""
    if by_torchrun():
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_NTASKS"]) if by_srun() else None


class Board:
    """Decisions of the first process, by key, for all processes of the run. In a run of one process they are kept in a
    dictionary.
    """

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._store: Any = None
        self._processes = 1

    def open(self) -> bool:
        """Joins the processes that were started together with this one; whether there are any that have a store."""
        from torch.distributed import PrefixStore, TCPStore

        self._processes = launched() or 1
        if by_torchrun() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            agent = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
            self._store = PrefixStore(f"nway_clip/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", agent)
        elif by_srun():
            self._store = TCPStore(slurm_host(), slurm_port(), is_master=first_process(), wait_for_workers=False)
        elif by_lightning():
            port, _, self._processes = (int(part) for part in os.environ[STORE].split(":"))
            self._store = TCPStore("127.0.0.1", port, is_master=False)
        if self._store is not None and not first_process():
            self.tell(f"joined/{rank()}", True)
        return self._store is not None

    def host(self, processes: int) -> None:
        """For the process from which Lightning starts others: opens a store, with all that was told before. processes:
        of the run.
        """
        from torch.distributed import TCPStore

        if self._store is None:
            self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
            self._processes = processes
            os.environ[STORE] = f"{self._store.port}:{os.getpid()}:{processes}"
            for key, value in self._told.items():
                self._store.set(key, value)

    def close(self) -> None:
        """Forgets everything."""
        self._told, self._store, self._processes = {}, None, 1
        os.environ.pop(STORE, None)

    def tell(self, key: str, value: Any) -> None:
        """Lets every process know `value`, plain data."""
        self._told[key] = json.dumps(value)
        if self._store is not None:
            self._store.set(key, self._told[key])

    def ask(self, key: str) -> Any:
        """What was told; waits until it is. Raises RuntimeError where the process that has the store has ended. For
        processes with a store.
        """
        while not self.knows(key):
            time.sleep(PAUSE)
        return json.loads(self._store.get(key))

    def agree(self, key: str, decide: Callable[[], Any]) -> Any:
        """What the first process decides, plain data, in every process. Where `decide` raises an error in the first
        process, all raise one. Processes without a store, whose variables were set by hand, decide each for itself.
        """
        if first_process():
            try:
                decision = decide()
            except Exception as error:
                self.tell(key, {"failed": str(error)})
                raise
            self.tell(key, {"decided": decision})
            return decision
        if self._store is None:
            return decide()
        answer = self.ask(key)
        if "failed" in answer:
            raise RunFailed(answer["failed"])
        return answer["decided"]

    def knows(self, key: str) -> bool:
        """Whether `key` has been told."""
        return key in self._told or (self._store is not None and self._store.check([key]))

    def told_by_others(self, key: str) -> Iterator[Any]:
        """The values that other processes have told so far under the keys `key/<rank>`."""
        for other in range(self._processes):
            if other != rank() and self.knows(f"{key}/{other}"):
                yield self.ask(f"{key}/{other}")

    def failed_alike(self, job: str) -> bool:
        """For a process whose job has failed: whether all others fail in it too, and the next job can begin. One that
        fails alone has to end, as the others wait for it.
        """
        if self._store is None:
            return True
        self.tell(f"{job}/failed/{rank()}", True)
        end = time.monotonic() + ALIKE
        while (
            not (alike := all(self.knows(f"{job}/failed/{other}") for other in range(self._processes)))
            and time.monotonic() < end
        ):
            time.sleep(PAUSE)
        if not alike:
            self.tell(f"{job}/left", True)
        return alike and not self.knows(f"{job}/left")

    def meet(self, exit_codes: Callable[[], list[int | None]]) -> None:
        """Waits until all processes are here. exit_codes: of the processes that this one has started, None of one that
        runs. Raises RunFailed where one has ended.
        """
        self.tell(f"here/{rank()}", True)
        while not all(self.knows(f"here/{other}") for other in range(self._processes)):
            if any(code is not None for code in exit_codes()):
                raise RunFailed("a process of this run has ended before the training began; its own message says why")
            time.sleep(PAUSE)

    def leave(self, exit_code: int) -> None:
        """The end of this process. The others learn of the first one's end where they do not know yet where it runs,
        and it waits until they have read what it told them.
        """
        if self._store is None:
            return
        if not first_process():
            with contextlib.suppress(RuntimeError):  # the first process may have ended
                self.tell(f"left/{rank()}", True)
            return
        others = list(range(1, self._processes))
        if not self.knows(PLACE):
            self.tell(PLACE, {"exit": exit_code})
        else:  # the one process of a batch script has the variables of srun too, and nobody beside it
            others = [other for other in others if self.knows(f"joined/{other}")]
        end = time.monotonic() + ALIKE
        while not all(self.knows(f"left/{other}") for other in others) and time.monotonic() < end:
            time.sleep(PAUSE)


board = Board()


def slurm_host() -> str:
    """Where the first task of srun runs: the first of `SLURM_NODELIST`, as in `node[3-5,8]` or `node1 node2`."""
    nodes = os.environ.get("MASTER_ADDR") or os.environ.get("SLURM_NODELIST", "127.0.0.1")
    return re.split(r"[ ,]", re.sub(r"\[(\w+)[^\]]*\]", r"\1", nodes))[0]


def slurm_port() -> int:
    """The same in every task of a job; Lightning takes a number from 15000 for its own."""
    digits = "".join(sign for sign in os.environ.get("SLURM_JOB_ID", "0") if sign.isdigit())
    return 25000 + int(digits[-4:] or "0")


def end_with_parent() -> None:
    """For a process that Lightning has started: it ends when the first process has ended, also while it waits for that
    in torch. A signal that only this process receives is passed on to the first one.
    """
    parent = os.getppid()
    received.pass_on = lambda number: os.kill(parent, number)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="ends-with-parent").start()

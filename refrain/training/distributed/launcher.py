"""A stage in several processes: each runs the same command again, and the one that started them waits for all.

What torchrun, accelerate or Slurm has started is a worker already: RANK and WORLD_SIZE are in its environment.
"""

import os
import sys

from refrain.pipeline.schema import LaunchConfig


def launch_workers(launch: LaunchConfig) -> bool:
    """True when workers have done what this command asks for; False in a process that is to do it itself.

    ValueError with the reason when a worker fails.
    """
    if "RANK" in os.environ:
        become_worker(launch)
    if "RANK" in os.environ or launch.processes == 1:
        return False
    from refrain.training.distributed import workers  # one process does without

    workers.run_workers(launch.processes)
    return True


def become_worker(launch: LaunchConfig) -> None:
    """Become one of several: only the first speaks, and a traceback goes where the launcher looks for it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count != launch.processes:
        raise ValueError(f"launch.processes={launch.processes}, and WORLD_SIZE says that {count} were started; "
                         f"set launch.processes={count}")  # fmt: skip
    import logging  # what starts no worker does without both
    import traceback

    sys.excepthook = lambda *error: traceback.print_exception(*error, file=sys.stdout)
    if os.environ["RANK"] != "0":
        logging.getLogger("refrain").setLevel(logging.ERROR)

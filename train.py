"""Train n-way CLIP: ``python train.py loss=normsv5 monitor.clip=1.0`` (``--help`` lists the choices)."""

import sys

from model.interruption import Interrupted, listening

if __name__ == "__main__":
    with listening():
        try:
            from model.command import command_line

            sys.exit(command_line())
        except Interrupted as interrupted:  # while modules were being imported
            sys.exit(interrupted.exit_code)

"""Train n-way CLIP: ``python train.py loss=normsv5 monitor.clip=1.0`` (``--help`` lists the choices)."""

import sys

from model.config.cli import command_line

if __name__ == "__main__":
    sys.exit(command_line())

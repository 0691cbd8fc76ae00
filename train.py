"""Trains n-way CLIP: ``python train.py loss=normsv5 monitor.clip=1.0`` (``--help`` lists the choices)."""

from model.interruption import exit_when_interrupted

if __name__ == "__main__":
    with exit_when_interrupted():  # also while the next line imports
        from model.command import main

        main()

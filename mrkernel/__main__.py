"""``python -m mrkernel``."""

from mrkernel.cli import program

if __name__ == "__main__":
    program()

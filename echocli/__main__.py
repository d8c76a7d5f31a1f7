"""``python -m echocli``: the same as the console script."""

from echocli.main import run

if __name__ == "__main__":
    run()

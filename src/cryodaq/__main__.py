"""`python -m cryodaq` is the command line."""

from cryodaq.cli import main

if __name__ == "__main__":
    main()

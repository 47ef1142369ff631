"""`python -m quorate.cmd.utl`."""

from quorate.cmd.utl.main import main

if __name__ == "__main__":
    main()

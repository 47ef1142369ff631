"""`python -m quorate.cmd.ctl`."""

from quorate.cmd.ctl.main import main

if __name__ == "__main__":
    main()

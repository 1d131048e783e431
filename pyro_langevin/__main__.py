"""``python -m pyro_langevin`` is ``pyro-langevin``."""

import sys

from pyro_langevin.cli import main

if __name__ == "__main__":
    sys.exit(main())

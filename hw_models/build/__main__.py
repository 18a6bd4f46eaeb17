"""`python -m hw_models.build SOURCES`."""

import sys

from hw_models.build.devices import main

if __name__ == "__main__":
    sys.exit(main())

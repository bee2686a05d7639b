"""``python -m wirt.lab``."""

import sys

from wirt.lab.main import main

sys.exit(main())

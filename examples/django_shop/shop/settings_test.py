"""The settings of the tests: the shop's, with a container as `.env.example` configures it, whatever the environment."""

import os
from pathlib import Path

for name in [name for name in os.environ if name.startswith(("SHOP_", "WELLWIRED__"))]:
    del os.environ[name]
os.environ["WELLWIRED__ENV_FILE"] = str(Path(__file__).parents[1] / ".env.example")

from shop.settings import *  # noqa: E402, F403

"""``python -m custody.cli``."""

from custody.cli.main import main

main()

"""``python -m VertebralGradingLib.cli``."""

from VertebralGradingLib.cli import main

main()

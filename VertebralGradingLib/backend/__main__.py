"""``python -m VertebralGradingLib.backend``: the worker."""

from VertebralGradingLib.backend.server import main

main()

"""The worker: one process that grades, spoken to in JSON lines. ``python -m VertebralGradingLib.backend`` starts it."""

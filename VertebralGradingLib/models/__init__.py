"""What every learned method shares. torch is imported inside functions only."""

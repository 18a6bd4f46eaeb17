"""The bench: mIOU of a designed sample of specs, measured by short trainings under one protocol."""

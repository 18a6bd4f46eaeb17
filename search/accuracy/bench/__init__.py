"""A bench: mIOU that was measured by training a designed sample of specs under one short protocol."""

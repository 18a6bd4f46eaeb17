"""Data sets, their classes and label maps, and augmentation."""

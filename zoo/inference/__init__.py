"""From image files to label maps, overlays and boxes."""

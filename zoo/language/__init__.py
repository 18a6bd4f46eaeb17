"""Language models: the ESPNetv2 paper's last task, on any text."""

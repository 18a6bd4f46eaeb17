"""What runs a network on the CPU: torch, onnxruntime or OpenVINO, behind one function from images to logits."""

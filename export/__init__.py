"""From torch modules to ONNX graphs and a bundle that the service can open."""

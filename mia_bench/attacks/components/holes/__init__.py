"""Which pixels a restoration has to rebuild: squares, faces, and maps of what matters."""

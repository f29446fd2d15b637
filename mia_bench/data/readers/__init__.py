"""Reading pairs of an image and a caption from files, tables and the hub."""

"""Controls that never query a model: what images, captions and files give away by themselves."""

"""Small tools that know nothing of the project's parts."""

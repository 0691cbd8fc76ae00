"""``python -m model.search``: finds the pictures of a folder that match a text best."""

"""``python -m model.embed``: writes features of pictures and texts to a file of arrays."""

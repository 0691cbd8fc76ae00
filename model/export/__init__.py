"""``python -m model.export``: writes a trained model as a folder that transformers loads without this project."""

"""What a new run starts from: the weights that `init_from` names, and the tokeniser."""

"""n-way CLIP: an image and its captions as 2 to 10 views, contrasted jointly."""

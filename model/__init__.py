"""n-way CLIP: an image and its captions as 2 to 10 views, contrasted jointly."""

from pathlib import Path

# The old module names live in legacy/; delete this line and the folder together.
__path__.append(str(Path(__file__).with_name("legacy")))

"""shapesweep: follow the shape of a language model's hidden states through its training."""

import lazy_loader

__version__ = "0.5.0"
# The estimators are imported when they are first used. They import scipy, which would make
# `shapesweep --help` much slower.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Type aliases for arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Labels = NDArray[np.integer]
Mask = NDArray[np.bool_]
#: Array of points, in float32 or float64.
Points = NDArray[np.floating]

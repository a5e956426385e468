"""Runs every batch kernel on the sample in another mode of the kernels; prints a hash of what each finds.

    run_batches.py compiled|interpreted|simulator

The environment chooses how the kernels run (`run_on_target`).
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings

from tests.batch.samples import found_by
from tests.parity.run_on_target import backend_of

if __name__ == "__main__":
    # Interpreted integers must not overflow where compiled ones are wide enough.
    warnings.simplefilter("error", RuntimeWarning)
    print(json.dumps([hashlib.sha256(array.tobytes()).hexdigest() for array in found_by(backend_of(sys.argv[1]))]))

"""Runs a tiny phone whose every random word is the same; prints what it drew. Started by test_draws.py.

    run_draws.py WORD KEY=VALUE ...

The kernels must be interpreted (NUMBA_DISABLE_JIT=1): then draws can be replaced, and a wild index is an error.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from fleetswap.check.device import Checker
from fleetswap_kernels.device import rng
from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import phone as habits
from tests.properties.contents import wrong_pages
from tests.properties.phones import ready, tiny


def replace_draws(word: int) -> None:
    """Let every draw of the kernels give one word, in all modules that draw."""
    drawn = {
        rng.philox_block: lambda *_: (np.int64(word),) * 4,
        rng.philox_draw: lambda *_: np.int64(word),
        rng.hash_word: lambda *_: np.int64(word),
    }
    for name, module in list(sys.modules.items()):
        if name.startswith("fleetswap_kernels"):
            for key, value in list(vars(module).items()):
                if callable(value) and value in drawn:
                    setattr(module, key, drawn[value])


def main(word: int, settings: list[str]) -> None:
    """Run the phone and print what it is."""
    replace_draws(word)
    scenario = tiny(*settings)
    arena, laid_out = ready(scenario)
    checker = Checker(arena.view(0))
    opened = set()
    for first, end in zip(laid_out.marks, laid_out.marks[1:], strict=False):
        arena.run(laid_out.program, first, end)
        found = [*checker.violations(), *(f"page {page} is wrong" for page in wrong_pages(checker).tolist())]
        if found:
            raise SystemExit("; ".join(found))
        phone = checker.dev.by[checker.dev.scalar("o_phone") * 4 :].view(np.uint32)
        opened |= {int(phone[habits.PHONE_APP])} - {0}
    apps = phone[habits.PHONE_APPS :][: scenario.device_class["phone"].installed_apps * habits.APP_WORDS]
    apps = apps.reshape(-1, habits.APP_WORDS)
    print(
        json.dumps(
            {
                "classes": apps[:, habits.APP_CLASS].tolist(),
                "pages": apps[:, habits.APP_PAGES].tolist(),
                "activity": int(phone[habits.PHONE_ACTIVITY]),
                "opened": sorted(opened),
                "processes": int(np.count_nonzero(checker.dev.proc[:, layout.PROC_USED])),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1], 0), sys.argv[2:])

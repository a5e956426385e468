"""What type checkers see of the public names, which `__init__.py` imports when they are first used."""

from .api import Scenario, compare, resume, run, sweep
from .errors import InputError
from .execution.run_result import RunResult

__version__: str
__all__ = ["InputError", "RunResult", "Scenario", "__version__", "compare", "resume", "run", "sweep"]

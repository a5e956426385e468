"""Compiles device functions as code to link only, which keeps the cold start short.

Numba optimises and assembles every function together with all it calls. In a deep tree of small functions the same
code goes through LLVM once a level; here only the entry points do, and device functions are handed on as plain LLVM
IR. This leans on Numba's internals, so an unknown Numba falls back to its ordinary, slower way.
"""

from __future__ import annotations

from typing import Any

from numba.core import compiler, typed_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_machinery import register_pass


class _LinkOnlyLibrary(JITCodeLibrary):  # type: ignore[misc]
    """LLVM IR of one function and its callees, never optimised nor turned into machine code by itself."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _LinkOnlyLowering(typed_passes.NativeLowering):  # type: ignore[misc]
    _name = "fleetswap_link_only_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _LinkOnlyLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state["cr"]
        # Callers find a function by its machine-code object. This one stands in for it and raises when called.
        stand_in: Any = {}.__getitem__
        state.targetctx.insert_user_function(stand_in, lowered.fndesc, [state.library])
        state["cr"] = compiler._LowerResult(lowered.fndesc, lowered.call_helper, cfunc=stand_in, env=lowered.env)
        return True


class LinkOnlyCompiler(compiler.CompilerBase):  # type: ignore[misc]
    """Numba's nopython pipeline with the last step replaced."""

    def define_pipelines(self) -> list[Any]:
        """Pass managers to try."""
        pm = compiler.PassManager("fleetswap_link_only")
        for part in (
            compiler.DefaultPassBuilder.define_untyped_pipeline(self.state),
            compiler.DefaultPassBuilder.define_typed_pipeline(self.state),
            compiler.DefaultPassBuilder.define_nopython_lowering_pipeline(self.state),
        ):
            for passed, description in part.passes:
                if passed is typed_passes.NativeLowering:
                    passed = _LinkOnlyLowering
                pm.add_pass(passed, description)
        pm.finalize()
        return [pm]

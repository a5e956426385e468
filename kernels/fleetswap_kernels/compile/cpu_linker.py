"""Compiles device functions as code to link only, which keeps the cold start short.

Numba optimises and assembles every function together with all it calls. In a deep tree of small functions the same
code goes through LLVM once a level; here only the entry points do (`WholeProgramCompiler`), and device functions are
handed on as plain LLVM IR, which nothing else can link. This leans on Numba's internals.
"""

from __future__ import annotations

import gc
from typing import Any

from numba.core import compiler, typed_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_machinery import register_pass


class _LinkOnlyLibrary(JITCodeLibrary):  # type: ignore[misc]
    """LLVM IR of one function without those it calls, neither optimised nor turned into machine code by itself."""

    def finalize(self) -> None:
        """Leave what it calls to the entry points: linked here too, a function would be copied once a level."""
        self._finalize_dynamic_globals()
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        # As it is: linked once only, its function may keep a linkage that the linker never drops.
        return self._final_module


class _RareLibrary(_LinkOnlyLibrary):
    """A device function that stays a call, off the path that its callers' code is laid out for."""

    def add_llvm_module(self, ll_module: Any) -> None:
        for function in ll_module.functions:
            if not function.is_declaration:
                function.add_function_attribute("noinline")
                function.add_function_attribute("cold")
        super().add_llvm_module(ll_module)


class _WholeProgramLibrary(JITCodeLibrary):  # type: ignore[misc]
    """An entry point with everything it calls, optimised as one program."""

    def add_llvm_module(self, ll_module: Any) -> None:
        super().add_llvm_module(ll_module)
        self._own = {f.name for f in self._final_module.functions if not f.is_declaration}

    def finalize(self) -> None:
        """Link all that is called, each once; of Numba's own libraries the linker drops what nobody has named yet."""
        called: list[Any] = list(self._linking_libraries)
        for library in called:
            if isinstance(library, _LinkOnlyLibrary):
                called.extend(callee for callee in library._linking_libraries if callee not in called)
        self._linking_libraries: list[Any] = sorted(called, key=lambda below: not isinstance(below, _LinkOnlyLibrary))
        super().finalize()

    def _verify_declare_only_symbols(self) -> None:
        missing = [f.name for f in self._final_module.functions if f.is_declaration and f.name.startswith("_ZN")]
        if missing:
            raise AssertionError(f"{self.name}: not linked: {', '.join(missing)}")

    def _optimize_final_module(self) -> None:
        # A function nobody else can call may be inlined into its only caller whatever its size.
        for function in self._final_module.functions:
            if not function.is_declaration and function.name not in self._own:
                function.linkage = "internal"
        super()._optimize_final_module()


@register_pass(mutates_CFG=True, analysis_only=False)
class _WholeProgramLowering(typed_passes.NativeLowering):  # type: ignore[misc]
    _name = "fleetswap_whole_program_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _WholeProgramLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


@register_pass(mutates_CFG=True, analysis_only=False)
class _LinkOnlyLowering(typed_passes.NativeLowering):  # type: ignore[misc]
    _name = "fleetswap_link_only_lowering"
    _library = _LinkOnlyLibrary

    def run_pass(self, state: Any) -> bool:
        state.library = self._library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state["cr"]
        # Callers find a function by its machine-code object. This one stands in for it and raises when called.
        stand_in: Any = {}.__getitem__
        state.targetctx.insert_user_function(stand_in, lowered.fndesc, [state.library])
        state["cr"] = compiler._LowerResult(lowered.fndesc, lowered.call_helper, cfunc=stand_in, env=lowered.env)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _RareLowering(_LinkOnlyLowering):
    _name = "fleetswap_rare_lowering"
    _library = _RareLibrary


def _pipeline(state: Any, lowering: type) -> list[Any]:
    """Numba's nopython pipeline with another lowering pass."""
    passes = compiler.PassManager(lowering.__name__)
    builder = compiler.DefaultPassBuilder
    for part in (
        builder.define_untyped_pipeline(state),
        builder.define_typed_pipeline(state),
        builder.define_nopython_lowering_pipeline(state),
    ):
        for step, description in part.passes:
            passes.add_pass(lowering if step is typed_passes.NativeLowering else step, description)
    passes.finalize()
    return [passes]


class LinkOnlyCompiler(compiler.CompilerBase):  # type: ignore[misc]
    """Compiles a device function."""

    def define_pipelines(self) -> list[Any]:
        """Pass managers to try."""
        return _pipeline(self.state, _LinkOnlyLowering)


class RareCompiler(compiler.CompilerBase):  # type: ignore[misc]
    """Compiles a device function that is rarely called."""

    def define_pipelines(self) -> list[Any]:
        """Pass managers to try."""
        return _pipeline(self.state, _RareLowering)


class WholeProgramCompiler(compiler.CompilerBase):  # type: ignore[misc]
    """Compiles an entry point, and with it all that it calls."""

    def compile_extra(self, func: Any) -> Any:
        """Compile without a look for garbage: what a compiler makes stays until it is done."""
        collects = gc.isenabled()
        gc.disable()
        try:
            return super().compile_extra(func)
        finally:
            if collects:
                gc.enable()

    def define_pipelines(self) -> list[Any]:
        """Pass managers to try."""
        return _pipeline(self.state, _WholeProgramLowering)

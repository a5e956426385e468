#!/usr/bin/env bash
# numba-cuda 0.30.4: the LLVM modules that a compiled function hands to the linker are gathered along every path of calls
# to them. Functions that call each other in diamonds are given twice as often with every level: 25 functions are 1,021
# modules, of which 25 differ. A program of a few hundred small device functions is compiled for minutes longer for it.
# No GPU, driver or toolkit is needed: only LLVM IR is made.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numba-cuda==0.30.4 numba==0.68.1 numpy

cat > "$folder/diamonds.py" <<'EOF'
from types import SimpleNamespace

from numba import cuda
from numba.cuda import dispatcher, types
from numba.cuda.compiler import compile_cuda

# Of a GPU only the compute capability is asked.
dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))
source = "@cuda.jit(device=True)\ndef base_0(x): return x + 1\n"
for i in range(1, 9):
    source += f"""
@cuda.jit(device=True)
def left_{i}(x): return base_{i - 1}(x) + {i}
@cuda.jit(device=True)
def right_{i}(x): return base_{i - 1}(x) * {i}
@cuda.jit(device=True)
def base_{i}(x): return left_{i}(x) + right_{i}(x)
"""
functions = {"cuda": cuda}
exec(source, functions)
for levels in (1, 2, 4, 8):
    top = functions[f"base_{levels}"].py_func
    library = compile_cuda(top, types.int64, (types.int64,), nvvm_options={}, cc=(9, 0)).library
    modules = library.modules
    different = len({id(module) for module in modules})
    print(f"{levels} levels, {3 * levels + 1} functions: {len(modules)} modules, {different} different ones")
EOF
"$folder/venv/bin/python" "$folder/diamonds.py" | tee "$folder/seen"
diff "$folder/seen" - <<'EOF'
1 levels, 4 functions: 5 modules, 4 different ones
2 levels, 7 functions: 13 modules, 7 different ones
4 levels, 13 functions: 61 modules, 13 different ones
8 levels, 25 functions: 1021 modules, 25 different ones
EOF

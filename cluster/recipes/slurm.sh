#!/usr/bin/env bash
# One SLURM job for one run: scheduler and driver on the first node, workers on all. A resubmitted job goes on.
#
#   sbatch cluster/recipes/slurm.sh /shared/runs/phones phones --devices 1000000
#
# The first word is the run directory, on a file system that all nodes see; the others are those of `fleetswap run`.
#SBATCH --job-name=fleetswap
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=fleetswap-%j.log
set -euo pipefail

run=${1:?the run directory is missing}
shift
nodes=${SLURM_JOB_NUM_NODES:?runs in a SLURM job only: sbatch $0}
cores=${SLURM_CPUS_PER_TASK:?set --cpus-per-task}

# A finished run needs no workers to say so.
[[ ! -e $run/manifest.json ]] || exec fleetswap run --resume "$run"

# Kernels are compiled once for each kind of processor, in a folder that all nodes share.
export FLEETSWAP_CACHE_DIR=${FLEETSWAP_CACHE_DIR:-$HOME/.cache/fleetswap}
# A worker process for each core: libraries start no threads of their own.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
# Results go to the run directory, not through the memory of workers.
export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
# Dask looks at itself less often: it takes some percent of a core otherwise.
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL=500ms

mkdir -p "$(dirname "$run")"
scratch=$(mktemp -d -p "$(dirname "$run")" .fleetswap-XXXXXX)
workers=
finish() {
    # Workers first: without their scheduler they would wait for it.
    [[ -z $workers ]] || { kill "$workers" && wait "$workers"; } || true
    kill "$scheduler" 2> /dev/null || true
    rm -rf "$scratch"
}

dask scheduler --port 0 --no-dashboard --scheduler-file "$scratch/scheduler.json" &
scheduler=$!
trap finish EXIT
srun --nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 \
    dask worker --scheduler-file "$scratch/scheduler.json" --nworkers "$cores" --nthreads 1 --no-dashboard \
    --local-directory "${TMPDIR:-/tmp}" --death-timeout 300 &
workers=$!

until [[ -s $scratch/scheduler.json ]]; do sleep 1; done
address=$(sed -n 's/.*"address": "\([^"]*\)".*/\1/p' "$scratch/scheduler.json")

if [[ -e $run ]]; then
    words=(--resume "$run")
else
    words=("$@" --out "$run")
fi
fleetswap run "${words[@]}" --cluster "$address"

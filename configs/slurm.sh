#!/bin/bash
# MD of a list of peptides as one Slurm job on several nodes:
#
#   sbatch configs/slurm.sh dipeptides.txt /shared/dipeptides-md --length 10
#
# Killed or out of time, the same command goes on. The output folder must be on a file system that all nodes share, and
# timewarp-md[cluster] installed in an environment that they all see. Add what your cluster wants: a partition, modules.
#SBATCH --job-name=timewarp
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
set -euo pipefail
sequences=$1 out=$2
shift 2

# Workers take one peptide each; a task waits in the scheduler until a worker is free.
export DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION=1.0
export DASK_LOGGING__DISTRIBUTED=error

scheduler=$PWD/dask-scheduler-$SLURM_JOB_ID.json
trap 'kill $(jobs -p) 2>/dev/null; rm -f "$scheduler"' EXIT
dask scheduler --scheduler-file "$scheduler" --port 0 --no-dashboard &
srun dask worker --scheduler-file "$scheduler" --nworkers "$SLURM_CPUS_PER_TASK" --nthreads 1 --memory-limit 0 \
  --no-dashboard --local-directory "${TMPDIR:-/tmp}" &

timewarp simulate --sequences "$sequences" --out "$out" --scheduler "$scheduler" "$@"

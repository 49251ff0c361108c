// Batched Langevin MD: what its kernels need beside the energy, and what each instruction set provides.
#pragma once

#include <cstdint>

#include "energy_tables.hpp"

namespace timewarp {

template <class T>
struct LangevinTables {
  const T* kick;          // (atoms): time step / mass
  const T* noise;         // (atoms): standard deviation of the noise of a velocity
  const double* masses;   // (atoms)
  T timestep, decay;      // ps; exp(-friction * time step)
  double kT;
  std::uint64_t seed;
  bool burn_in;           // draws from streams of its own
  std::int64_t first_step;
  long n_frames, frame_steps;

  // Torsion moves: after each step that is a multiple of the interval; none if moves_per_round is 0.
  long torsion_interval;
  int moves_per_round, n_torsions;
  const std::int32_t* axis;         // (torsions, 2): origin, end
  const std::int32_t* side_first;   // (torsions + 1)
  const std::int32_t* side;         // atoms that turn: the end first
};

// Advances replicas first ... last - 1 of `n`, whose positions and velocities (n, atoms, 3) are moved in place, and writes
// frames (frames, n, atoms, 3), their potential and kinetic energies (frames, n), and counts of torsion moves (n, torsions),
// which are added to. `ids` are the replicas' numbers, of which the noise is a function.
template <class T>
using Langevin = void (*)(const EnergyTables<T>&, const LangevinTables<T>&, const std::uint32_t* ids, T* positions,
                          T* velocities, T* frames, double* energies, double* kinetic, std::int64_t* attempts,
                          std::int64_t* accepts, long n, long first, long last, void* scratch);

// Bytes beyond those of the energy that a thread needs.
inline long langevin_scratch_bytes(int n_atoms) { return 64L * 3 * n_atoms; }

struct LangevinKernels {
  Langevin<float> langevin_f32;
  Langevin<double> langevin_f64;
  // Encrypts n counters (4 words each) in place.
  void (*philox)(std::uint32_t* counters, std::uint32_t key0, std::uint32_t key1, long n);
  // The normals (n, count) of one step as the integrator draws them.
  void (*normals_f32)(std::uint64_t seed, std::int64_t step, std::uint32_t purpose, const std::uint32_t* ids, long n,
                      long count, float* out);
  void (*normals_f64)(std::uint64_t seed, std::int64_t step, std::uint32_t purpose, const std::uint32_t* ids, long n,
                      long count, double* out);
};

// Of the instruction set in use.
const LangevinKernels& langevin_kernels();

}  // namespace timewarp

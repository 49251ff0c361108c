// What each instruction set provides: tables of functions, chosen from once, when the module is imported.
#pragma once

#include "energy_tables.hpp"
#include "flow_kernels.hpp"
#include "geometry_kernels.hpp"
#include "growth_tables.hpp"

namespace timewarp {

struct ElementaryKernels {
  void (*apply_f32)(int function, const float* x, const float* y, float* out, long n);
  void (*apply_f64)(int function, const double* x, const double* y, double* out, long n);
  int lanes_f32, lanes_f64;
};

// Energies (and forces, if not null) of configurations first ... last - 1; positions are (n, atoms, 3), and `stride`
// numbers lie between two configurations. Numbers computed in `Real`, positions and results in `Io`.
template <class Real, class Io>
using Evaluate = void (*)(const EnergyTables<Real>&, const Io* positions, long stride, Io* energy, Io* forces,
                          long first, long last, void* scratch);

// Position-first leapfrog of `n_steps` with a step size for each configuration; positions and momenta in place.
template <class Real, class Io>
using Leapfrog = void (*)(const EnergyTables<Real>&, const Real* inverse_masses, Io* positions, Io* momenta,
                          const Io* step_ps, int n_steps, long first, long last, void* scratch);

struct EnergyKernels {
  Evaluate<float, float> evaluate_f32;
  Evaluate<float, double> evaluate_f32_f64;
  Evaluate<double, float> evaluate_f64_f32;
  Evaluate<double, double> evaluate_f64;
  Leapfrog<float, float> leapfrog_f32;
  Leapfrog<float, double> leapfrog_f32_f64;
  Leapfrog<double, float> leapfrog_f64_f32;
  Leapfrog<double, double> leapfrog_f64;
};

struct InstructionSet {
  const char* name;
  const ElementaryKernels* elementary;
  const EnergyKernels* energy;
  const FlowKernels* flow;
  const GeometryKernels* geometry;
  const GrowthKernels* growth;
};

// The one in use. `choose` picks by name ("auto": the best that the processor has) and throws std::invalid_argument.
const InstructionSet& isa();
void choose(const char* name);

}  // namespace timewarp

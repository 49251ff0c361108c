// A growing molecule (timewarp/flows/growth/plan.py) as flat tables; energies in kT, lengths in nm.
#pragma once

#include <cstdint>

namespace timewarp {

constexpr int kFine = 48;    // ANGLES in timewarp/flows/growth/profiles.py
constexpr int kCoarse = 16;  // COARSE
constexpr int kSpatial = 13;
constexpr int kShells = 8;
constexpr int kHighestPeriodicity = 8;

struct GrowthStep {
  std::int32_t corners[4];
  std::int32_t n_fragment, n_old, n_terms;
  const std::int32_t *fragment, *old, *terms, *periodicity;
  const float *lj12, *lj6, *charge;  // fragment x old
  const float *phase, *k;
  const float* unplaced;  // old, then fragment
};

struct GrowthTables {
  std::int32_t n_atoms, n_steps, most_pairs;
  bool has_solvent;
  const GrowthStep* steps;
  const float *rho, *scaled, *radius, *product, *self_energy, *surface;
  float alpha, beta, gamma;
  const float* site_weights;  // sites x atoms; there is a site more than there are steps
  const float *site_charge, *site_heavy;
  const std::uint8_t* beyond;     // steps x sites
  const float *cosine, *sine;     // (kHighestPeriodicity + 1) x kFine, of multiples of the grid's angles
  const float* interpolation;     // kCoarse x kFine
  float coulomb;                  // in kT nm
};

// Where the features go, (chains, steps that are asked for, ...).
struct GrowthOut {
  double* angle;
  float *profile, *ahead, *bends, *spatial;
};

template <class Io>
using GrowthFeatures = void (*)(const GrowthTables&, const Io* positions, int first_step, int last_step,
                                const GrowthOut& out, long first, long last, void* scratch);

struct GrowthKernels {
  GrowthFeatures<float> features_f32;
  GrowthFeatures<double> features_f64;
  long (*scratch_bytes)(const GrowthTables&);
};

}  // namespace timewarp

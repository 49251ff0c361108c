// A growing molecule (timewarp/flows/growth/plan.py) as flat tables; energies in kT, lengths in nm.
#pragma once

#include <cstdint>

#include "flow_tables.hpp"

namespace timewarp {

constexpr int kFine = 48;    // ANGLES in timewarp/flows/growth/profiles.py
constexpr int kCoarse = 16;  // COARSE
constexpr int kSpatial = 14;
constexpr double kStretch = 3.0;  // STRETCH in timewarp/flows/growth/scale.py
constexpr int kShells = 8;
constexpr int kHighestPeriodicity = 8;

struct GrowthStep {
  std::int32_t corners[4];
  std::int32_t centre[4];  // the stereocentre that decides on the mirror, or -1
  std::int32_t twisting;   // 1 for a peptide bond, whose grid is fine at its wells: the second of each table
  std::int32_t n_fragment, n_old, n_terms, n_turning;
  const std::int32_t *fragment, *old, *terms, *periodicity, *turning;
  const float *lj12, *lj6, *charge;  // fragment x old
  const float *phase, *k;
  const float* unplaced;  // old, then fragment
  std::int32_t n_maps;
  const std::int32_t *map_turning, *map_fixed, *map_first;  // correction maps: two torsions, and the first patch
};

struct GrowthTables {
  std::int32_t n_atoms, n_steps, most_pairs;
  bool has_solvent, linear;  // linear: Born radii without a hyperbolic tangent
  const GrowthStep* steps;
  const float *rho, *scaled, *outer, *product, *self_energy, *surface;
  const float* tanh;   // (atoms, 3): alpha, beta, gamma
  const float* necks;  // (atoms, atoms, 3): distance, twice the height and reach of the neck at one atom beside another
  const float* site_weights;  // sites x atoms; there is a site more than there are steps
  const float *site_charge, *site_heavy;
  const std::uint8_t* beyond;     // steps x sites
  // Of the uniform grid, and of that of peptide bonds:
  const float *cosine[2], *sine[2];  // (kHighestPeriodicity + 1) x kFine, of multiples of the grid's angles
  const float* interpolation[2];     // kCoarse x kFine, from the uniform coarse grid
  const float* log_slope;            // kFine, of the grid of peptide bonds
  std::int32_t root_centre[4];
  float coulomb;                  // in kT nm
  const float* map_patches;       // (patches, 16), in kT
  std::int32_t map_size;
};

// Where the features go, (chains, steps that are asked for, ...).
struct GrowthOut {
  double* angle;
  float *profile, *ahead, *bends, *spatial;
};

constexpr int kHarmonicsIn = 3;
constexpr int kRelation = 6;
constexpr int kPair = kSpatial + kRelation;
constexpr int kInputs = 2 * kFine + 2 * kCoarse + 2;  // of a step, without those that no configuration changes

// timewarp/flows/growth/network.py with layer normalisation folded as in NetworkTables.
struct GrowthBlockTables {
  LinearTable fused;  // of the token: query, then key and value that later steps read, less the angle's part
  const float* angle;  // (2 width, 2 kHarmonicsIn)
  LinearTable bias;   // (heads, kSpatial)
  LinearTable join;   // of what attention mixed (width), then of the mean place for each head (heads x kPair)
  LinearTable widen, narrow;
};

struct GrowthNetworkTables {
  int width, padded, n_heads, hidden, n_blocks, harmonics;
  bool physics;
  float epsilon;
  LinearTable embed, read;
  const GrowthBlockTables* blocks;
  const float* waves;  // (2 harmonics, kFine)
};

// What the network makes of a molecule's chemistry.
struct GrowthStaticTables {
  const float* steps;      // (steps, padded): the constant part of a step's token
  const float* sites;      // (blocks, sites, 2 width): keys and values of fragments
  const float* pair_bias;  // (blocks, steps, sites, heads)
  const float* relations;  // (steps, sites, kRelation)
};

// Torsions from step `kept` on: scored as they are (`backward`), and redrawn with `uniform` (steps - kept, chains).
// Either may be left out (null).
template <class Io>
struct Regrowth {
  const Io* positions;
  int kept;
  const std::uint8_t* wells;  // of each step, ANYWHERE, NEAR_ZERO or NEAR_PI; or null
  long chains;
  const double* uniform;
  Io* drawn;
  double *forward, *backward;
};

template <class Io>
using GrowthFeatures = void (*)(const GrowthTables&, const Io* positions, int first_step, int last_step,
                                const GrowthOut& out, long first, long last, void* scratch);
template <class Io>
using GrowthRegrow = void (*)(const GrowthTables&, const GrowthNetworkTables&, const GrowthStaticTables&,
                              const Regrowth<Io>&, long first, long last, void* scratch);

struct GrowthKernels {
  GrowthFeatures<float> features_f32;
  GrowthFeatures<double> features_f64;
  long (*scratch_bytes)(const GrowthTables&);
  GrowthRegrow<float> regrow_f32;
  GrowthRegrow<double> regrow_f64;
  long (*regrow_bytes)(const GrowthTables&, const GrowthNetworkTables&);
  int block;  // chains that go side by side
};

}  // namespace timewarp

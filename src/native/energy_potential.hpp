// Owner of one molecule's tables, in both precisions.
#pragma once

#include <memory>
#include <vector>

#include "energy_tables.hpp"

namespace timewarp {

template <class T>
struct OwnedTables {
  std::vector<std::int32_t> bond_atoms, angle_atoms, torsion_atoms, torsion_degree, improper_atoms, map_atoms, map_first;
  std::vector<T> bond, angle, even, odd, improper, map_patches, pair, pair_cut, pair_neck, born_atom;
  EnergyTables<T> view{};
};

struct EnergyPotential {
  OwnedTables<float> f32;
  OwnedTables<double> f64;
  int n_atoms() const { return f64.view.n_atoms; }
  template <class T>
  const EnergyTables<T>& tables() const {
    if constexpr (sizeof(T) == 4)
      return f32.view;
    else
      return f64.view;
  }
};

}  // namespace timewarp

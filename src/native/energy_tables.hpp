// The numbers of one molecule's potential energy as the kernels read them; see timewarp/energies/native.py.
#pragma once

#include <cstdint>

namespace timewarp {

constexpr int kPowers = 9;  // of cos(phi): periodicities up to 8

template <class T>
struct EnergyTables {
  int n_atoms, n_bonds, n_angles, n_torsions, n_impropers, n_maps, map_size;
  bool solvent, cut, switched, neck, born_linear;

  const std::int32_t* bond_atoms;   // (bonds, 2)
  const T* bond;                    // (bonds, 2): length, k
  const std::int32_t* angle_atoms;  // (angles, 3)
  const T* angle;                   // (angles, 2): theta, k
  const std::int32_t* torsion_atoms;   // (torsions, 4), each quadruple once
  const std::int32_t* torsion_degree;  // (torsions, 2): highest power in `even`; that in `odd`, or -1 for none
  const T* even;                       // (torsions, kPowers): P of P(cos) + sin Q(cos)
  const T* odd;                        // (torsions, kPowers): Q
  const std::int32_t* improper_atoms;  // (impropers, 4)
  const T* improper;                   // (impropers, 3): angle, k, period
  const std::int32_t* map_atoms;       // (maps, 8)
  const std::int32_t* map_first;       // (maps): first patch of the map's table
  const T* map_patches;                // (patches, 16)

  const T* pair;      // (pairs, 4): charge product, lj12, lj6, generalised Born charge product; i < j, row by row
  const T* pair_cut;  // (pairs, 5): squared cutoff, field, shift, switch start, switch scale; null without cutoff

  // (pairs, 5): distance and twice the height of the neck at i beside j, the same at j beside i, reach; null without
  const T* pair_neck;

  const T* born_atom;  // (atoms, 8): offset radius, scaled radius, 1/outer, alpha, beta, gamma, self, surface
  T born_squared_cutoff, born_shift, born_engulfed, born_closest;

  // Bytes that a thread needs while it evaluates one block of configurations.
  long scratch_bytes;
};

}  // namespace timewarp

// The numbers of a flow of one molecule (family C or B) as the kernels read them; timewarp/flows/folding.py makes
// them. Everything that does not depend on the configuration is folded in: layer normalisation's gain, bias and
// centring into the layers around it, the static features into `base`, the attention weights into `attention`.
#pragma once

#include <cstdint>

namespace timewarp {

constexpr int kTile = 8;  // outputs side by side in packed weights; widths of tokens are padded to a multiple of it

// weights[((o / kTile) * n_in + k) * kTile + o % kTile], a bias per output; n_out is a multiple of kTile.
struct LinearTable {
  int n_in, n_out;
  const float* weights;
  const float* bias;
};

struct AttentionBlock {
  const float* attention;  // (heads, tokens, tokens)
  LinearTable value, project, widen, narrow;
};

// A network over tokens. Token vectors have mean zero throughout (whatever writes to them is centred), so that layer
// normalisation is a division by their root mean square, which is applied to the outputs of the layer that follows.
struct NetworkTables {
  int n_tokens, width, padded, n_heads, n_inputs, n_blocks, hidden, n_active;
  float epsilon;               // added to the mean square
  const float* base;           // (tokens, 2 padded): the constant part of the token, and of its first value
  const float* embed;          // (inputs, 2 padded)
  LinearTable from_context;    // width -> 2 padded; n_in is 0 where there is no context
  const AttentionBlock* blocks;
  const std::int32_t* active;  // (n_active): the tokens whose output is wanted
  LinearTable read;            // of one token, or of several in a row (n_in a multiple of width)
};

// Internal coordinates of a molecule; see timewarp/geometry/internal.py.
struct TreeTables {
  int n_atoms, n_stiff, n_torsions;
  const std::int32_t* order;       // (atoms)
  const std::int32_t* references;  // (atoms, 3), -1 where undefined
  const std::int32_t* sibling;     // (atoms): whose dihedral an atom's is relative to, -1 for none
  const std::int32_t* stiff;       // (stiff, 3): atom, column (0 length, 1 angle, 2 dihedral), whether it is a dihedral
  const double* standard;          // (stiff, 2): mean, 1 / standard deviation
  const std::int32_t* torsions;    // (torsions): atoms whose dihedral is redrawn
};

struct CouplingTables {
  NetworkTables network;        // its active tokens are those that move
  const std::int32_t* fixed;    // (n_fixed): the others
  int n_fixed;
};

// Shift, scale and spline of some of the whitened stiff coordinates (family B), given the others and the torsions.
struct StiffCouplingTables {
  NetworkTables network;            // over atoms; reads 6 features of a torsion, then 3 known coordinates
  const std::int32_t* known;        // (stiff): whether the network sees the coordinate
  const std::int32_t* moved;        // (n_moved, 2): column, stiff coordinate; those of one active atom after another
  const std::int32_t* moved_first;  // (active + 1): where in `moved` an active atom begins
};

struct FlowTables {
  TreeTables tree;
  bool has_context;
  NetworkTables context;        // over atoms; its active tokens are the corners of torsions
  const std::int32_t* corners;  // (torsions, 4)
  int n_couplings, bins;
  const CouplingTables* couplings;
  // Family B only: n_stiff_couplings is 0 for C.
  int n_stiff_couplings, stiff_bins;
  const StiffCouplingTables* stiff_couplings;
  const double* cholesky;              // (stiff, stiff), lower
  const std::int32_t* torsion_of;      // (atoms): the torsion that an atom carries, -1 for none
};

}  // namespace timewarp

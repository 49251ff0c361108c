// What each instruction set provides for flows; chains first ... last - 1 of a batch.
#pragma once

#include "flow_tables.hpp"

namespace timewarp {

// Candidates from positions (chains, atoms, 3), angles of the base (chains, torsions) and, for family B, normal noise
// (chains, stiff): new positions, and the log densities of the candidates and of the current configurations, up to a
// constant with respect to Cartesian volume.
template <class Io>
using Propose = void (*)(const FlowTables&, const Io* positions, const double* base, const double* noise,
                         Io* candidates, double* log_q_there, double* log_q_here, long first, long last,
                         void* scratch);

struct FlowKernels {
  Propose<float> propose_f32;
  Propose<double> propose_f64;
  // Bytes of scratch memory that a thread needs.
  long (*scratch_bytes)(const FlowTables&);
};

}  // namespace timewarp

// What each instruction set provides for flows; chains first ... last - 1 of a batch.
#pragma once

#include "flow_tables.hpp"

namespace timewarp {

// Context of every torsion, (chains, torsions, width), from internal coordinates (chains, atoms, 3).
template <class Io>
using Encode = void (*)(const FlowTables&, const Io* internal, float* context, long first, long last, void* scratch);

// Angles (chains, torsions) through the couplings, in place: from torsions to the uniform base and the log density of
// the torsions, or (`sampling`) from the base to torsions and their log density. `context` may be null.
using Transport = void (*)(const FlowTables&, const float* context, double* angles, double* log_q, bool sampling,
                           long first, long last, void* scratch);

// Family B: internal coordinates (chains, atoms, 3) and their log density, from angles of the base (chains, torsions)
// and normal noise (chains, stiff); or, without a base, the log density of the given internal coordinates.
using TransportInternal = void (*)(const FlowTables&, const double* base, const double* noise, double* internal,
                                   double* log_q, long first, long last, void* scratch);

// Candidates from positions (chains, atoms, 3), angles of the base (chains, torsions) and, for family B, normal noise
// (chains, stiff): new positions, and the log densities of the candidates and of the current configurations, up to a
// constant with respect to Cartesian volume.
template <class Io>
using Propose = void (*)(const FlowTables&, const Io* positions, const double* base, const double* noise,
                         Io* candidates, double* log_q_there, double* log_q_here, long first, long last,
                         void* scratch);

struct FlowKernels {
  Encode<float> encode_f32;
  Encode<double> encode_f64;
  Transport transport;
  TransportInternal transport_internal;
  Propose<float> propose_f32;
  Propose<double> propose_f64;
  // Bytes of scratch memory that a thread needs.
  long (*scratch_bytes)(const FlowTables&);
};

}  // namespace timewarp

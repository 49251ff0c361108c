// What each instruction set provides for looking at configurations.
#pragma once

#include <cstdint>

namespace timewarp {

// One number per row of four atoms and configuration: (n, rows) from positions (n, atoms, 3), in double precision.
template <class Io>
using Measure = void (*)(const Io* positions, long n, int n_atoms, const std::int64_t* atoms, int n_rows, Io* out);

struct GeometryKernels {
  Measure<float> dihedrals_f32, volumes_f32;
  Measure<double> dihedrals_f64, volumes_f64;
};

}  // namespace timewarp

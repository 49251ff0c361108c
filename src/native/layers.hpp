// Linear layers as the kernels read them.
#pragma once

#include "bindings.hpp"
#include "flow_tables.hpp"

namespace timewarp {

struct KeptLayers : Kept {
  // Rows of `weight` are outputs, of which n_in / width parts are read from vectors of `width` numbers.
  LinearTable pack(const Array<double, 2>& weight, const double* bias) {
    const int n_out = int(weight.shape(0)), n_in = int(weight.shape(1));
    expect(n_out % kTile == 0, "outputs padded to whole tiles");
    std::vector<float> packed(std::size_t(n_out) * n_in);
    for (int o = 0; o < n_out; ++o)
      for (int k = 0; k < n_in; ++k)
        packed[(std::size_t(o / kTile) * n_in + k) * kTile + o % kTile] = float(weight.data()[std::size_t(o) * n_in + k]);
    const float* weights = floats.emplace_back(std::move(packed)).data();
    const std::vector<double> none(n_out);
    return {n_in, n_out, weights, keep(bias ? bias : none.data(), n_out)};
  }
};

}  // namespace timewarp

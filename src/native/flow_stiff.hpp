// Family B: all internal coordinates, the stiff ones given the torsions.
#pragma once

#include "flow_engine.hpp"

namespace timewarp::TIMEWARP_ISA {

struct StiffEngine : Engine {
  using Engine::Engine;

  // One coupling layer on `white`.
  template <bool kInverse>
  void couple_stiff(int layer, VD* log_slope) const {
    constexpr int kFeatures = 2 * kHarmonics;
    const StiffCouplingTables& coupling = t.stiff_couplings[layer];
    const NetworkTables& n = coupling.network;
    const int per_coordinate = 3 * t.stiff_bins + 1;
    int s = 0;  // the stiff coordinates of an atom are neighbours
    for (int i = 0; i < n.n_tokens; ++i) {
      for (int c = 0; c < 3; ++c) inputs[kFeatures + c] = Number{};
      for (; s < t.tree.n_stiff && t.tree.stiff[3 * s] == i; ++s)
        if (coupling.known[s])
          for (int u = 0; u < kVectors; ++u)
            inputs[kFeatures + t.tree.stiff[3 * s + 1]].v[u] =
                joined(white[s * kDoubles + 2 * u], white[s * kDoubles + 2 * u + 1]);
      const int torsion = t.torsion_of[i];
      if (torsion >= 0)
        for (int k = 0; k < kFeatures; ++k) inputs[k] = torsion_features[kFeatures * torsion + k];
      Number *x = space.x + i * n.padded, *v = space.v + i * n.padded;
      constant_part(n, i, space.hidden);
      embed(n, space.hidden, inputs, torsion >= 0 ? 0 : kFeatures, x, v);
      scale_all(n, inverse_scale(n, x), v);
    }
    run_blocks(n, all, space);
    for (int k = 0; k < n.n_active; ++k) {
      const Number* x = space.x + n.active[k] * n.padded;
      const Number scale = inverse_scale(n, x);
      product(n.read, x, [&](int o, const Number& sum) {
        for (int u = 0; u < kVectors; ++u) parameters[o].v[u] = sum.v[u] * scale.v[u] + n.read.bias[o];
      });
      for (int m = coupling.moved_first[k]; m < coupling.moved_first[k + 1]; ++m) {
        const Number* own = parameters + coupling.moved[2 * m] * per_coordinate;
        VD* value = white + coupling.moved[2 * m + 1] * kDoubles;
        for (int u = 0; u < kVectors; ++u) {
          fractions(own + 2, t.stiff_bins, u, widths);
          fractions(own + 2 + t.stiff_bins, t.stiff_bins, u, heights);
          for (int h = 0; h < kHalves; ++h)
            value[2 * u + h] = shift_scale_spline<kInverse>(value[2 * u + h], own, t.stiff_bins, u, h, widths, heights,
                                                            log_slope[2 * u + h]);
        }
      }
    }
  }

  void all_features() const {
    for (int k = 0; k < t.tree.n_torsions; ++k) features(k, torsion_features + 2 * kHarmonics * k);
  }

  // log N(white; 0, 1) - log det L, added to log_q.
  void add_normal(VD* log_q) const {
    VD constant{};
    for (int k = 0; k < t.tree.n_stiff; ++k)
      constant -= vlog(splat(t.cholesky[long(k) * t.tree.n_stiff + k])) + 0.91893853320467274178;  // log(2 pi) / 2
    for (int d = 0; d < kDoubles; ++d) {
      log_q[d] += constant;
      for (int k = 0; k < t.tree.n_stiff; ++k) log_q[d] -= 0.5 * white[k * kDoubles + d] * white[k * kDoubles + d];
    }
  }

  // Log density of `internal`.
  void score_internal(VD* log_q) const {
    const int n = t.tree.n_stiff, stride = 3 * t.tree.n_atoms;
    for (int k = 0; k < t.tree.n_torsions; ++k)
      for (int d = 0; d < kDoubles; ++d) angle[k * kDoubles + d] = internal[d * stride + 3 * t.tree.torsions[k] + 2];
    all_features();
    transport(false, log_q);
    for (int d = 0; d < kDoubles; ++d)
      for (int k = 0; k < n; ++k) {
        const double* row = t.cholesky + long(k) * n;
        VD rest = centred(t.tree, internal + d * stride, k);
        for (int j = 0; j < k; ++j) rest -= row[j] * white[j * kDoubles + d];
        white[k * kDoubles + d] = rest / row[k];
      }
    VD sum[kDoubles] = {};
    for (int l = 0; l < t.n_stiff_couplings; ++l) couple_stiff<false>(l, sum);
    for (int d = 0; d < kDoubles; ++d) log_q[d] += sum[d];
    add_normal(log_q);
  }

  // From `angle` (the base) and `white` (noise) to `internal`, NaN where a dihedral winds around the circle.
  void sample_internal(VD* log_q) const {
    const int n = t.tree.n_stiff, stride = 3 * t.tree.n_atoms;
    transport(true, log_q);
    all_features();
    add_normal(log_q);
    VD sum[kDoubles] = {};
    for (int l = t.n_stiff_couplings - 1; l >= 0; --l) couple_stiff<true>(l, sum);
    for (int d = 0; d < kDoubles; ++d) log_q[d] -= sum[d];
    for (int d = 0; d < kDoubles; ++d)
      for (int k = 0; k < n; ++k) {
        const double* row = t.cholesky + long(k) * n;
        const std::int32_t* place = t.tree.stiff + 3 * k;
        VD value{};
        for (int j = 0; j <= k; ++j) value += row[j] * white[j * kDoubles + d];
        if (place[2]) {
          const ID winds = vabs(value) >= kPi;
          value = winds ? splat(__builtin_nan("")) : wrapped(value + t.tree.standard[2 * k]);
        } else {
          value += t.tree.standard[2 * k];
        }
        internal[d * stride + 3 * place[0] + place[1]] = value;
      }
    store_torsions();
  }

  void load_noise(const double* from, long start, int count) const {
    constexpr int W = kLanes<double>;
    const int n = t.tree.n_stiff;
    for (int lane = 0; lane < kChains; ++lane)
      for (int k = 0; k < n; ++k)
        white[k * kDoubles + lane / W][lane % W] = from[chain(start, count, lane) * n + k];
  }
};

}  // namespace timewarp::TIMEWARP_ISA

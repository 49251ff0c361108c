// A block of chains on its way through a flow: what families C and B share, and the context of C.
#pragma once

#include "flow_geometry.hpp"

namespace timewarp::TIMEWARP_ISA {

constexpr int kHarmonics = 3;  // HARMONICS in timewarp/flows/torsions/flow.py

// Hands out a thread's scratch memory; without memory it only counts.
struct Bump {
  char* at;
  long used = 0;
  template <class T>
  T* take(long n) {
    T* here = reinterpret_cast<T*>(at + used);
    used += (n * long(sizeof(T)) + 63) / 64 * 64;
    return here;
  }
};

// A block of chains on its way through the flow.
struct Engine {
  const FlowTables& t;
  Bump bump;
  VD *positions, *internal;  // [vector][atom][axis]
  VD *angle;                 // [torsion][vector]: where the couplings have brought them
  VD *white;                 // [stiff][vector] (family B)
  Number *torsion_features;  // [torsion][2 kHarmonics] (family B)
  Number *inputs;
  Number *context;           // [torsion][width]
  Number *prepared;          // [coupling][torsion][2 padded]: what the context alone decides of tokens and first values
  Number *parameters;
  VF *widths, *heights;
  std::int32_t* all;
  NetworkSpace space;

  Engine(const FlowTables& tables, void* scratch) : t(tables), bump{static_cast<char*>(scratch)} {
    const int torsions = t.tree.n_torsions;
    long tokens = 0, padded = 0, hidden = 0;
    const auto grow = [&](const NetworkTables& n) {
      tokens = n.n_tokens > tokens ? n.n_tokens : tokens;
      padded = n.padded > padded ? n.padded : padded;
      hidden = n.hidden > hidden ? n.hidden : hidden;
      hidden = 2 * padded > hidden ? 2 * padded : hidden;
    };
    for (int l = 0; l < t.n_couplings; ++l) grow(t.couplings[l].network);
    if (t.has_context) grow(t.context);
    int outputs = 3 * t.bins + 1 + kTile;
    for (int l = 0; l < t.n_stiff_couplings; ++l) {
      grow(t.stiff_couplings[l].network);
      const int n_out = t.stiff_couplings[l].network.read.n_out;
      outputs = n_out > outputs ? n_out : outputs;
    }
    positions = bump.take<VD>(3L * kDoubles * t.tree.n_atoms);
    internal = bump.take<VD>(3L * kDoubles * t.tree.n_atoms);
    angle = bump.take<VD>(long(kDoubles) * torsions);
    white = bump.take<VD>(long(kDoubles) * t.tree.n_stiff);
    torsion_features = bump.take<Number>(2L * kHarmonics * torsions);
    inputs = bump.take<Number>(3L * t.tree.n_atoms);
    context = bump.take<Number>(torsions * padded);
    prepared = bump.take<Number>(2L * t.n_couplings * torsions * padded);
    parameters = bump.take<Number>(outputs);
    widths = bump.take<VF>(t.bins > t.stiff_bins ? t.bins : t.stiff_bins);
    heights = bump.take<VF>(t.bins > t.stiff_bins ? t.bins : t.stiff_bins);
    all = bump.take<std::int32_t>(tokens);
    space.x = bump.take<Number>(tokens * padded);
    space.v = bump.take<Number>(tokens * padded);
    space.mixed = bump.take<Number>(4 * padded);
    space.hidden = bump.take<Number>(hidden);
    if (scratch)
      for (int k = 0; k < tokens; ++k) all[k] = k;
  }

  // --- in and out: chains start ... start + count - 1; lanes beyond them repeat the last one ----------------------

  TW_INLINE static long chain(long start, int count, int lane) { return start + (lane < count ? lane : count - 1); }

  template <class Io>
  void load(const Io* from, long start, int count, VD* to) const {
    const int n = 3 * t.tree.n_atoms;
    constexpr int W = kLanes<double>;
    for (int lane = 0; lane < kChains; ++lane) {
      const Io* row = from + chain(start, count, lane) * n;
      for (int k = 0; k < n; ++k) to[(lane / W) * n + k][lane % W] = double(row[k]);
    }
  }

  // Centred on the origin.
  template <class Io>
  void store_positions(Io* to, long start, int count) const {
    const int n = 3 * t.tree.n_atoms;
    constexpr int W = kLanes<double>;
    for (int d = 0; d < kDoubles; ++d) {
      VD* x = positions + d * n;
      for (int axis = 0; axis < 3; ++axis) {
        VD mean{};
        for (int k = axis; k < n; k += 3) mean += x[k];
        mean *= 1.0 / t.tree.n_atoms;
        for (int k = axis; k < n; k += 3) x[k] -= mean;
      }
    }
    for (int lane = 0; lane < count; ++lane)
      for (int k = 0; k < n; ++k) to[(start + lane) * n + k] = Io(positions[(lane / W) * n + k][lane % W]);
  }

  void load_angles(const double* from, long start, int count) const {
    constexpr int W = kLanes<double>;
    const int n = t.tree.n_torsions;
    for (int lane = 0; lane < kChains; ++lane)
      for (int k = 0; k < n; ++k)
        angle[k * kDoubles + lane / W][lane % W] = from[chain(start, count, lane) * n + k];
  }

  static void store_sum(const VD* sum, double* to, long start, int count) {
    constexpr int W = kLanes<double>;
    for (int lane = 0; lane < count; ++lane) to[start + lane] = sum[lane / W][lane % W];
  }

  // --- the flow -----------------------------------------------------------------------------------------------------

  // From `internal` to `context`.
  void encode() const {
    if (!t.has_context) return;
    const NetworkTables& n = t.context;
    const int stride = 3 * t.tree.n_atoms;
    for (int k = 0; k < stride; ++k) inputs[k] = Number{};
    for (int k = 0; k < t.tree.n_stiff; ++k) {
      Number& z = inputs[3 * t.tree.stiff[3 * k] + t.tree.stiff[3 * k + 1]];
      for (int u = 0; u < kVectors; ++u)
        z.v[u] = joined(centred(t.tree, internal + 2 * u * stride, k) * t.tree.standard[2 * k + 1],
                        centred(t.tree, internal + (2 * u + 1) * stride, k) * t.tree.standard[2 * k + 1]);
    }
    for (int i = 0; i < n.n_tokens; ++i) {
      Number *x = space.x + i * n.padded, *v = space.v + i * n.padded;
      constant_part(n, i, space.hidden);
      embed(n, space.hidden, inputs + 3 * i, 0, x, v);
      scale_all(n, inverse_scale(n, x), v);
    }
    run_blocks(n, all, space);
    for (int k = 0; k < n.n_active; ++k) {
      Number* x = space.x + n.active[k] * n.padded;
      scale_all(n, inverse_scale(n, x), x);
    }
    for (int k = 0; k < t.tree.n_torsions; ++k) {
      const Number* corners[4];
      for (int c = 0; c < 4; ++c) corners[c] = space.x + t.corners[4 * k + c] * n.padded;
      Number* to = context + k * n.padded;
      product(n.read, corners, 4, [&](int o, const Number& sum) {
        for (int u = 0; u < kVectors; ++u) to[o].v[u] = sum.v[u] + n.read.bias[o];
      });
    }
  }

  TW_INLINE static void constant_part(const NetworkTables& n, int token, Number* to) {
    const float* base = n.base + 2L * token * n.padded;
    for (int f = 0; f < 2 * n.padded; ++f)
      for (int u = 0; u < kVectors; ++u) to[f].v[u] = splat(base[f]);
  }

  // What the couplings of both directions share.
  void prepare() const {
    Number* to = prepared;
    for (int l = 0; l < t.n_couplings; ++l) {
      const NetworkTables& n = t.couplings[l].network;
      for (int k = 0; k < n.n_tokens; ++k, to += 2 * n.padded) {
        if (!t.has_context) {
          constant_part(n, k, to);
          continue;
        }
        const float* base = n.base + 2L * k * n.padded;
        product(n.from_context, context + k * n.padded, [&](int o, const Number& sum) {
          for (int u = 0; u < kVectors; ++u) to[o].v[u] = sum.v[u] + base[o];
        });
      }
    }
  }

  // Sines and cosines of multiples of an angle; see waves in timewarp/flows/circular.py.
  TW_INLINE void features(int token, Number* to) const {
    for (int u = 0; u < kVectors; ++u) {
      const VD* a = angle + token * kDoubles + 2 * u;
      VF sine, cosine, sine_before{}, cosine_before = splat(1.0f);
      sincos_turns(joined(a[0] * (0.5 / kPi), a[1] * (0.5 / kPi)), sine, cosine);
      const VF twice = cosine + cosine;
      for (int m = 0; m < kHarmonics; ++m) {
        to[m].v[u] = sine;
        to[kHarmonics + m].v[u] = cosine;
        const VF sine_next = twice * sine - sine_before, cosine_next = twice * cosine - cosine_before;
        sine_before = sine;
        cosine_before = cosine;
        sine = sine_next;
        cosine = cosine_next;
      }
    }
  }

  // One coupling layer on `angle`.
  template <bool kInverse>
  void couple(int layer, VD* log_slope) const {
    const CouplingTables& coupling = t.couplings[layer];
    const NetworkTables& n = coupling.network;
    const Number* shared = prepared + 2L * layer * n.n_tokens * n.padded;
    for (int k = 0; k < coupling.n_fixed; ++k) {
      const int j = coupling.fixed[k];
      Number *x = space.x + j * n.padded, *v = space.v + j * n.padded;
      features(j, inputs);
      embed(n, shared + 2 * j * n.padded, inputs, 0, x, v);
      scale_all(n, inverse_scale(n, x), v);
    }
    for (int k = 0; k < n.n_active; ++k) {
      const int i = n.active[k];
      const Number* from = shared + 2 * i * n.padded;
      const Number scale = inverse_scale(n, from);
      for (int f = 0; f < n.padded; ++f) {
        space.x[i * n.padded + f] = from[f];
        for (int u = 0; u < kVectors; ++u)
          space.v[i * n.padded + f].v[u] = from[n.padded + f].v[u] * scale.v[u];
      }
    }
    run_blocks(n, all, space);
    for (int k = 0; k < n.n_active; ++k) {
      const int i = n.active[k];
      const Number* x = space.x + i * n.padded;
      const Number scale = inverse_scale(n, x);
      product(n.read, x, [&](int o, const Number& sum) {
        for (int u = 0; u < kVectors; ++u) parameters[o].v[u] = sum.v[u] * scale.v[u] + n.read.bias[o];
      });
      for (int u = 0; u < kVectors; ++u) {
        fractions(parameters, t.bins, u, widths);
        fractions(parameters + t.bins, t.bins, u, heights);
        const VF turn = vtanh(parameters[3 * t.bins].v[u]);
        for (int h = 0; h < kHalves; ++h) {
          VD& a = angle[i * kDoubles + 2 * u + h];
          a = circular_spline<kInverse>(a, parameters, t.bins, u, h, widths, heights, kPi * half(turn, h),
                                        log_slope[2 * u + h]);
        }
      }
    }
  }

  // `angle` to the base, or from it; the log density of the torsions.
  void transport(bool sampling, VD* log_q) const {
    for (int d = 0; d < kDoubles; ++d) log_q[d] = splat(-1.8378770664093454836 * t.tree.n_torsions);  // log(2 pi)
    VD sum[kDoubles] = {};
    if (sampling) {
      for (int l = t.n_couplings - 1; l >= 0; --l) couple<true>(l, sum);
      for (int d = 0; d < kDoubles; ++d) log_q[d] -= sum[d];
    } else {
      for (int l = 0; l < t.n_couplings; ++l) couple<false>(l, sum);
      for (int d = 0; d < kDoubles; ++d) log_q[d] += sum[d];
    }
  }

  // From `angle` to `internal`.
  void store_torsions() const {
    const int stride = 3 * t.tree.n_atoms;
    for (int k = 0; k < t.tree.n_torsions; ++k)
      for (int d = 0; d < kDoubles; ++d) internal[d * stride + 3 * t.tree.torsions[k] + 2] = angle[k * kDoubles + d];
  }
};

}  // namespace timewarp::TIMEWARP_ISA

// The network of a growing molecule (timewarp/flows/growth/network.py) step by step, for a block of chains.
//
// Scoring what is there and drawing anew run through the same code on the same numbers: the density of a draw is the one
// that it is scored with, but for the rounding of positions between the two.
#pragma once

#include "flow_network.hpp"
#include "growth_engine.hpp"

namespace timewarp::TIMEWARP_ISA {
namespace {

// kCount numbers at once: sum[i] += sum over j of w[j] from[j * stride + i].
template <int kCount, class From>
TW_INLINE void gather(const Number* w, const From* from, long stride, int n, Number* sum) {
  Number s[kCount];
  for (int i = 0; i < kCount; ++i) s[i] = sum[i];
  for (int j = 0; j < n; ++j, from += stride)
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i)
#pragma GCC unroll 2
      for (int u = 0; u < kVectors; ++u) {
        if constexpr (sizeof(From) == sizeof(float))
          s[i].v[u] += w[j].v[u] * from[i];
        else
          s[i].v[u] += w[j].v[u] * from[i].v[u];
      }
  for (int i = 0; i < kCount; ++i) sum[i] = s[i];
}

template <class From>
TW_INLINE void gather(const Number* w, const From* from, long stride, int n, Number* sum, int count) {
  int i = 0;
  for (; i + 4 <= count; i += 4) gather<4>(w, from + i, stride, n, sum + i);
  for (; i < count; ++i) gather<1>(w, from + i, stride, n, sum + i);
}

struct GrowthNetwork {
  const GrowthTables& t;
  const GrowthNetworkTables& n;
  const GrowthStaticTables& s;
  int n_sites, memory_size;
  Number *inputs, *pairs, *token, *query, *weights, *mixed, *hidden, *read, *logits, *outlook;
  Number* memory;  // (blocks, sites, 2 width): of torsions that have an angle
  Growth features[kVectors];

  static Number* take(Space& space, long count) { return reinterpret_cast<Number*>(space.take(count * kVectors)); }

  GrowthNetwork(const GrowthTables& tables, const GrowthNetworkTables& network, const GrowthStaticTables& fixed, Space& space)
      : t(tables), n(network), s(fixed), n_sites(tables.n_steps + 1), memory_size(2 * network.width),
        inputs(take(space, kInputs)), pairs(take(space, long(n_sites) * kSpatial)), token(take(space, n.padded)),
        query(take(space, n.width)), weights(take(space, long(n.n_heads) * n_sites)),
        mixed(take(space, n.width + n.n_heads * kPair)), hidden(take(space, n.hidden)),
        read(take(space, n.read.n_out)), logits(take(space, kFine)), outlook(take(space, 2 * kCoarse)),
        memory(take(space, long(n.n_blocks) * n_sites * memory_size)), features{{tables, space}, {tables, space}} {
    static_assert(kVectors == 2, "features of two vectors of chains");
  }

  Number* memory_of(int block, int site) const { return memory + (long(block) * n_sites + site) * memory_size; }

  // Takes in where everything is at step k; torsions of step k and later may have any value.
  void look(int k) {
    for (int u = 0; u < kVectors; ++u) {
      Growth& f = features[u];
      f.centre();
      for (int later = t.n_steps - 1; later > k; --later) f.fold(later);
      f.place(k);
      for (int site = 0; site < n_sites; ++site) {
        VF values[kSpatial];
        f.spatial(k, site, values);
        for (int v = 0; v < kSpatial; ++v) pairs[site * kSpatial + v].v[u] = values[v];
      }
      inputs[kInputs - 2].v[u] = f.bends[0];
      inputs[kInputs - 1].v[u] = f.bends[1];
      if (!n.physics) continue;
      f.profile(k);
      VF electric[kCoarse], crowd[kCoarse], sum{};
      f.ahead(k, electric, crowd);
      for (int g = 0; g < kCoarse; ++g) {
        inputs[2 * kFine + g].v[u] = vtanh(electric[g] * 0.25f);
        inputs[2 * kFine + kCoarse + g].v[u] = vtanh(crowd[g] * 0.5f);
        outlook[g].v[u] = vtanh(electric[g] * 0.125f) * 8.0f;
        outlook[kCoarse + g].v[u] = vtanh(crowd[g] * 0.125f) * 8.0f;
      }
      for (int g = 0; g < kFine; ++g) {
        const VF density = vexp(f.energy[g]);
        sum += density;
        inputs[kFine + g].v[u] = density;
        inputs[g].v[u] = vmax(f.energy[g], splat(-12.0f)) * 0.25f;
      }
      const VF scale = float(kFine) * rcp(sum);
      for (int g = 0; g < kFine; ++g) inputs[kFine + g].v[u] = vmin(inputs[kFine + g].v[u] * scale, splat(16.0f)) * 0.25f;
    }
    if (!n.physics)
      for (int i = 0; i < kInputs - 2; ++i) inputs[i] = Number{};
  }

  // The token of step k through all blocks; keys and values of the step, less the angle's part, go to `memory`.
  void pass(int k) {
    const float* constant = s.steps + long(k) * n.padded;
    product(n.embed, inputs, [&](int o, const Number& sum) {
      for (int u = 0; u < kVectors; ++u) token[o].v[u] = sum.v[u] + constant[o];
    });
    for (int block = 0; block < n.n_blocks; ++block) {
      const GrowthBlockTables& b = n.blocks[block];
      const Number scale = inverse_scale(n.width, n.epsilon, token);
      Number* now = memory_of(block, k + 1);
      product(b.fused, token, [&](int o, const Number& sum) {
        if (o >= 3 * n.width) return;
        Number& to = o < n.width ? query[o] : now[o - n.width];
        for (int u = 0; u < kVectors; ++u) to.v[u] = sum.v[u] * scale.v[u] + b.fused.bias[o];
      });
      attend(block, k);
      product(b.join, mixed, [&](int o, const Number& sum) {
        for (int u = 0; u < kVectors; ++u) token[o].v[u] += sum.v[u] + b.join.bias[o];
      });
      const Number again = inverse_scale(n.width, n.epsilon, token);
      product(b.widen, token, [&](int o, const Number& sum) {
        for (int u = 0; u < kVectors; ++u) hidden[o].v[u] = silu(sum.v[u] * again.v[u] + b.widen.bias[o]);
      });
      product(b.narrow, hidden, [&](int o, const Number& sum) {
        for (int u = 0; u < kVectors; ++u) token[o].v[u] += sum.v[u] + b.narrow.bias[o];
      });
    }
  }

  // What each head reads, into `mixed`: values, then the mean place of what it reads.
  void attend(int block, int k) {
    const GrowthBlockTables& b = n.blocks[block];
    const int size = n.width / n.n_heads;
    const float* chemistry = s.sites + long(block) * n_sites * memory_size;
    const float* bias = s.pair_bias + (long(block) * t.n_steps + k) * n_sites * n.n_heads;
    for (int j = 0; j < n_sites; ++j) {
      product(b.bias, pairs + j * kSpatial, [&](int h, const Number& sum) {
        if (h >= n.n_heads) return;
        for (int u = 0; u < kVectors; ++u) weights[h * n_sites + j].v[u] = sum.v[u] + bias[j * n.n_heads + h];
      });
      const bool past = j >= 1 && j <= k;
      const Number* drawn = memory_of(block, j);
      const float* fixed = chemistry + long(j) * memory_size;
      for (int h = 0; h < n.n_heads; ++h) {
        Number dot{};
        for (int f = h * size; f < (h + 1) * size; ++f)
          for (int u = 0; u < kVectors; ++u)
            dot.v[u] += past ? query[f].v[u] * drawn[f].v[u] : query[f].v[u] * fixed[f];
        for (int u = 0; u < kVectors; ++u) weights[h * n_sites + j].v[u] += dot.v[u];
      }
    }
    const float* relations = s.relations + long(k) * n_sites * kRelation;
    for (int i = 0; i < n.width + n.n_heads * kPair; ++i) mixed[i] = Number{};
    for (int h = 0; h < n.n_heads; ++h) {
      Number* w = weights + h * n_sites;
      softmax(w);
      const int from = n.width + h * size;  // of the values
      Number* value = mixed + h * size;
      gather(w, chemistry + from, memory_size, 1, value, size);
      gather(w + 1, memory_of(block, 1) + from, memory_size, k, value, size);
      gather(w + k + 1, chemistry + long(k + 1) * memory_size + from, memory_size, n_sites - k - 1, value, size);
      Number* place = mixed + n.width + h * kPair;
      gather(w, pairs, kSpatial, n_sites, place, kSpatial);
      gather(w, relations, kRelation, n_sites, place + kSpatial, kRelation);
    }
  }

  void softmax(Number* w) const {
    for (int u = 0; u < kVectors; ++u) {
      VF highest = w[0].v[u], sum{};
      for (int j = 1; j < n_sites; ++j) highest = vmax(w[j].v[u], highest);
      for (int j = 0; j < n_sites; ++j) {
        w[j].v[u] = vexp(w[j].v[u] - highest);
        sum += w[j].v[u];
      }
      const VF scale = rcp(sum);
      for (int j = 0; j < n_sites; ++j) w[j].v[u] *= scale;
    }
  }

  // Log density, not normalised, on the grid of angles, into `logits`; after pass(k).
  void read_out(int k) {
    const Number scale = inverse_scale(n.width, n.epsilon, token);
    product(n.read, token, [&](int o, const Number& sum) {
      for (int u = 0; u < kVectors; ++u) read[o].v[u] = sum.v[u] * scale.v[u] + n.read.bias[o];
    });
    const int waves = 2 * n.harmonics;
    for (int g = 0; g < kFine; ++g) logits[g] = Number{};
    gather(read, n.waves, kFine, waves, logits, kFine);
    if (!n.physics) return;
    const Number *own = read + waves, *electric = own + 1, *crowd = own + 2;
    for (int c = 0; c < kCoarse; ++c)
      for (int u = 0; u < kVectors; ++u)
        outlook[c].v[u] = outlook[c].v[u] * electric->v[u] + outlook[kCoarse + c].v[u] * crowd->v[u];
    gather(outlook, t.interpolation[t.steps[k].twisting], kFine, kCoarse, logits, kFine);
    for (int u = 0; u < kVectors; ++u)
      for (int g = 0; g < kFine; ++g) logits[g].v[u] += (1.0f + own->v[u]) * features[u].energy[g];
  }

  // Adds what angles (rad) of step k tell to the keys and values that pass(k) left.
  void remember(int k, const double* angle) {
    Number waves[2 * kHarmonicsIn];
    for (int u = 0; u < kVectors; ++u) {
      VF turns;
      for (int lane = 0; lane < W; ++lane) turns[lane] = float(angle[u * W + lane] * 0.15915494309189533577);
      for (int m = 0; m < kHarmonicsIn; ++m)
        sincos_turns(float(m + 1) * turns, waves[m].v[u], waves[kHarmonicsIn + m].v[u]);
    }
    for (int block = 0; block < n.n_blocks; ++block) {
      const float* w = n.blocks[block].angle;
      Number* to = memory_of(block, k + 1);
      for (int f = 0; f < memory_size; ++f)
        for (int i = 0; i < 2 * kHarmonicsIn; ++i, ++w)
          for (int u = 0; u < kVectors; ++u) to[f].v[u] += waves[i].v[u] * *w;
    }
  }
};

}  // namespace
}  // namespace timewarp::TIMEWARP_ISA

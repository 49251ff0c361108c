// Networks over tokens, for a block of chains: kVectors SIMD vectors of them side by side.
//
// Layout: one number of one token is kVectors vectors; a token is `padded` of these in a row. A matrix product takes a
// tile of kTile outputs times kVectors vectors into registers, and its weights are read one by one and broadcast.
#pragma once

#include "flow_tables.hpp"
#include "simd.hpp"

namespace timewarp::TIMEWARP_ISA {

constexpr int kVectors = 2;
constexpr int kChains = kVectors * kLanes<float>;
// Outputs of a product in registers at once: AVX-512 has 32 registers, the others 16.
#if defined(__AVX512F__)
constexpr int kOutputs = kTile;
#else
constexpr int kOutputs = kTile / 2;
#endif

// One number of a token, for a block of chains.
struct Number {
  VF v[kVectors];
};

// finish(o, number) for every output o of a layer that reads n_segments vectors of n_in / n_segments numbers.
template <class Finish>
TW_INLINE void product(const LinearTable& layer, const Number* const* segments, int n_segments, const Finish& finish) {
  const int length = layer.n_in / n_segments;
  for (int tile = 0; tile < layer.n_out; tile += kOutputs) {
    const float* w = layer.weights + (tile / kTile) * kTile * layer.n_in + tile % kTile;
    Number sum[kOutputs] = {};
    for (int s = 0; s < n_segments; ++s) {
      const Number* x = segments[s];
      for (int k = 0; k < length; ++k, ++x, w += kTile) {
#pragma GCC unroll 8
        for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 2
          for (int u = 0; u < kVectors; ++u) sum[o].v[u] += w[o] * x->v[u];
      }
    }
#pragma GCC unroll 8
    for (int o = 0; o < kOutputs; ++o) finish(tile + o, sum[o]);
  }
}

template <class Finish>
TW_INLINE void product(const LinearTable& layer, const Number* x, const Finish& finish) {
  product(layer, &x, 1, finish);
}

// x / (1 + exp(-x))
TW_INLINE VF silu(VF x) { return x * rcp(1.0f + vexp(-x)); }

// 1 / root mean square of a token, as layer normalisation has it.
TW_INLINE Number inverse_scale(int width, float epsilon, const Number* x) {
  Number even{}, odd{};
  int f = 0;
  for (; f + 1 < width; f += 2)
    for (int u = 0; u < kVectors; ++u) {
      even.v[u] += x[f].v[u] * x[f].v[u];
      odd.v[u] += x[f + 1].v[u] * x[f + 1].v[u];
    }
  if (f < width)
    for (int u = 0; u < kVectors; ++u) even.v[u] += x[f].v[u] * x[f].v[u];
  Number r;
  for (int u = 0; u < kVectors; ++u) r.v[u] = rsqrt((even.v[u] + odd.v[u]) * (1.0f / float(width)) + epsilon);
  return r;
}

TW_INLINE Number inverse_scale(const NetworkTables& n, const Number* x) { return inverse_scale(n.width, n.epsilon, x); }

// Scratch memory of a network: token vectors, values, and what one token needs on its way.
struct NetworkSpace {
  Number *x, *v, *mixed, *hidden;
};

// mixed[k] = sum over tokens j of attention[head][tokens[k]][j] v[j], for kTokens tokens.
template <int kTokens>
TW_INLINE void mix(const NetworkTables& n, const float* attention, const Number* v, const std::int32_t* tokens,
                   Number* mixed) {
  const int size = n.width / n.n_heads;
  for (int h = 0; h < n.n_heads; ++h) {
    const float* w[kTokens];
    for (int k = 0; k < kTokens; ++k) w[k] = attention + (h * n.n_tokens + tokens[k]) * n.n_tokens;
    for (int f = h * size; f < (h + 1) * size; ++f) {
      Number sum[kTokens] = {};
      const Number* from = v + f;
      for (int j = 0; j < n.n_tokens; ++j, from += n.padded) {
#pragma GCC unroll 4
        for (int k = 0; k < kTokens; ++k)
#pragma GCC unroll 2
          for (int u = 0; u < kVectors; ++u) sum[k].v[u] += w[k][j] * from->v[u];
      }
      for (int k = 0; k < kTokens; ++k) mixed[k * n.padded + f] = sum[k];
    }
  }
}

// The rest of a block for one token, given what attention mixed for it.
TW_INLINE void transform(const NetworkTables& n, const AttentionBlock& b, const Number* mixed, Number* x,
                         Number* hidden) {
  product(b.project, mixed, [&](int o, const Number& sum) {
    for (int u = 0; u < kVectors; ++u) x[o].v[u] += sum.v[u] + b.project.bias[o];
  });
  const Number scale = inverse_scale(n, x);
  product(b.widen, x, [&](int o, const Number& sum) {
    for (int u = 0; u < kVectors; ++u) hidden[o].v[u] = silu(sum.v[u] * scale.v[u] + b.widen.bias[o]);
  });
  product(b.narrow, hidden, [&](int o, const Number& sum) {
    for (int u = 0; u < kVectors; ++u) x[o].v[u] += sum.v[u] + b.narrow.bias[o];
  });
}

// All blocks, from tokens s.x and the first block's values s.v; afterwards s.x of the active tokens is right.
inline void run_blocks(const NetworkTables& n, const std::int32_t* all, const NetworkSpace& s) {
  for (int k = 0; k < n.n_blocks; ++k) {
    const AttentionBlock& b = n.blocks[k];
    if (k > 0)
      for (int j = 0; j < n.n_tokens; ++j) {
        const Number scale = inverse_scale(n, s.x + j * n.padded);
        Number* v = s.v + j * n.padded;
        product(b.value, s.x + j * n.padded, [&](int o, const Number& sum) {
          for (int u = 0; u < kVectors; ++u) v[o].v[u] = sum.v[u] * scale.v[u];
        });
      }
    const bool last = k + 1 == n.n_blocks;
    const std::int32_t* tokens = last ? n.active : all;
    const int count = last ? n.n_active : n.n_tokens;
    for (int start = 0; start < count; start += 4) {
      const int some = count - start < 4 ? count - start : 4;
      switch (some) {
        case 4: mix<4>(n, b.attention, s.v, tokens + start, s.mixed); break;
        case 3: mix<3>(n, b.attention, s.v, tokens + start, s.mixed); break;
        case 2: mix<2>(n, b.attention, s.v, tokens + start, s.mixed); break;
        default: mix<1>(n, b.attention, s.v, tokens + start, s.mixed); break;
      }
      for (int i = 0; i < some; ++i)
        transform(n, b, s.mixed + i * n.padded, s.x + tokens[start + i] * n.padded, s.hidden);
    }
  }
}

// A token and its first value: the constant part and inputs from ... n_inputs - 1, each times a row of the embedding.
TW_INLINE void embed(const NetworkTables& n, const Number* constant, const Number* inputs, int from, Number* x,
                     Number* v) {
  for (int f = 0; f < n.padded; ++f) {
    Number token = constant[f], value = constant[n.padded + f];
    for (int k = from; k < n.n_inputs; ++k) {
      const float* w = n.embed + 2L * k * n.padded + f;
      for (int u = 0; u < kVectors; ++u) {
        token.v[u] += w[0] * inputs[k].v[u];
        value.v[u] += w[n.padded] * inputs[k].v[u];
      }
    }
    x[f] = token;
    v[f] = value;
  }
}

TW_INLINE void scale_all(const NetworkTables& n, const Number& scale, Number* x) {
  for (int f = 0; f < n.padded; ++f)
    for (int u = 0; u < kVectors; ++u) x[f].v[u] *= scale.v[u];
}

}  // namespace timewarp::TIMEWARP_ISA

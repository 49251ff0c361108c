// Piecewise-linear densities on the circle (timewarp/flows/circular.py), in double precision.
#pragma once

#include "flow_network.hpp"
#include "growth_tables.hpp"

namespace timewarp::TIMEWARP_ISA {
namespace {

constexpr double kPi = 3.14159265358979323846, kFloor = 1e-3, kSpacing = 2 * kPi / kFine;

// Leaves the logarithms of one well as they are (scale.py): 1 for that about 0, 2 for that about pi.
TW_INLINE void shut(int well, Number* logits) {
  if (!well) return;
  for (int g = 0; g < kFine; ++g) {
    const bool near_zero = g > kFine / 4 && g < 3 * kFine / 4, near_pi = g < kFine / 4 || g > 3 * kFine / 4;
    if (well == 1 ? near_zero : near_pi) continue;
    for (int u = 0; u < kVectors; ++u) logits[g].v[u] = splat(-1e4f);
  }
}

// Log of du / d angle at a place on the scale of peptide bonds.
TW_INLINE double log_slope(double place) {
  const double cosine = __builtin_cos(place), square = cosine * cosine;
  return __builtin_log((kStretch * kStretch * square + (1 - square)) / kStretch);
}

struct CircularDensity {
  double node[kChains][kFine];

  // From logarithms on the grid of angles.
  void set(const Number* logits) {
    constexpr int half = kLanes<double>, parts = kChains / half;
    typedef float HF __attribute__((vector_size(half * sizeof(float))));
    for (int p = 0; p < parts; ++p) {
      VD value[kFine], highest, sum{};
      for (int g = 0; g < kFine; ++g) {
        HF here;
        __builtin_memcpy(&here, reinterpret_cast<const char*>(logits + g) + p * sizeof(HF), sizeof(HF));
        value[g] = __builtin_convertvector(here, VD);
        highest = g ? vmax(value[g], highest) : value[g];
      }
      for (int g = 0; g < kFine; ++g) sum += value[g] = vexp(value[g] - highest);
      const VD scale = (1 - kFloor) / (kSpacing * sum);
      for (int g = 0; g < kFine; ++g) {
        value[g] = value[g] * scale + kFloor / (2 * kPi);
        for (int lane = 0; lane < half; ++lane) node[p * half + lane][g] = value[g][lane];
      }
    }
  }

  // Log density of an angle in rad.
  double log_prob(int chain, double angle) const {
    const double* d = node[chain];
    double place = (angle + kPi) / kSpacing;
    place -= kFine * __builtin_floor(place / kFine);
    const double left = __builtin_floor(place);
    const int index = left >= 0 && left < kFine ? int(left) : kFine - 1;  // an angle that is not a number, too
    const double low = d[index], high = d[(index + 1) % kFine];
    return __builtin_log(low + (place - left) * (high - low));
  }

  // The angle at which the distribution function is `uniform`.
  double sample(int chain, double uniform) const {
    const double* d = node[chain];
    double total = 0;
    for (int g = 0; g < kFine; ++g) total += 0.5 * (d[g] + d[(g + 1) % kFine]);
    const double target = uniform * total;
    double before = 0;
    int index = 0;
    for (; index < kFine - 1; ++index) {
      const double next = before + 0.5 * (d[index] + d[(index + 1) % kFine]);
      if (next > target) break;
      before = next;
    }
    const double low = d[index], up = d[(index + 1) % kFine], rest = target > before ? target - before : 0.0;
    const double square = low * low + 2 * (up - low) * rest;
    double share = 2 * rest / (low + __builtin_sqrt(square > 0 ? square : 0));
    share = share < 1 ? share : 1.0;
    const double angle = (index + share) * kSpacing - kPi;
    return angle >= kPi ? angle - 2 * kPi : angle;
  }
};

}  // namespace
}  // namespace timewarp::TIMEWARP_ISA

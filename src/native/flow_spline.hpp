// Rational-quadratic splines (timewarp/flows/splines.py), one chain per lane.
//
// The network's parameters are in single precision and so are the widths and heights of the bins that are made of them;
// from there on everything is in double precision, so that the map and its inverse agree to 1e-12 given these. The bin
// is found by comparing with every edge, without gathers.
#pragma once

#include "flow_network.hpp"

namespace timewarp::TIMEWARP_ISA {

constexpr double kPi = 3.14159265358979323846;
constexpr int kHalves = 2;                         // double vectors in a float vector
constexpr int kDoubles = kVectors * kHalves;       // double vectors in a block of chains

TW_INLINE VD half(VF a, int which) {
  typedef float H __attribute__((vector_size(kBytes / 2)));
  H part;
  __builtin_memcpy(&part, reinterpret_cast<const char*>(&a) + which * (kBytes / 2), kBytes / 2);
  return __builtin_convertvector(part, VD);
}

TW_INLINE VF joined(VD low, VD high) {
  typedef float H __attribute__((vector_size(kBytes / 2)));
  const H parts[2] = {__builtin_convertvector(low, H), __builtin_convertvector(high, H)};
  VF a;
  __builtin_memcpy(&a, parts, sizeof a);
  return a;
}

// An angle in [-pi, pi], to rounding.
TW_INLINE VD wrapped(VD a) {
  const VD magic = splat(6755399441055744.0);
  return a - ((a * (0.5 / kPi) + magic) - magic) * (2 * kPi);
}

// Fractions of the circle that bins take: a softmax with a least value, as _cumulative in splines.py.
TW_INLINE void fractions(const Number* logits, int bins, int u, VF* out) {
  constexpr float kLeast = 1e-3f;
  VF top = logits[0].v[u], sum{};
  for (int b = 1; b < bins; ++b) top = vmax(logits[b].v[u], top);
  for (int b = 0; b < bins; ++b) {
    out[b] = vexp(logits[b].v[u] - top);
    sum += out[b];
  }
  const VF factor = (1.0f - kLeast * float(bins)) / sum;
  for (int b = 0; b < bins; ++b) out[b] = kLeast + factor * out[b];
}

TW_INLINE VD knot_slope(VD raw) {
  const VD x = raw + 0.539742417236952;  // log(expm1(1 - 1e-3))
  return 1e-3 + vmax(x, VD{}) + vlog(1.0 + vexp(-vabs(x)));
}

// The bin that a value lies in.
struct Bin {
  VD x0, x1, y0, y1, d0, d1;
};

// `key` is compared with the edges along x, or (inverse) along y. A circular spline has `bins` slopes, the first of
// them at the seam; the others have bins - 1, and slope 1 (a parameter of zero) at both ends.
template <bool kInverse, bool kCircular>
TW_INLINE Bin find_bin(VD key, const Number* parameters, int bins, double bound, int u, int which, const VF* widths,
                       const VF* heights) {
  const Number* slopes = parameters + 2 * bins;
  VD x = splat(-bound), y = splat(-bound);
  const VD first = kCircular ? half(slopes[0].v[u], which) : VD{};
  VD raw = first;
  Bin bin{};
  for (int b = 0; b < bins; ++b) {
    const bool last = b + 1 == bins;
    const VD x_next = last ? splat(bound) : x + (2 * bound) * half(widths[b], which);
    const VD y_next = last ? splat(bound) : y + (2 * bound) * half(heights[b], which);
    const VD raw_next = last ? first : half(slopes[kCircular ? b + 1 : b].v[u], which);
    if (b == 0) {
      bin = {x, x_next, y, y_next, raw, raw_next};
    } else {
      const ID beyond = key >= (kInverse ? y : x);
      bin.x0 = beyond ? x : bin.x0;
      bin.x1 = beyond ? x_next : bin.x1;
      bin.y0 = beyond ? y : bin.y0;
      bin.y1 = beyond ? y_next : bin.y1;
      bin.d0 = beyond ? raw : bin.d0;
      bin.d1 = beyond ? raw_next : bin.d1;
    }
    x = x_next;
    y = y_next;
    raw = raw_next;
  }
  bin.d0 = knot_slope(bin.d0);
  bin.d1 = knot_slope(bin.d1);
  return bin;
}

// Image of a value within its bin, and the log of the map's slope.
template <bool kInverse>
TW_INLINE VD within(const Bin& k, VD value, VD& log_slope) {
  const VD width = k.x1 - k.x0, height = k.y1 - k.y0, s = height / width;
  const VD bend = k.d0 + k.d1 - 2.0 * s;
  VD t, image;
  if (kInverse) {
    const VD rise = value - k.y0;
    const VD a = height * (s - k.d0) + rise * bend, b = height * k.d0 - rise * bend, c = -s * rise;
    const VD discriminant = b * b - 4.0 * a * c;
    t = 2.0 * c / (-b - vsqrt(discriminant < 0.0 ? VD{} : discriminant));
    image = k.x0 + t * width;
  } else {
    t = (value - k.x0) / width;
  }
  const VD u = t * (1.0 - t), denominator = s + bend * u;
  if (!kInverse) image = k.y0 + height * (s * t * t + k.d0 * u) / denominator;
  const VD rest = 1.0 - t;
  const VD log = vlog(s * s * (k.d1 * t * t + 2.0 * s * u + k.d0 * rest * rest) / (denominator * denominator));
  log_slope = kInverse ? -log : log;
  return image;
}

// Image of an angle, and the log of the map's slope added to `log_slope`. `widths` and `heights` hold bins each.
template <bool kInverse>
TW_INLINE VD circular_spline(VD angle, const Number* parameters, int bins, int u, int which, const VF* widths,
                             const VF* heights, VD turn, VD& log_slope) {
  VD value = wrapped(kInverse ? angle - turn : angle);
  value = value < -kPi ? splat(-kPi) : value;
  value = value > kPi ? splat(kPi) : value;
  VD log;
  const VD image = within<kInverse>(
      find_bin<kInverse, true>(value, parameters, bins, kPi, u, which, widths, heights), value, log);
  log_slope += log;
  return wrapped(kInverse ? image : image + turn);
}

constexpr double kBound = 5.0;            // SPLINE_BOUND in timewarp/flows/internal/flow.py
constexpr float kLargestLogScale = 2.0f;  // LARGEST_LOG_SCALE there

// Shift, scale and linear spline of a stiff coordinate: towards N(0, 1), or back (inverse).
template <bool kInverse>
TW_INLINE VD shift_scale_spline(VD value, const Number* parameters, int bins, int u, int which, const VF* widths,
                                const VF* heights, VD& log_slope) {
  const VD shift = half(parameters[0].v[u], which);
  const VD log_scale = half(kLargestLogScale * vtanh(parameters[1].v[u] / kLargestLogScale), which);
  if (!kInverse) value = (value - shift) * vexp(-log_scale);
  const ID inside = vabs(value) < kBound;
  const VD clamped = inside ? value : VD{};
  VD log;
  const VD image = within<kInverse>(
      find_bin<kInverse, false>(clamped, parameters + 2, bins, kBound, u, which, widths, heights), clamped, log);
  value = inside ? image : value;
  log_slope += (inside ? log : VD{}) + (kInverse ? log_scale : -log_scale);
  return kInverse ? value * vexp(log_scale) + shift : value;
}

}  // namespace timewarp::TIMEWARP_ISA

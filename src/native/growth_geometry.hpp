// Axes of torsions in double precision, rounding to single, and the pair functions of the solvent.
#pragma once

#include "vec3.hpp"

namespace timewarp::TIMEWARP_ISA {
namespace {

constexpr int W = kLanes<float>;
constexpr float kClosest = 0.02f;
constexpr int kHalf = kLanes<double>, kHalves = W / kHalf;

typedef Vec3<VF> P;
typedef Vec3<VD> PD;
typedef float HF __attribute__((vector_size(kHalf * sizeof(float))));

struct Space {
  char* at;
  long used = 0;
  template <class V = VF>
  V* take(long n) {
    static_assert(sizeof(V) == kBytes, "one vector");
    V* here = reinterpret_cast<V*>(at + used);
    used += n * kBytes;
    return here;
  }
};

// Rounds one half of the lanes into a vector of all.
TW_INLINE void put(VF* to, int half, VD value) {
  const HF rounded = __builtin_convertvector(value, HF);
  __builtin_memcpy(reinterpret_cast<char*>(to) + half * sizeof(HF), &rounded, sizeof(HF));
}

TW_INLINE void put(VF* to, int place, int half, PD p) {
  put(to + 3 * place, half, p.x);
  put(to + 3 * place + 1, half, p.y);
  put(to + 3 * place + 2, half, p.z);
}

TW_INLINE void put(VD* to, int place, PD p) {
  to[3 * place] = p.x;
  to[3 * place + 1] = p.y;
  to[3 * place + 2] = p.z;
}

// Twice the Born integral of an atom at another; see descreening() in timewarp/energies/born.py.
TW_INLINE VF descreening(VF distance, float rho, float scaled) {
  distance = vmax(distance, splat(kClosest));
  const VF inverse = rcp(distance);
  const VF iu = rcp(vmax(distance + scaled, splat(rho)));
  const VF lower = vmax(vabs(distance - scaled), splat(rho)), il = rcp(lower);
  const VF bent = 1.0f - 0.25f * (distance - scaled * scaled * inverse) * (il + iu);
  return bent * (il - iu) + 0.5f * vlog(lower * iu) * inverse;
}

TW_INLINE VF interaction(VF squared, VF product) {
  return rsqrt(squared + product * vexp(-0.25f * squared * rcp(product)));
}

TW_INLINE VD inverse_norm(PD a) { return rcp(vsqrt(dot(a, a))); }
TW_INLINE PD unit3(PD a) { return a * inverse_norm(a); }

// Axes of a torsion (Axis in profiles.py).
struct Frame {
  PD origin, side, across, along;
  VD angle, cosine, sine;  // of the torsion now
  TW_INLINE PD local(PD x) const {
    const PD d = x - origin;
    return {dot(d, side), dot(d, across), dot(d, along)};
  }
  // Local coordinates of a point that turns along, were the torsion zero.
  TW_INLINE PD at_zero(PD p) const { return {p.x * cosine + p.y * sine, p.y * cosine - p.x * sine, p.z}; }
};

// In the mirror where `hand` is -1.
TW_INLINE Frame frame_of(const std::int32_t* corners, const VD* x, VD hand) {
  Frame f;
  const PD i = at(x, corners[0]), b = at(x, corners[2]), c = at(x, corners[3]);
  f.origin = at(x, corners[1]);
  f.along = unit3(f.origin - b);
  const PD arm = c - b;
  f.side = unit3(arm - f.along * dot(arm, f.along));
  f.across = cross(f.along, f.side) * hand;
  const PD p = f.local(i);
  f.angle = vatan2(p.y, p.x);
  const VD inverse = rcp(vsqrt(p.x * p.x + p.y * p.y));
  f.cosine = p.x * inverse;
  f.sine = p.y * inverse;
  return f;
}

// +1 where a stereocentre is L or there is none, -1 where it is D (handedness.py).
TW_INLINE VD hand_of(const std::int32_t* centre, const VD* x) {
  VD sign = splat(1.0);
  if (centre[0] < 0) return sign;
  const PD o = at(x, centre[0]);
  const VD volume = dot(at(x, centre[1]) - o, cross(at(x, centre[2]) - o, at(x, centre[3]) - o));
  for (int lane = 0; lane < kHalf; ++lane) sign[lane] = volume[lane] < 0 ? -1.0 : 1.0;
  return sign;
}

// The place of an angle on the scale of peptide bonds, and back (scale.py).
TW_INLINE VD to_scale(VD angle) {
  VD sine, cosine;
  sincos_turns(angle * 0.15915494309189533577, sine, cosine);
  return vatan2(kStretch * sine, cosine);
}

TW_INLINE VD from_scale(VD place) {
  VD sine, cosine;
  sincos_turns(place * 0.15915494309189533577, sine, cosine);
  return vatan2(sine, kStretch * cosine);
}

TW_INLINE VD bend(PD u, PD v) {
  const PD n = cross(u, v);
  return vatan2(vsqrt(dot(n, n)), dot(u, v));
}

}  // namespace
}  // namespace timewarp::TIMEWARP_ISA

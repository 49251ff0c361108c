// Positions <-> internal coordinates (timewarp/geometry/internal.py) in double precision, one chain per lane.
#pragma once

#include "flow_spline.hpp"
#include "vec3.hpp"

namespace timewarp::TIMEWARP_ISA {

TW_INLINE Point unit(Point a) { return a * rcp(vsqrt(dot(a, a))); }

TW_INLINE void sincos(VD angle, VD& sine, VD& cosine) { sincos_turns(angle * (0.5 / kPi), sine, cosine); }

// y[3 * atom + column] of one vector of chains; dihedrals as the tree has them, relative to those of siblings.
TW_INLINE void to_internal(const TreeTables& t, const VD* x, VD* y) {
  for (int place = 0; place < t.n_atoms; ++place) {
    const int atom = t.order[place];
    const std::int32_t* r = t.references + 3 * atom;
    VD length{}, angle{}, turn{};
    if (place > 0) {
      const Point bond = at(x, atom) - at(x, r[0]);
      length = vsqrt(dot(bond, bond));
      if (place > 1) {
        const Point other = at(x, r[1]) - at(x, r[0]), normal = cross(bond, other);
        angle = vatan2(vsqrt(dot(normal, normal)), dot(bond, other));
      }
      // First siblings have an earlier place, and their dihedrals are absolute.
      if (place > 2) {
        turn = dihedral(at(x, atom), at(x, r[0]), at(x, r[1]), at(x, r[2]));
        if (t.sibling[atom] >= 0) turn = wrapped(turn - y[3 * t.sibling[atom] + 2]);
      }
    }
    y[3 * atom] = length;
    y[3 * atom + 1] = angle;
    y[3 * atom + 2] = turn;
  }
}

// Places all atoms on the root atoms of `x`, into `x` itself.
TW_INLINE void to_positions(const TreeTables& t, const VD* y, VD* x) {
  const int root = t.order[0], second = t.order[1], third = t.order[2];
  const auto put = [&](int atom, Point p) {
    x[3 * atom] = p.x;
    x[3 * atom + 1] = p.y;
    x[3 * atom + 2] = p.z;
  };
  const Point origin = at(x, root), axis = unit(at(x, second) - origin), in_plane = at(x, third) - at(x, second);
  const Point side = unit(in_plane - axis * dot(in_plane, axis));
  put(second, origin + axis * y[3 * second]);
  VD sine, cosine;
  sincos(y[3 * third + 1], sine, cosine);
  put(third, at(x, second) + (side * sine - axis * cosine) * y[3 * third]);
  for (int place = 3; place < t.n_atoms; ++place) {
    const int atom = t.order[place];
    const std::int32_t* r = t.references + 3 * atom;
    const Point a = at(x, r[0]), b = at(x, r[1]), c = at(x, r[2]);
    const Point forward = unit(a - b), normal = unit(cross(b - c, forward)), binormal = cross(normal, forward);
    VD turn = y[3 * atom + 2];
    if (t.sibling[atom] >= 0) turn += y[3 * t.sibling[atom] + 2];
    VD turn_sine, turn_cosine;
    sincos(turn, turn_sine, turn_cosine);
    sincos(y[3 * atom + 1], sine, cosine);
    const Point direction = binormal * (sine * turn_cosine) + normal * (sine * turn_sine) - forward * cosine;
    put(atom, a + direction * y[3 * atom]);
  }
}

// Stiff coordinate k less its mean.
TW_INLINE VD centred(const TreeTables& t, const VD* y, int k) {
  const std::int32_t* place = t.stiff + 3 * k;
  const VD offset = y[3 * place[0] + place[1]] - t.standard[2 * k];
  return place[2] ? wrapped(offset) : offset;
}

// log of prod b^2 prod sin(theta), or NaN beyond the chart (b > 0, 0 < theta < pi).
TW_INLINE VD log_volume(const TreeTables& t, const VD* y) {
  const VD nan = splat(__builtin_nan(""));
  VD sum{};
  for (int place = 1; place < t.n_atoms; ++place) {
    const VD length = y[3 * t.order[place]], angle = y[3 * t.order[place] + 1];
    sum += length > 0.0 ? 2.0 * vlog(length) : nan;
    if (place > 1) {
      VD sine, cosine;
      sincos(angle, sine, cosine);
      const VD log = angle > 0.0 ? vlog(sine) : nan;
      sum += angle < kPi ? log : nan;
    }
  }
  return sum;
}

}  // namespace timewarp::TIMEWARP_ISA

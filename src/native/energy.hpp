// Potential energy and forces of one block of configurations, one per SIMD lane.
//
// Layout: x[3 * atom + axis] is one vector over the block. Every pair is visited once, without branches and without
// gathers; what a pair's last pass needs of its first one is kept in scratch memory, which for peptides stays in the
// second-level cache. The formulas are those of the torch version (timewarp/energies/{bonded,pairs,born,cmap}.py).
#pragma once

#include "energy_tables.hpp"
#include "simd.hpp"
#include "vec3.hpp"

namespace timewarp::TIMEWARP_ISA {

// Sums of energies in double precision, one per lane: single precision would lose 1e-3 kT in larger molecules.
template <class T>
struct EnergySum {
  double lane[kLanes<T>] = {};
  TW_INLINE void add(Vec<T> e) {
    for (int l = 0; l < kLanes<T>; ++l) lane[l] += double(e[l]);
  }
};
template <>
TW_INLINE void EnergySum<double>::add(VD e) {
  for (int l = 0; l < kLanes<double>; ++l) lane[l] += e[l];
}

// Where forces alone are wanted, as in every step of a trajectory: what only the energy needs is then left out.
struct NoEnergy {
  template <class V>
  TW_INLINE void add(V) {}
};

// Per pair: squared distance, -(dE/dr)/r so far, and -(d integral/dr)/r of both descreening integrals.
constexpr int kPairScratch = 4;
// Per atom: descreening integral / Born radius, 1/radius, slope of the radius, weight.
constexpr int kAtomScratch = 4;

template <class T, class Energy = EnergySum<T>>
struct Block {
  typedef Vec<T> V;
  const EnergyTables<T>& t;
  const V* x;
  V* f;  // added to
  Energy energy;
  V* pairs;  // kPairScratch vectors each
  V* atoms;  // kAtomScratch vectors each

  TW_INLINE void force(int atom, V fx, V fy, V fz) const {
    f[3 * atom] += fx;
    f[3 * atom + 1] += fy;
    f[3 * atom + 2] += fz;
  }
};

// --- bonded ---------------------------------------------------------------------------------------------------------

template <class T, bool kForces, class E>
void bonds(Block<T, E>& b) {
  typedef Vec<T> V;
  V energy{};
  for (int n = 0; n < b.t.n_bonds; ++n) {
    const int i = b.t.bond_atoms[2 * n], j = b.t.bond_atoms[2 * n + 1];
    const T length = b.t.bond[2 * n], k = b.t.bond[2 * n + 1];
    Vec3<V> d = at(b.x, i) - at(b.x, j);
    V squared = dot(d, d), inverse = rsqrt(squared);
    V stretch = squared * inverse - length;
    V pull = k * stretch;
    energy += stretch * pull * T(0.5);
    if (kForces) {
      V s = -pull * inverse;
      b.force(i, d.x * s, d.y * s, d.z * s);
      b.force(j, -d.x * s, -d.y * s, -d.z * s);
    }
  }
  b.energy.add(energy);
}

template <class T, bool kForces, class E>
void angles(Block<T, E>& b) {
  typedef Vec<T> V;
  V energy{};
  for (int n = 0; n < b.t.n_angles; ++n) {
    const std::int32_t* a = b.t.angle_atoms + 3 * n;
    const T theta = b.t.angle[2 * n], k = b.t.angle[2 * n + 1];
    Vec3<V> centre = at(b.x, a[1]);
    Vec3<V> u = at(b.x, a[0]) - centre, v = at(b.x, a[2]) - centre;
    Vec3<V> normal = cross(u, v);
    V sine = vsqrt(dot(normal, normal)), cosine = dot(u, v);
    V bend = vatan2(sine, cosine) - theta;
    V torque = k * bend;
    energy += bend * torque * T(0.5);
    if (kForces) {
      // d theta/d u = (u (u.v)/|u|^2 - v)/|u x v|; below 1e-6 nm^2 an angle counts as straight, as in OpenMM.
      V s = -torque * rcp(vmax(sine, splat(T(1e-6))));
      V pu = cosine * rcp(dot(u, u)), pv = cosine * rcp(dot(v, v));
      Vec3<V> fu = (u * pu - v) * s, fv = (v * pv - u) * s;
      b.force(a[0], fu.x, fu.y, fu.z);
      b.force(a[2], fv.x, fv.y, fv.z);
      b.force(a[1], -fu.x - fv.x, -fu.y - fv.y, -fu.z - fv.z);
    }
  }
  b.energy.add(energy);
}

template <class V>
struct Dihedral {
  V cosine, sine;
  Vec3<V> b1, b2, b3, n1, n2;
  V n1_squared, n2_squared, axis_squared;
};

template <class V>
TW_INLINE Dihedral<V> dihedral(const V* x, const std::int32_t* a) {
  Dihedral<V> g;
  g.b1 = at(x, a[1]) - at(x, a[0]);
  g.b2 = at(x, a[2]) - at(x, a[1]);
  g.b3 = at(x, a[3]) - at(x, a[2]);
  g.n1 = cross(g.b1, g.b2);
  g.n2 = cross(g.b2, g.b3);
  g.n1_squared = dot(g.n1, g.n1);
  g.n2_squared = dot(g.n2, g.n2);
  g.axis_squared = dot(g.b2, g.b2);
  V inverse = rsqrt(g.n1_squared * g.n2_squared);
  g.cosine = dot(g.n1, g.n2) * inverse;
  g.sine = dot(g.b1, g.n2) * inverse * vsqrt(g.axis_squared);
  return g;
}

// Forces for torque = dE/dphi (Blondel and Karplus 1996, equation 27).
template <class T, class E>
TW_INLINE void twist(Block<T, E>& b, const std::int32_t* a, const Dihedral<Vec<T>>& g, Vec<T> torque) {
  typedef Vec<T> V;
  V pull = torque * vsqrt(g.axis_squared), per_axis = rcp(g.axis_squared);
  Vec3<V> first = g.n1 * (pull * rcp(g.n1_squared)), last = g.n2 * (pull * rcp(g.n2_squared));
  Vec3<V> share = first * (dot(g.b1, g.b2) * per_axis) + last * (dot(g.b3, g.b2) * per_axis);
  b.force(a[0], first.x, first.y, first.z);
  b.force(a[1], -first.x - share.x, -first.y - share.y, -first.z - share.z);
  b.force(a[2], last.x + share.x, last.y + share.y, last.z + share.z);
  b.force(a[3], -last.x, -last.y, -last.z);
}

template <class T, bool kForces, class E>
void torsions(Block<T, E>& b) {
  typedef Vec<T> V;
  V energy{};
  for (int n = 0; n < b.t.n_torsions; ++n) {
    const std::int32_t* a = b.t.torsion_atoms + 4 * n;
    const int even = b.t.torsion_degree[2 * n], odd = b.t.torsion_degree[2 * n + 1];
    Dihedral<V> g = dihedral(b.x, a);
    const T* c = b.t.even + kPowers * n;
    V value = splat(c[even]), slope{};
    for (int p = even - 1; p >= 0; --p) {
      if (kForces) slope = slope * g.cosine + value;
      value = value * g.cosine + c[p];
    }
    V torque = -slope * g.sine;
    if (odd >= 0) {
      const T* c = b.t.odd + kPowers * n;
      V factor = splat(c[odd]), factor_slope{};
      for (int p = odd - 1; p >= 0; --p) {
        if (kForces) factor_slope = factor_slope * g.cosine + factor;
        factor = factor * g.cosine + c[p];
      }
      value += g.sine * factor;
      torque += g.cosine * factor - g.sine * g.sine * factor_slope;
    }
    energy += value;
    if (kForces) twist(b, a, g, torque);
  }
  b.energy.add(energy);
}

// k min(d, period - d)^2, d = |phi - angle|.
template <class T, bool kForces, class E>
void impropers(Block<T, E>& b) {
  typedef Vec<T> V;
  V energy{};
  for (int n = 0; n < b.t.n_impropers; ++n) {
    const std::int32_t* a = b.t.improper_atoms + 4 * n;
    const T *p = b.t.improper, angle = p[3 * n], k = p[3 * n + 1], period = p[3 * n + 2];
    Dihedral<V> g = dihedral(b.x, a);
    V difference = vatan2(g.sine, g.cosine) - angle, direct = vabs(difference), round_about = period - direct;
    auto straight = direct <= round_about;
    V away = straight ? direct : round_about, pull = k * away;
    energy += away * pull;
    if (kForces) {
      V outwards = difference < T(0) ? T(-2) * pull : T(2) * pull;
      twist(b, a, g, straight ? outwards : -outwards);
    }
  }
  b.energy.add(energy);
}

template <class T, bool kForces, class E>
void maps(Block<T, E>& b) {
  typedef Vec<T> V;
  const int size = b.t.map_size;
  const T per_radian = T(size / 6.28318530717958647693);
  for (int n = 0; n < b.t.n_maps; ++n) {
    const std::int32_t* a = b.t.map_atoms + 8 * n;
    Dihedral<V> g[2] = {dihedral(b.x, a), dihedral(b.x, a + 4)};
    V place[2], energy{}, torque[2] = {};
    for (int s = 0; s < 2; ++s) {
      V angle = vatan2(g[s].sine, g[s].cosine);
      place[s] = (angle < T(0) ? angle + T(6.28318530717958647693) : angle) * per_radian;
    }
    for (int l = 0; l < kLanes<T>; ++l) {
      // Not a number: patch 0, and the result is none either.
      const T u = place[0][l], v = place[1][l];
      int i = u >= 0 && u < size ? int(u) : 0, j = v >= 0 && v < size ? int(v) : 0;
      const T px = u >= T(size) ? T(0) : u - i, py = v >= T(size) ? T(0) : v - j;
      const T* c = b.t.map_patches + 16L * (b.t.map_first[n] + i * size + j);
      T row[4], slope[4];
      for (int p = 0; p < 4; ++p, c += 4) {
        row[p] = ((c[3] * py + c[2]) * py + c[1]) * py + c[0];
        slope[p] = (3 * c[3] * py + 2 * c[2]) * py + c[1];
      }
      energy[l] = ((row[3] * px + row[2]) * px + row[1]) * px + row[0];
      torque[0][l] = ((3 * row[3] * px + 2 * row[2]) * px + row[1]) * per_radian;
      torque[1][l] = (((slope[3] * px + slope[2]) * px + slope[1]) * px + slope[0]) * per_radian;
    }
    b.energy.add(energy);
    if (kForces)
      for (int s = 0; s < 2; ++s) twist(b, a + 4 * s, g[s], torque[s]);
  }
}

// --- pairs ----------------------------------------------------------------------------------------------------------

// Lennard-Jones and Coulomb of one pair: energy, and -(dE/dr)/r.
template <class T, bool kForces, bool kCut>
TW_INLINE void plain(const T* p, const T* cut, bool switched, Vec<T> squared, Vec<T> inverse, Vec<T>& energy,
                     Vec<T>& pull) {
  typedef Vec<T> V;
  V inverse2 = inverse * inverse, inverse6 = inverse2 * inverse2 * inverse2;
  V attraction = inverse6 * p[2], repulsion = inverse6 * inverse6 * p[1];
  V lj = repulsion + attraction;
  V slope = T(12) * repulsion + T(6) * attraction;
  V coulomb = inverse * p[0];
  if (!kCut) {
    energy = lj + coulomb;
    if (kForces) pull = (slope + coulomb) * inverse2;
    return;
  }
  if (switched) {
    V distance = squared * inverse;
    V t = vmin(vmax((distance - cut[3]) * cut[4], V{}), splat(T(1)));
    V factor = T(1) + t * t * t * (T(-10) + t * (T(15) - T(6) * t));
    if (kForces) slope = slope * factor - lj * (t * t * (T(-30) + t * (T(60) - T(30) * t)) * cut[4]) * distance;
    lj *= factor;
  }
  auto inside = squared <= cut[0];
  energy = inside ? lj + coulomb + cut[1] * squared - cut[2] : V{};
  if (kForces) pull = inside ? (slope + coulomb) * inverse2 - T(2) * cut[1] : V{};
}

// The descreening integral of one atom by another, and -(d integral/dr)/r.
// outer U = max(r + s, rho), inner L = max(|r - s|, rho): where r + s < rho both are equal, and all is exactly zero.
template <class T, bool kForces>
TW_INLINE void descreening(T rho, T s, Vec<T> distance, Vec<T> inverse, Vec<T> inverse2, Vec<T>& integral,
                           Vec<T>& steepness) {
  typedef Vec<T> V;
  V outer = vmax(distance + s, splat(rho)), inner = vmax(vabs(distance - s), splat(rho));
  V product = rcp(outer * inner);
  V log_ratio = vlog(inner * inner * product);
  V gap = (outer - inner) * product, total = (outer + inner) * product;  // 1/L - 1/U and 1/L + 1/U
  V reach = distance - s * s * inverse;
  integral = gap * (T(1) - T(0.25) * total * reach) + T(0.5) * log_ratio * inverse;
  if (kForces)
    steepness = (T(0.125) * gap * total * (T(1) + s * s * inverse2) + T(0.25) * log_ratio * inverse2) * inverse;
}

// The integral of the neck between two atoms, doubled as that of descreening, and -(d integral/dr)/r; not yet cut off at
// its reach. The numbers 100 and 3e5 (nm^-2, nm^-6) are NECK_2 and NECK_6 of timewarp/energies/born.py.
template <class T, bool kForces>
TW_INLINE void neck(T best, T height, Vec<T> distance, Vec<T> inverse, Vec<T>& integral, Vec<T>& steepness) {
  typedef Vec<T> V;
  V x = distance - best, x2 = x * x, x4 = x2 * x2;
  V fall = rcp(T(1) + x2 * (T(100) + T(3e5) * x4));
  integral = height * fall;
  if (kForces) steepness = integral * fall * x * (T(100) + T(9e5) * x4) * inverse;
}

// Descreening and the neck of one atom (rho) beside another (s).
template <class T, bool kForces>
TW_INLINE void necked(T rho, T s, T best, T height, T reach, Vec<T> distance, Vec<T> inverse, Vec<T>& integral,
                      Vec<T>& steepness) {
  typedef Vec<T> V;
  // A negative scaled radius (sulphur under GBn2) has a meaning only where r + s reaches the offset radius.
  auto counts = distance + s >= rho;
  auto near = distance <= reach;
  V more, steeper{};
  neck<T, kForces>(best, height, distance, inverse, more, steeper);
  integral = (counts ? integral : V{}) + (near ? more : V{});
  if (kForces) steepness = (counts ? steepness : V{}) + (near ? steeper : V{});
}

// An atom wholly inside another (s - r > rho), which only happens in impossible configurations. OpenMM's native force
// then corrects the integral; its CustomGBForce does not, so that the integral still depends on L = s - r.
template <class T, bool kForces, class E>
__attribute__((noinline)) void engulfed(Block<T, E>& b) {
  typedef Vec<T> V;
  const int n_atoms = b.t.n_atoms;
  V* keep = b.pairs;
  for (int i = 0; i < n_atoms; ++i)
    for (int j = i + 1; j < n_atoms; ++j, keep += kPairScratch) {
      V inverse = rsqrt(keep[0]), distance = keep[0] * inverse;
      for (int side = 0; side < 2; ++side) {
        const int in = side ? j : i, other = side ? i : j;
        const T rho = b.t.born_atom[8 * in], s = b.t.born_atom[8 * other + 1];
        V depth = s - distance;
        auto wholly = depth > rho;
        V reach = rcp(vmax(depth, splat(rho)));
        b.atoms[kAtomScratch * in] += wholly ? b.t.born_engulfed * T(2) * (T(1) / rho - reach) : V{};
        if (kForces) {
          V change = (T(1) - b.t.born_engulfed) * reach * reach * inverse;
          keep[2 + side] -= wholly ? change : V{};
        }
      }
    }
}

// First pass over the pairs: distances, Lennard-Jones, Coulomb, descreening.
template <class T, bool kForces, bool kSolvent, bool kCut, bool kNeck, class E>
void pairs_first(Block<T, E>& b) {
  typedef Vec<T> V;
  const int n_atoms = b.t.n_atoms;
  const T *p = b.t.pair, *cut = b.t.pair_cut, *q = b.t.pair_neck;
  V* keep = b.pairs;
  if (kSolvent)
    for (int i = 0; i < n_atoms; ++i) b.atoms[kAtomScratch * i] = V{};
  V closest = splat(T(1e9));
  for (int i = 0; i < n_atoms; ++i) {
    const Vec3<V> here = at(b.x, i);
    const T rho = kSolvent ? b.t.born_atom[8 * i] : T(0), s = kSolvent ? b.t.born_atom[8 * i + 1] : T(0);
    Vec3<V> force = {V{}, V{}, V{}};
    V sum{}, row{};
    for (int j = i + 1; j < n_atoms; ++j, p += 4, cut += kCut ? 5 : 0, q += kNeck ? 5 : 0, keep += kPairScratch) {
      Vec3<V> d = here - at(b.x, j);
      V squared = dot(d, d), inverse = rsqrt(squared);
      V energy, pull{};
      plain<T, kForces, kCut>(p, cut, b.t.switched, squared, inverse, energy, pull);
      row += energy;
      if (((j - i) & 7) == 0) {
        b.energy.add(row);
        row = V{};
      }
      if (kSolvent) {
        const T rho_j = b.t.born_atom[8 * j], s_j = b.t.born_atom[8 * j + 1];
        V distance = squared * inverse, inverse2 = inverse * inverse;
        V by_j, by_i, slope_j{}, slope_i{};
        descreening<T, kForces>(rho, s_j, distance, inverse, inverse2, by_j, slope_j);
        descreening<T, kForces>(rho_j, s, distance, inverse, inverse2, by_i, slope_i);
        if (kNeck) {
          necked<T, kForces>(rho, s_j, q[0], q[1], q[4], distance, inverse, by_j, slope_j);
          necked<T, kForces>(rho_j, s, q[2], q[3], q[4], distance, inverse, by_i, slope_i);
        }
        if (kCut) {
          auto inside = squared <= b.t.born_squared_cutoff;
          by_j = inside ? by_j : V{};
          by_i = inside ? by_i : V{};
          slope_j = inside ? slope_j : V{};
          slope_i = inside ? slope_i : V{};
        }
        sum += by_j;
        b.atoms[kAtomScratch * j] += by_i;
        closest = vmin(squared, closest);
        keep[0] = squared;
        if (kForces) {
          keep[1] = pull;
          keep[2] = slope_j;
          keep[3] = slope_i;
        }
      } else if (kForces) {
        force = force + d * pull;
        b.force(j, -d.x * pull, -d.y * pull, -d.z * pull);
      }
    }
    b.energy.add(row);
    if (kSolvent) b.atoms[kAtomScratch * i] += sum;
    if (!kSolvent && kForces) b.force(i, force.x, force.y, force.z);
  }
  if (kSolvent && any(closest < b.t.born_closest * b.t.born_closest)) engulfed<T, kForces>(b);
}

// Born radii from the descreening integrals, and the energies of single atoms (self energy, surface).
template <class T, bool kForces, bool kLinear, class E>
void born_radii(Block<T, E>& b) {
  typedef Vec<T> V;
  for (int i = 0; i < b.t.n_atoms; ++i) {
    const T* p = b.t.born_atom + 8 * i;
    V* a = b.atoms + kAtomScratch * i;
    V psi = a[0] * (T(0.5) * p[0]);
    // Without a hyperbolic tangent (HCT) the radius is 1/(1/rho - psi/rho).
    V tanh = kLinear ? psi : vtanh(psi * (p[3] - psi * (p[4] - psi * p[5])));
    V inverse = T(1) / p[0] - tanh * p[2], radius = T(1) / inverse;
    V inverse3 = inverse * inverse * inverse;
    V self = inverse * p[6], surface = inverse3 * inverse3 * p[7];
    b.energy.add(self + surface);
    a[0] = radius;
    a[1] = inverse;
    if (kForces) {
      V chain = kLinear ? splat(T(1)) : (T(1) - tanh * tanh) * (p[3] - psi * (T(2) * p[4] - T(3) * psi * p[5]));
      a[2] = radius * radius * chain * (p[0] * p[2]);
      a[3] = -(self + T(6) * surface) * inverse;
    }
  }
}

// Second pass: the generalised Born energy of the pairs, and its derivatives by distance and by radius.
template <class T, bool kForces, bool kCut, class E>
void pairs_second(Block<T, E>& b) {
  typedef Vec<T> V;
  const int n_atoms = b.t.n_atoms;
  const T* p = b.t.pair;
  V* keep = b.pairs;
  for (int i = 0; i < n_atoms; ++i) {
    const V radius = b.atoms[kAtomScratch * i], inverse = b.atoms[kAtomScratch * i + 1];
    V by_radius{}, row{};
    for (int j = i + 1; j < n_atoms; ++j, p += 4, keep += kPairScratch) {
      V* a = b.atoms + kAtomScratch * j;
      V squared = keep[0];
      V product = radius * a[0], quarter = T(0.25) * squared * inverse * a[1];
      V damped = vexp(-quarter);
      V inverse_f = rsqrt(squared + product * damped);
      V energy = inverse_f * p[3];
      V slope = inverse_f * inverse_f * energy;
      if (kCut) {
        auto inside = squared <= b.t.born_squared_cutoff;
        energy = inside ? energy - p[3] * b.t.born_shift : V{};
        slope = inside ? slope : V{};
      }
      row += energy;
      if (((j - i) & 7) == 0) {
        b.energy.add(row);
        row = V{};
      }
      if (kForces) {
        V scaled = slope * damped;
        keep[1] += slope - T(0.25) * scaled;
        V per_product = T(-0.5) * scaled * (T(1) + quarter);
        by_radius += per_product * a[0];
        a[3] += per_product * radius;
      }
    }
    b.energy.add(row);
    if (kForces) {
      // All of this atom's pairs are done: the derivative by its integral.
      V* a = b.atoms + kAtomScratch * i;
      a[3] = (a[3] + by_radius) * a[2];
    }
  }
}

// Third pass: the chain rule through the Born radii, and the forces.
template <class T, class E>
void pairs_third(Block<T, E>& b) {
  typedef Vec<T> V;
  const int n_atoms = b.t.n_atoms;
  const V* keep = b.pairs;
  for (int i = 0; i < n_atoms; ++i) {
    const Vec3<V> here = at(b.x, i);
    const V weight = b.atoms[kAtomScratch * i + 3];
    Vec3<V> force = {V{}, V{}, V{}};
    for (int j = i + 1; j < n_atoms; ++j, keep += kPairScratch) {
      Vec3<V> d = here - at(b.x, j);
      V pull = keep[1] + keep[2] * weight + keep[3] * b.atoms[kAtomScratch * j + 3];
      force = force + d * pull;
      b.force(j, -d.x * pull, -d.y * pull, -d.z * pull);
    }
    b.force(i, force.x, force.y, force.z);
  }
}

// Energy of a block, and its forces added to f (which the caller has zeroed).
template <class T, bool kForces, class E>
void evaluate_block(Block<T, E>& b) {
  if (b.t.n_bonds) bonds<T, kForces>(b);
  if (b.t.n_angles) angles<T, kForces>(b);
  if (b.t.n_torsions) torsions<T, kForces>(b);
  if (b.t.n_impropers) impropers<T, kForces>(b);
  if (b.t.n_maps) maps<T, kForces>(b);
  if (!b.t.solvent) {
    b.t.cut ? pairs_first<T, kForces, false, true, false>(b) : pairs_first<T, kForces, false, false, false>(b);
    return;
  }
  if (b.t.neck)
    b.t.cut ? pairs_first<T, kForces, true, true, true>(b) : pairs_first<T, kForces, true, false, true>(b);
  else
    b.t.cut ? pairs_first<T, kForces, true, true, false>(b) : pairs_first<T, kForces, true, false, false>(b);
  b.t.born_linear ? born_radii<T, kForces, true>(b) : born_radii<T, kForces, false>(b);
  b.t.cut ? pairs_second<T, kForces, true>(b) : pairs_second<T, kForces, false>(b);
  if (kForces) pairs_third<T>(b);
}

}  // namespace timewarp::TIMEWARP_ISA

// Features of a growing molecule (timewarp/flows/growth/profiles.py), one configuration per lane.
//
// A step's geometry is done in double precision and rounded once, to coordinates in the step's own axes with its torsion
// at zero; all else is a function of these in single precision. A configuration that has been turned as a whole, or whose
// later torsions differ, therefore gives the same bits, but where rounding falls on the other side.
#pragma once

#include "growth_geometry.hpp"
#include "growth_tables.hpp"

namespace timewarp::TIMEWARP_ISA {
namespace {

constexpr float kHighest = 25.0f, kSmallestSquared = 1e-4f, kLargest = 3.0f;
constexpr float kSolute2 = 0.2f * 0.2f, kScreening = 1.0f - 1.0f / 78.5f, kSoft2 = 0.1f * 0.1f;
constexpr float kCrowding = 1.0f / (2.0f * 0.35f * 0.35f);

struct Growth {
  const GrowthTables& t;
  VD *x[kHalves], *sites[kHalves], *variance[kHalves];    // positions; mean positions of fragments and their spread
  VF *placed, *mean, *mean_turned, *spread, *bends;       // of a step, in its axes and with its torsion at zero
  VF *squared, *on_old, *on_new, *constant_old, *constant_new, *energy, *coarse;
  VD angle[kHalves];    // of a step, as it is drawn
  VD* hands[kHalves];   // of each fragment, the root's first
  VF* hand;             // the same

  Growth(const GrowthTables& tables, Space& space) : t(tables) {
    const long n = t.n_atoms, s = t.n_steps + 1;
    for (int h = 0; h < kHalves; ++h) {
      x[h] = space.take<VD>(3 * n);
      sites[h] = space.take<VD>(3 * s);
      variance[h] = space.take<VD>(s);
      hands[h] = space.take<VD>(s);
    }
    hand = space.take(s);
    placed = space.take(3 * n);
    mean = space.take(3 * s);
    mean_turned = space.take(3 * s);
    spread = space.take(s);
    bends = space.take(2);
    squared = space.take(long(t.most_pairs) * kCoarse);
    on_old = space.take(n * kCoarse);
    on_new = space.take(n * kCoarse);
    constant_old = space.take(n);
    constant_new = space.take(n);
    energy = space.take(kFine);
    coarse = space.take(kCoarse);
  }

  // The geometry of step k: everything else that it needs follows from what this rounds.
  void place(int k) {
    const GrowthStep& step = t.steps[k];
    const std::uint8_t* turns = t.beyond + k * (t.n_steps + 1);
    for (int h = 0; h < kHalves; ++h) {
      const VD* here = x[h];
      const Frame f = frame_of(step.corners, here, hands[h][k + 1]);
      angle[h] = step.twisting ? to_scale(f.angle) : f.angle;
      for (int o = 0; o < step.n_old; ++o) put(placed, step.old[o], h, f.local(at(here, step.old[o])));
      for (int m = 0; m < step.n_fragment; ++m)
        put(placed, step.fragment[m], h, f.at_zero(f.local(at(here, step.fragment[m]))));
      for (int s = 0; s <= t.n_steps; ++s) {
        const PD p = f.local(at(sites[h], s));
        put(mean, s, h, p);
        if (turns[s]) put(mean_turned, s, h, f.at_zero(p));
        put(spread + s, h, variance[h][s]);
      }
      const PD i = at(here, step.corners[0]), b = at(here, step.corners[2]), c = at(here, step.corners[3]);
      put(bends, h, (bend(i - f.origin, b - f.origin) - 1.95) * 10.0);
      put(bends + 1, h, (bend(f.origin - b, c - b) - 1.95) * 10.0);
    }
  }

  TW_INLINE static void waves(P turn, P rest, VF& mean, VF& c, VF& s) {
    const VF dz = turn.z - rest.z;
    mean = dz * dz + turn.x * turn.x + turn.y * turn.y + rest.x * rest.x + rest.y * rest.y;
    c = -2.0f * (turn.x * rest.x + turn.y * rest.y);
    s = -2.0f * (turn.x * rest.y - turn.y * rest.x);
  }

  // `energy` of the fragment against what is placed: Lennard-Jones and Coulomb; fills `squared`.
  void nonbonded(const GrowthStep& step) const {
    const float *cosine = t.cosine[step.twisting] + kFine, *sine = t.sine[step.twisting] + kFine;
    const float *even = t.cosine[0] + kFine, *odd = t.sine[0] + kFine;  // of the uniform grid
    for (int f = 0; f < step.n_fragment; ++f)
      for (int o = 0; o < step.n_old; ++o) {
        const int pair = f * step.n_old + o;
        VF same, c, s;
        waves(at(placed, step.fragment[f]), at(placed, step.old[o]), same, c, s);
        const float lj12 = step.lj12[pair], lj6 = step.lj6[pair], charge = step.charge[pair];
        VF* out = squared + pair * kCoarse;
        const bool silent = lj12 == 0.0f && charge == 0.0f && lj6 == 0.0f;
        if (silent || step.twisting)
          for (int g = 0; g < kCoarse; ++g)
            out[g] = vmax(same + c * even[3 * g] + s * odd[3 * g], splat(kSmallestSquared));
        if (silent) continue;
        for (int g = 0; g < kFine; ++g) {
          const VF r2 = vmax(same + c * cosine[g] + s * sine[g], splat(kSmallestSquared));
          if (g % 3 == 0 && !step.twisting) out[g / 3] = r2;
          const VF inverse = rsqrt(r2), inverse2 = inverse * inverse, inverse6 = inverse2 * inverse2 * inverse2;
          energy[g] += (lj12 * inverse6 + lj6) * inverse6 + charge * inverse;
        }
      }
  }

  TW_INLINE VF dihedral_of(const std::int32_t* a) const {
    const P axis = at(placed, a[2]) - at(placed, a[1]);
    const P b1 = at(placed, a[1]) - at(placed, a[0]), b3 = at(placed, a[3]) - at(placed, a[2]);
    const P left = cross(b1, axis), right = cross(axis, b3);
    return vatan2(dot(cross(left, right), axis) * rsqrt(dot(axis, axis)), dot(left, right));
  }

  // Correction maps (map_energy in timewarp/flows/growth/maps.py).
  void maps(const GrowthStep& step, VF hand) const {
    const int size = t.map_size;
    for (int k = 0; k < step.n_maps; ++k) {
      const VF offset = dihedral_of(step.map_turning + 4 * k), other = dihedral_of(step.map_fixed + 4 * k);
      for (int lane = 0; lane < W; ++lane) {
        float py;
        const int j = patch(other[lane], size, py);
        for (int g = 0; g < kFine; ++g) {
          float px;
          const int i = patch(offset[lane] + hand[lane] * float(g * (6.28318530717958647693 / kFine) - 3.14159265358979323846), size, px);
          const float* c = t.map_patches + 16L * (step.map_first[k] + i * size + j);
          float row[4];
          for (int p = 0; p < 4; ++p, c += 4) row[p] = ((c[3] * py + c[2]) * py + c[1]) * py + c[0];
          energy[g][lane] += ((row[3] * px + row[2]) * px + row[1]) * px + row[0];
        }
      }
    }
  }

  // The patch in which an angle lies, and where in it; not a number stays one, in patch 0.
  static int patch(float angle, int size, float& place) {
    const float turns = angle * 0.159154943091895336f, at = (turns - __builtin_floorf(turns)) * float(size);
    const int index = at >= 0.0f && at < float(size) ? int(at) : 0;
    place = at >= float(size) ? 0.0f : at - float(index);
    return index;
  }

  void torsions(const GrowthStep& step, VF hand) const {
    VF c[kHighestPeriodicity + 1] = {}, s[kHighestPeriodicity + 1] = {};
    bool used[kHighestPeriodicity + 1] = {};
    for (int k = 0; k < step.n_terms; ++k) {
      // The mirror turns the angle over, and the phase with it: the energy is that of the molecule.
      const VF dihedral = hand * dihedral_of(step.terms + 4 * k);
      const int n = step.periodicity[k];
      VF sine, cosine;
      sincos_turns((float(n) * dihedral - hand * step.phase[k]) * 0.159154943091895336f, sine, cosine);
      c[n] += step.k[k] * cosine;
      s[n] += step.k[k] * (hand * sine);
      used[n] = true;
    }
    const float *cosines = t.cosine[step.twisting], *sines = t.sine[step.twisting];
    for (int n = 1; n <= kHighestPeriodicity; ++n)
      if (used[n])
        for (int g = 0; g < kFine; ++g) energy[g] += c[n] * cosines[n * kFine + g] - s[n] * sines[n * kFine + g];
  }

  TW_INLINE VF between(int i, int j) const {
    const P d = at(placed, i) - at(placed, j);
    return vmax(dot(d, d), splat(kSmallestSquared));
  }

  TW_INLINE VF born(VF integral, int atom) const {
    const VF psi = 0.5f * t.rho[atom] * integral;
    if (t.linear) return rcp(vmax(1.0f / t.rho[atom] - psi * (1.0f / t.outer[atom]), splat(1.0f / kLargest)));
    const float* p = t.tanh + 3 * atom;
    const VF h = vtanh(psi * (p[0] - psi * (p[1] - psi * p[2])));
    return rcp(1.0f / t.rho[atom] - h * (1.0f / t.outer[atom]));
  }

  // Twice the Born integral of one atom at another (_descreening in timewarp/flows/growth/solvent.py).
  TW_INLINE VF descreened(VF r, int at, int by) const {
    const float rho = t.rho[at], scaled = t.scaled[by];
    const VF integral = descreening(r, rho, scaled);
    if (!t.necks) return integral;
    const float* p = t.necks + 3 * (long(at) * t.n_atoms + by);
    const VF x = r - p[0], x2 = x * x, fall = rcp(1.0f + x2 * (100.0f + 3e5f * (x2 * x2)));
    return (vmax(r, splat(kClosest)) + scaled >= rho ? integral : VF{}) + (r <= p[2] ? p[1] * fall : VF{});
  }

  // Descreening of atoms in one rigid group by each other.
  void mutual(const std::int32_t* atoms, int n, VF* sum) const {
    for (int i = 0; i < n; ++i)
      for (int j = i + 1; j < n; ++j) {
        const VF r2 = between(atoms[i], atoms[j]), r = r2 * rsqrt(r2);
        sum[i] += descreened(r, atoms[i], atoms[j]);
        sum[j] += descreened(r, atoms[j], atoms[i]);
      }
  }

  // Adds the solvation energy of all placed atoms to `energy`.
  void solvate(const GrowthStep& step) const {
    const int n_old = step.n_old, n_new = step.n_fragment;
    for (int o = 0; o < n_old; ++o) constant_old[o] = splat(step.unplaced[o]);
    for (int f = 0; f < n_new; ++f) constant_new[f] = splat(step.unplaced[n_old + f]);
    mutual(step.old, n_old, constant_old);
    mutual(step.fragment, n_new, constant_new);
    for (int o = 0; o < n_old; ++o)
      for (int g = 0; g < kCoarse; ++g) on_old[o * kCoarse + g] = constant_old[o];
    for (int f = 0; f < n_new; ++f)
      for (int g = 0; g < kCoarse; ++g) on_new[f * kCoarse + g] = constant_new[f];
    for (int f = 0; f < n_new; ++f) {
      const int i = step.fragment[f];
      for (int o = 0; o < n_old; ++o) {
        const int j = step.old[o];
        const VF* r2 = squared + (f * n_old + o) * kCoarse;
        for (int g = 0; g < kCoarse; ++g) {
          const VF r = r2[g] * rsqrt(r2[g]);
          on_new[f * kCoarse + g] += descreened(r, i, j);
          on_old[o * kCoarse + g] += descreened(r, j, i);
        }
      }
    }
    for (int g = 0; g < kCoarse; ++g) coarse[g] = VF{};
    radii(step.old, n_old, on_old);
    radii(step.fragment, n_new, on_new);
    for (int f = 0; f < n_new; ++f)
      for (int o = 0; o < n_old; ++o) {
        const float charge = t.product[step.fragment[f] * t.n_atoms + step.old[o]];
        const VF* r2 = squared + (f * n_old + o) * kCoarse;
        for (int g = 0; g < kCoarse; ++g)
          coarse[g] += charge * interaction(r2[g], on_new[f * kCoarse + g] * on_old[o * kCoarse + g]);
      }
    linear(step.old, n_old, on_old);
    rigid(step.fragment, n_new, on_new);
    const float* interpolation = t.interpolation[step.twisting];
    for (int c = 0; c < kCoarse; ++c)
      for (int g = 0; g < kFine; ++g) energy[g] += coarse[c] * interpolation[c * kFine + g];
  }

  // Sums of descreening become Born radii; their self and surface energies.
  void radii(const std::int32_t* atoms, int n, VF* sum) const {
    for (int i = 0; i < n; ++i) {
      const int atom = atoms[i];
      for (int g = 0; g < kCoarse; ++g) {
        const VF radius = born(sum[i * kCoarse + g], atom), inverse = rcp(radius), inverse2 = inverse * inverse;
        sum[i * kCoarse + g] = radius;
        coarse[g] += t.self_energy[atom] * inverse + t.surface[atom] * (inverse2 * inverse2 * inverse2);
      }
    }
  }

  // Pairs whose distance does not change with the angle; their radii do.
  void rigid(const std::int32_t* atoms, int n, const VF* radius) const {
    for (int i = 0; i < n; ++i)
      for (int j = i + 1; j < n; ++j) {
        const VF r2 = between(atoms[i], atoms[j]);
        const float charge = t.product[atoms[i] * t.n_atoms + atoms[j]];
        for (int g = 0; g < kCoarse; ++g)
          coarse[g] += charge * interaction(r2, radius[i * kCoarse + g] * radius[j * kCoarse + g]);
      }
  }

  // The same, linearised in the inverse radii (_slopes in timewarp/flows/growth/solvent.py); overwrites the constants.
  void linear(const std::int32_t* atoms, int n, const VF* radius) const {
    VF *mean_radius = constant_old, *slope = constant_new;
    for (int i = 0; i < n; ++i) {
      VF sum{};
      for (int g = 0; g < kCoarse; ++g) sum += rcp(radius[i * kCoarse + g]);
      mean_radius[i] = rcp(sum * (1.0f / kCoarse));
      slope[i] = VF{};
    }
    for (int i = 0; i < n; ++i)
      for (int j = i + 1; j < n; ++j) {
        const VF r2 = between(atoms[i], atoms[j]), b = mean_radius[i] * mean_radius[j], ratio = 0.25f * r2 * rcp(b);
        const VF near = b * vexp(-ratio), inverse = rsqrt(r2 + near);
        const VF d = (0.5f * t.product[atoms[i] * t.n_atoms + atoms[j]]) * near * (1.0f + ratio) *
                     (inverse * inverse * inverse);
        slope[i] += d;
        slope[j] += d;
      }
    for (int i = 0; i < n; ++i)
      for (int g = 0; g < kCoarse; ++g) coarse[g] += slope[i] * mean_radius[i] * rcp(radius[i * kCoarse + g]);
  }

  // -E / kT of what step k places, less its maximum, into `energy`.
  void profile(int k) const {
    const GrowthStep& step = t.steps[k];
    for (int g = 0; g < kFine; ++g) energy[g] = VF{};
    nonbonded(step);
    torsions(step, hand[k + 1]);
    if (step.n_maps) maps(step, hand[k + 1]);
    if (t.has_solvent) solvate(step);
    if (step.twisting)
      for (int g = 0; g < kFine; ++g) energy[g] += t.log_slope[g];
    VF lowest = energy[0];
    for (int g = 1; g < kFine; ++g) lowest = vmin(energy[g], lowest);
    for (int g = 0; g < kFine; ++g) energy[g] = vmax(lowest - energy[g], splat(-kHighest));
  }

  // Electrostatic energy and crowding of what turns with step k, at mean positions; into 2 x kCoarse.
  void ahead(int k, VF* electric, VF* crowd) const {
    const int n = t.n_steps + 1;
    const std::uint8_t* turns = t.beyond + k * n;
    for (int g = 0; g < kCoarse; ++g) electric[g] = crowd[g] = VF{};
    for (int one = 0; one < n; ++one) {
      if (!turns[one]) continue;
      for (int other = 0; other < n; ++other) {
        if (turns[other] || (one == k + 1 && other <= k)) continue;
        VF same, c, s;
        waves(at(mean_turned, one), at(mean, other), same, c, s);
        const VF wide = spread[one] + spread[other] + kSoft2;
        const float charge = t.site_charge[one] * t.site_charge[other] * t.coulomb;
        const float heavy = t.site_heavy[one] * t.site_heavy[other] * 0.1f;
        for (int g = 0; g < kCoarse; ++g) {
          const VF r2 =
              vmax(same + c * t.cosine[0][kFine + 3 * g] + s * t.sine[0][kFine + 3 * g], splat(kSmallestSquared)) + wide;
          const VF screened = r2 + kSolute2 * vexp(r2 * (-0.25f / kSolute2));
          electric[g] += charge * (rsqrt(r2) - kScreening * rsqrt(screened));
          crowd[g] += heavy * vexp(r2 * -kCrowding);
        }
      }
    }
  }

  // Folds what step k turns onto its axis.
  void fold(int k) const {
    const GrowthStep& step = t.steps[k];
    for (int h = 0; h < kHalves; ++h) {
      const PD a = at(x[h], step.corners[1]), along = unit3(a - at(x[h], step.corners[2]));
      for (int s = 0; s <= t.n_steps; ++s) {
        if (!t.beyond[k * (t.n_steps + 1) + s]) continue;
        const PD arm = at(sites[h], s) - a, height = along * dot(arm, along), rest = arm - height;
        variance[h][s] += dot(rest, rest);
        put(sites[h], s, a + height);
      }
    }
  }

  // Takes positions (rows of 3 n_atoms) of the lanes, relative to the first atom; lanes from `count` on repeat the last.
  template <class Io>
  void load(const Io* rows, int count) const {
    const long width = 3 * t.n_atoms;
    for (int h = 0; h < kHalves; ++h)
      for (int lane = 0; lane < kHalf; ++lane) {
        const int which = h * kHalf + lane;
        const Io* row = rows + (which < count ? which : count - 1) * width;
        for (int k = 0; k < width; ++k) x[h][k][lane] = double(row[k]) - double(row[k % 3]);
      }
    for (int h = 0; h < kHalves; ++h)
      for (int s = 0; s <= t.n_steps; ++s) {
        hands[h][s] = hand_of(s ? t.steps[s - 1].centre : t.root_centre, x[h]);
        put(hand + s, h, hands[h][s]);
      }
  }

  // Centres of all fragments as they are; fold() then takes those of later steps to their means.
  void centre() const {
    for (int h = 0; h < kHalves; ++h)
      for (int s = 0; s <= t.n_steps; ++s) {
        PD sum{};
        const float* w = t.site_weights + s * t.n_atoms;
        for (int i = 0; i < t.n_atoms; ++i)
          if (w[i] != 0.0f) sum = sum + at(x[h], i) * splat(double(w[i]));
        put(sites[h], s, sum);
        variance[h][s] = VD{};
      }
  }

  // Turns step k's torsion to angles (rad, as they are drawn, one for each lane); place(k) must have been called.
  void turn(int k, const double* to) const {
    const GrowthStep& step = t.steps[k];
    for (int h = 0; h < kHalves; ++h) {
      VD there, sine, cosine;
      __builtin_memcpy(&there, to + h * kHalf, sizeof(VD));
      const VD change = step.twisting ? from_scale(there) - from_scale(angle[h]) : there - angle[h];
      sincos_turns(change * hands[h][k + 1] * 0.15915494309189533577, sine, cosine);
      const PD a = at(x[h], step.corners[1]), along = unit3(a - at(x[h], step.corners[2]));
      for (int i = 0; i < step.n_turning; ++i) {
        const PD arm = at(x[h], step.turning[i]) - a, height = along * dot(arm, along);
        put(x[h], step.turning[i], a + height + (arm - height) * cosine + cross(along, arm) * sine);
      }
    }
  }

  // What the network is told of where fragment s is in the axes of step k.
  TW_INLINE void spatial(int k, int s, VF* values) const {
    const P p = at(mean, s);
    const VF distance = vsqrt(dot(p, p) + 1e-4f);
    const P d = p * rcp(distance);
    const float free = t.beyond[k * (t.n_steps + 1) + s] ? 0.0f : 1.0f;
    values[0] = d.x * free;
    values[1] = d.y * free;
    values[2] = d.z;
    values[3] = vsqrt(d.x * d.x + d.y * d.y);
    values[4] = vsqrt(spread[s]);
    for (int m = 0; m < kShells; ++m) {
      const VF gap = distance - 0.2f * float(m + 1);
      values[5 + m] = vexp(gap * gap * -12.5f);
    }
    values[5 + kShells] = 0.5f - 0.5f * (hand[k + 1] * hand[s]);
  }

  // Features of step k (after place), of `count` configurations, to the rows from `row` on; rows are `apart` apart.
  void write(int k, const GrowthOut& out, long row, long apart, int count) const {
    const int n = t.n_steps + 1;
    profile(k);
    VF electric[kCoarse], crowd[kCoarse];
    ahead(k, electric, crowd);
    for (int lane = 0; lane < count; ++lane) {
      const long r = row + lane * apart;
      out.angle[r] = angle[lane / kHalf][lane % kHalf];
      for (int g = 0; g < kFine; ++g) out.profile[r * kFine + g] = energy[g][lane];
      for (int g = 0; g < kCoarse; ++g) {
        out.ahead[r * 2 * kCoarse + g] = electric[g][lane];
        out.ahead[(r * 2 + 1) * kCoarse + g] = crowd[g][lane];
      }
      out.bends[2 * r] = bends[0][lane];
      out.bends[2 * r + 1] = bends[1][lane];
    }
    for (int s = 0; s < n; ++s) {
      VF values[kSpatial];
      spatial(k, s, values);
      for (int lane = 0; lane < count; ++lane)
        for (int v = 0; v < kSpatial; ++v)
          out.spatial[((row + lane * apart) * n + s) * kSpatial + v] = values[v][lane];
    }
  }
};

}  // namespace
}  // namespace timewarp::TIMEWARP_ISA

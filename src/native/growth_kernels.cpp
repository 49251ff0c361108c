// Features of a growing molecule (timewarp/flows/growth/profiles.py), one configuration per lane, single precision.
#include "growth_tables.hpp"

#include "vec3.hpp"

namespace timewarp::TIMEWARP_ISA {
namespace {

constexpr int W = kLanes<float>;
constexpr float kHighest = 25.0f, kClosest = 0.02f, kSmallestSquared = 1e-4f;
constexpr float kSolute2 = 0.2f * 0.2f, kScreening = 1.0f - 1.0f / 78.5f, kSoft2 = 0.1f * 0.1f;
constexpr float kCrowding = 1.0f / (2.0f * 0.35f * 0.35f);

typedef Vec3<VF> P;

struct Space {
  char* at;
  long used = 0;
  VF* take(long n) {
    VF* here = reinterpret_cast<VF*>(at + used);
    used += n * long(sizeof(VF));
    return here;
  }
};

// Twice the Born integral of an atom at another; see descreening() in timewarp/flows/growth/solvent.py.
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

TW_INLINE P unit3(P a) { return a * rsqrt(dot(a, a)); }

struct Frame {
  P origin, side, across, along;
  VF angle, cosine, sine;  // of the torsion now
  TW_INLINE P local(P x) const {
    const P d = x - origin;
    return {dot(d, side), dot(d, across), dot(d, along)};
  }
  // Local coordinates of a point that turns along, were the torsion zero.
  TW_INLINE P at_zero(P p) const { return {p.x * cosine + p.y * sine, p.y * cosine - p.x * sine, p.z}; }
};

TW_INLINE Frame frame_of(const std::int32_t* corners, const VF* x) {
  Frame f;
  const P i = at(x, corners[0]), b = at(x, corners[2]), c = at(x, corners[3]);
  f.origin = at(x, corners[1]);
  f.along = unit3(f.origin - b);
  const P arm = c - b;
  f.side = unit3(arm - f.along * dot(arm, f.along));
  f.across = cross(f.along, f.side);
  const P p = f.local(i);
  f.angle = vatan2(p.y, p.x);
  const VF inverse = rsqrt(p.x * p.x + p.y * p.y);
  f.cosine = p.x * inverse;
  f.sine = p.y * inverse;
  return f;
}

TW_INLINE VF bend(P u, P v) {
  const P n = cross(u, v);
  return vatan2(vsqrt(dot(n, n)), dot(u, v));
}

struct Growth {
  const GrowthTables& t;
  Space space;
  VF *x, *fixed, *turned, *squared, *on_old, *on_new, *constant_old, *constant_new, *sites, *variance, *local, *energy,
      *coarse;

  Growth(const GrowthTables& tables, void* scratch) : t(tables), space{static_cast<char*>(scratch)} {
    const long n = t.n_atoms, s = t.n_steps + 1;
    x = space.take(3 * n);
    fixed = space.take(3 * n);
    turned = space.take(3 * n);
    squared = space.take(long(t.most_pairs) * kCoarse);
    on_old = space.take(n * kCoarse);
    on_new = space.take(n * kCoarse);
    constant_old = space.take(n);
    constant_new = space.take(n);
    sites = space.take(3 * s);
    variance = space.take(s);
    local = space.take(3 * s);
    energy = space.take(kFine);
    coarse = space.take(kCoarse);
  }

  TW_INLINE static void waves(P turn, P rest, VF& mean, VF& c, VF& s) {
    const VF dz = turn.z - rest.z;
    mean = dz * dz + turn.x * turn.x + turn.y * turn.y + rest.x * rest.x + rest.y * rest.y;
    c = -2.0f * (turn.x * rest.x + turn.y * rest.y);
    s = -2.0f * (turn.x * rest.y - turn.y * rest.x);
  }

  // `energy` of the fragment against what is placed: Lennard-Jones and Coulomb; fills `squared`.
  void nonbonded(const GrowthStep& step) const {
    const float *cosine = t.cosine + kFine, *sine = t.sine + kFine;
    for (int f = 0; f < step.n_fragment; ++f)
      for (int o = 0; o < step.n_old; ++o) {
        const int pair = f * step.n_old + o;
        VF mean, c, s;
        waves(at(turned, f), at(fixed, o), mean, c, s);
        const float lj12 = step.lj12[pair], lj6 = step.lj6[pair], charge = step.charge[pair];
        VF* out = squared + pair * kCoarse;
        if (lj12 == 0.0f && charge == 0.0f && lj6 == 0.0f) {
          for (int g = 0; g < kCoarse; ++g)
            out[g] = vmax(mean + c * cosine[3 * g] + s * sine[3 * g], splat(kSmallestSquared));
          continue;
        }
        for (int g = 0; g < kFine; ++g) {
          const VF r2 = vmax(mean + c * cosine[g] + s * sine[g], splat(kSmallestSquared));
          if (g % 3 == 0) out[g / 3] = r2;
          const VF inverse = rsqrt(r2), inverse2 = inverse * inverse, inverse6 = inverse2 * inverse2 * inverse2;
          energy[g] += (lj12 * inverse6 + lj6) * inverse6 + charge * inverse;
        }
      }
  }

  void torsions(const GrowthStep& step, VF now) const {
    VF c[kHighestPeriodicity + 1] = {}, s[kHighestPeriodicity + 1] = {};
    bool used[kHighestPeriodicity + 1] = {};
    for (int k = 0; k < step.n_terms; ++k) {
      const std::int32_t* a = step.terms + 4 * k;
      const P axis = at(x, a[2]) - at(x, a[1]), b1 = at(x, a[1]) - at(x, a[0]), b3 = at(x, a[3]) - at(x, a[2]);
      const P left = cross(b1, axis), right = cross(axis, b3);
      const VF dihedral = vatan2(dot(cross(left, right), axis) * rsqrt(dot(axis, axis)), dot(left, right));
      const int n = step.periodicity[k];
      VF sine, cosine;
      sincos_turns((float(n) * (dihedral - now) - step.phase[k]) * 0.159154943091895336f, sine, cosine);
      c[n] += step.k[k] * cosine;
      s[n] += step.k[k] * sine;
      used[n] = true;
    }
    for (int n = 1; n <= kHighestPeriodicity; ++n)
      if (used[n])
        for (int g = 0; g < kFine; ++g) energy[g] += c[n] * t.cosine[n * kFine + g] - s[n] * t.sine[n * kFine + g];
  }

  TW_INLINE VF between(int i, int j) const {
    const P d = at(x, i) - at(x, j);
    return vmax(dot(d, d), splat(kSmallestSquared));
  }

  TW_INLINE VF born(VF integral, int atom) const {
    const VF psi = 0.5f * t.rho[atom] * integral;
    const VF h = vtanh(psi * (t.alpha - psi * (t.beta - psi * t.gamma)));
    return rcp(1.0f / t.rho[atom] - h * (1.0f / t.radius[atom]));
  }

  // Descreening of atoms in one rigid group by each other.
  void mutual(const std::int32_t* atoms, int n, VF* sum) const {
    for (int i = 0; i < n; ++i)
      for (int j = i + 1; j < n; ++j) {
        const VF r2 = between(atoms[i], atoms[j]), r = r2 * rsqrt(r2);
        sum[i] += descreening(r, t.rho[atoms[i]], t.scaled[atoms[j]]);
        sum[j] += descreening(r, t.rho[atoms[j]], t.scaled[atoms[i]]);
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
          on_new[f * kCoarse + g] += descreening(r, t.rho[i], t.scaled[j]);
          on_old[o * kCoarse + g] += descreening(r, t.rho[j], t.scaled[i]);
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
    rigid(step.old, n_old, on_old);
    rigid(step.fragment, n_new, on_new);
    for (int c = 0; c < kCoarse; ++c)
      for (int g = 0; g < kFine; ++g) energy[g] += coarse[c] * t.interpolation[c * kFine + g];
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

  void profile(const GrowthStep& step, const Frame& f) const {
    for (int o = 0; o < step.n_old; ++o) put(fixed, o, f.local(at(x, step.old[o])));
    for (int m = 0; m < step.n_fragment; ++m) put(turned, m, f.at_zero(f.local(at(x, step.fragment[m]))));
    for (int g = 0; g < kFine; ++g) energy[g] = VF{};
    nonbonded(step);
    torsions(step, f.angle);
    if (t.has_solvent) solvate(step);
    VF lowest = energy[0];
    for (int g = 1; g < kFine; ++g) lowest = vmin(energy[g], lowest);
    for (int g = 0; g < kFine; ++g) energy[g] = vmax(lowest - energy[g], splat(-kHighest));
  }

  TW_INLINE static void put(VF* to, int place, P p) {
    to[3 * place] = p.x;
    to[3 * place + 1] = p.y;
    to[3 * place + 2] = p.z;
  }

  // Electrostatic energy and crowding of what turns with step k, at mean positions; into 2 x kCoarse.
  void ahead(int k, const Frame& f, VF* electric, VF* crowd) const {
    const int n = t.n_steps + 1;
    const std::uint8_t* turns = t.beyond + k * n;
    for (int g = 0; g < kCoarse; ++g) electric[g] = crowd[g] = VF{};
    for (int one = 0; one < n; ++one) {
      if (!turns[one]) continue;
      const P turning = f.at_zero(at(local, one));
      for (int other = 0; other < n; ++other) {
        if (turns[other] || (one == k + 1 && other <= k)) continue;
        VF mean, c, s;
        waves(turning, at(local, other), mean, c, s);
        const VF spread = variance[one] + variance[other] + kSoft2;
        const float charge = t.site_charge[one] * t.site_charge[other] * t.coulomb;
        const float heavy = t.site_heavy[one] * t.site_heavy[other] * 0.1f;
        for (int g = 0; g < kCoarse; ++g) {
          const VF r2 =
              vmax(mean + c * t.cosine[kFine + 3 * g] + s * t.sine[kFine + 3 * g], splat(kSmallestSquared)) + spread;
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
    const P a = at(x, step.corners[1]), along = unit3(a - at(x, step.corners[2]));
    for (int s = 0; s <= t.n_steps; ++s) {
      if (!t.beyond[k * (t.n_steps + 1) + s]) continue;
      const P arm = at(sites, s) - a, height = along * dot(arm, along), rest = arm - height;
      variance[s] += dot(rest, rest);
      put(sites, s, a + height);
    }
  }

  void begin() const {
    for (int s = 0; s <= t.n_steps; ++s) {
      P mean{};
      const float* w = t.site_weights + s * t.n_atoms;
      for (int i = 0; i < t.n_atoms; ++i)
        if (w[i] != 0.0f) mean = mean + at(x, i) * splat(w[i]);
      put(sites, s, mean);
      variance[s] = VF{};
    }
  }
};

template <class Io>
void features(const GrowthTables& t, const Io* positions, const GrowthOut& out, long first, long last,
              void* scratch) {
  const Growth e(t, scratch);
  const int n = t.n_steps + 1, steps = t.n_steps;
  for (long start = first; start < last; start += W) {
    const int count = last - start < W ? int(last - start) : W;
    for (int lane = 0; lane < W; ++lane) {
      const Io* row = positions + (start + (lane < count ? lane : count - 1)) * 3 * t.n_atoms;
      for (int k = 0; k < 3 * t.n_atoms; ++k) e.x[k][lane] = float(row[k] - row[k % 3]);
    }
    e.begin();
    for (int k = steps - 1; k >= 0; --k) {
      const GrowthStep& step = t.steps[k];
      const Frame f = frame_of(step.corners, e.x);
      e.profile(step, f);
      for (int s = 0; s < n; ++s) Growth::put(e.local, s, f.local(at(e.sites, s)));
      VF electric[kCoarse], crowd[kCoarse];
      e.ahead(k, f, electric, crowd);
      const P i = at(e.x, step.corners[0]), b = at(e.x, step.corners[2]), c = at(e.x, step.corners[3]);
      const VF bend0 = (bend(i - f.origin, b - f.origin) - 1.95f) * 10.0f;
      const VF bend1 = (bend(f.origin - b, c - b) - 1.95f) * 10.0f;
      for (int lane = 0; lane < count; ++lane) {
        const long row = (start + lane) * steps + k;
        out.angle[row] = double(f.angle[lane]);
        for (int g = 0; g < kFine; ++g) out.profile[row * kFine + g] = e.energy[g][lane];
        for (int g = 0; g < kCoarse; ++g) {
          out.ahead[row * 2 * kCoarse + g] = electric[g][lane];
          out.ahead[(row * 2 + 1) * kCoarse + g] = crowd[g][lane];
        }
        out.bends[2 * row] = bend0[lane];
        out.bends[2 * row + 1] = bend1[lane];
      }
      for (int s = 0; s < n; ++s) {
        const P p = at(e.local, s);
        const VF distance = vsqrt(dot(p, p) + 1e-4f), inverse = rcp(distance);
        const P d = p * inverse;
        const float free = t.beyond[k * n + s] ? 0.0f : 1.0f;
        VF values[kSpatial] = {d.x * free, d.y * free, d.z, vsqrt(d.x * d.x + d.y * d.y), vsqrt(e.variance[s])};
        for (int m = 0; m < kShells; ++m) {
          const VF gap = distance - 0.2f * float(m + 1);
          values[5 + m] = vexp(gap * gap * -12.5f);
        }
        for (int lane = 0; lane < count; ++lane)
          for (int v = 0; v < kSpatial; ++v)
            out.spatial[(((start + lane) * steps + k) * n + s) * kSpatial + v] = values[v][lane];
      }
      e.fold(k);
    }
  }
}

long scratch_bytes(const GrowthTables& t) { return Growth(t, nullptr).space.used; }

}  // namespace

extern const GrowthKernels growth_kernels;
const GrowthKernels growth_kernels{features<float>, features<double>, scratch_bytes};

}  // namespace timewarp::TIMEWARP_ISA

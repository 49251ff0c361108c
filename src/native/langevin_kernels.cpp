// Batched Langevin MD, one replica per lane: a block of replicas stays in the cache for a whole stretch of steps.
//
// The integrator is LangevinMiddle ("BAOA" in leapfrog form; Zhang, Liu, Yan, Tuckerman & Liu, J. Phys. Chem. A 2019), as
// OpenMM's LangevinMiddleIntegrator: a whole kick, half a drift, the thermostat, half a drift. Velocities are half a step
// behind the positions. Torsion moves follow timewarp/simulation/torsion_moves.py, which says why they are as they are.
#include "energy.hpp"
#include "langevin.hpp"
#include "random.hpp"

namespace timewarp::TIMEWARP_ISA {
namespace {

// Steps between translations of a molecule back to the origin: diffusion must not cost single precision any digits.
constexpr std::int64_t kRecentre = 256;

template <class T>
struct Replicas {
  typedef Vec<T> V;
  static constexpr int W = kLanes<T>;
  const EnergyTables<T>& t;
  const LangevinTables<T>& p;
  Streams streams;
  V *x, *f, *v, *y;  // y: candidate
  V *atoms, *pairs;

  Replicas(const EnergyTables<T>& tables, const LangevinTables<T>& plan, void* scratch) : t(tables), p(plan) {
    const int n = 3 * t.n_atoms;
    x = static_cast<V*>(scratch);
    f = x + n;
    v = f + n;
    y = v + n;
    atoms = y + n;
    pairs = atoms + kAtomScratch * t.n_atoms;
    streams.key0 = std::uint32_t(p.seed);
    streams.key1 = std::uint32_t(p.seed >> 32);
    streams.phase = p.burn_in ? kBurnIn : 0;
  }

  template <class Energy>
  Energy evaluate() {
    for (int k = 0; k < 3 * t.n_atoms; ++k) f[k] = V{};
    Block<T, Energy> b{t, x, f, {}, pairs, atoms};
    evaluate_block<T, true>(b);
    return b.energy;
  }

  void evaluate_forces() { evaluate<NoEnergy>(); }

  EnergySum<T> energy_of(const V* where) {
    Block<T> b{t, where, f, {}, pairs, atoms};
    evaluate_block<T, false>(b);
    return b.energy;
  }

  void step(std::int64_t number) {
    evaluate_forces();
    const int n = 3 * t.n_atoms;
    const T half = T(0.5) * p.timestep, decay = p.decay;
    V xi[4];
    for (int k = 0; k < n; ++k) {
      if (k % 4 == 0) {
        Words w[4];
        streams.words(std::uint64_t(number), std::uint32_t(k / 4), kNoise, w);
        normals<T>(w, xi);
      }
      const int atom = k / 3;
      V u = v[k] + p.kick[atom] * f[k];
      V there = x[k] + half * u;
      u = decay * u + p.noise[atom] * xi[k % 4];
      v[k] = u;
      x[k] = there + half * u;
    }
  }

  void recentre() {
    const T share = T(1) / T(t.n_atoms);
    for (int axis = 0; axis < 3; ++axis) {
      V sum{};
      for (int k = axis; k < 3 * t.n_atoms; k += 3) sum += x[k];
      sum *= share;
      for (int k = axis; k < 3 * t.n_atoms; k += 3) x[k] -= sum;
    }
  }

  TW_INLINE void half_kick(T sign) {
    for (int k = 0; k < 3 * t.n_atoms; ++k) v[k] += (sign * T(0.5) * p.kick[k / 3]) * f[k];
  }

  // A round of torsion moves. `count` lanes are counted; the torsion is the same in all replicas, whatever their states.
  void round(std::int64_t number, int count, std::int64_t* attempts, std::int64_t* accepts) {
    EnergySum<T> now = evaluate<EnergySum<T>>();
    half_kick(T(1));
    for (int move = 0; move < p.moves_per_round; ++move) {
      Streams shared = streams;
      shared.replica = Words{};
      Words w[4];
      shared.words(std::uint64_t(number), std::uint32_t(move), kWhichTorsion, w);
      const int which = int((std::uint64_t(w[0][0]) * std::uint64_t(p.n_torsions)) >> 32);
      streams.words(std::uint64_t(number), std::uint32_t(move), kTurn, w);
      V sine, cosine;
      sincos_turns(turns<T>(w[0]), sine, cosine);
      const V log_uniform = vlog(uniform<T>(w[1]));

      const Vec3<V> origin = at(x, p.axis[2 * which]), end = at(x, p.axis[2 * which + 1]);
      const Vec3<V> bond = end - origin;
      const Vec3<V> axis = bond * (T(1) / vsqrt(dot(bond, bond)));
      const std::int32_t *from = p.side + p.side_first[which], *to = p.side + p.side_first[which + 1];
      for (int k = 0; k < 3 * t.n_atoms; ++k) y[k] = x[k];
      for (const std::int32_t* a = from + 1; a < to; ++a) {  // the end is on the axis
        const Vec3<V> there = end + turned(at(x, *a) - end, axis, sine, cosine);
        y[3 * *a] = there.x;
        y[3 * *a + 1] = there.y;
        y[3 * *a + 2] = there.z;
      }
      const EnergySum<T> then = energy_of(y);
      Int<T> accepted{};
      for (int l = 0; l < W; ++l) {
        const bool yes = double(log_uniform[l]) < -(then.lane[l] - now.lane[l]) / p.kT;  // not for NaN
        accepted[l] = yes ? -1 : 0;
        if (yes) now.lane[l] = then.lane[l];
        if (l < count) {
          ++attempts[long(l) * p.n_torsions + which];
          accepts[long(l) * p.n_torsions + which] += yes;
        }
      }
      for (const std::int32_t* a = from; a < to; ++a) {
        const Vec3<V> velocity = turned(at(v, *a), axis, sine, cosine);
        const V parts[3] = {velocity.x, velocity.y, velocity.z};
        for (int k = 0; k < 3; ++k) {
          x[3 * *a + k] = accepted ? y[3 * *a + k] : x[3 * *a + k];
          v[3 * *a + k] = accepted ? parts[k] : v[3 * *a + k];
        }
      }
    }
    evaluate_forces();
    half_kick(T(-1));
  }

  static TW_INLINE Vec3<V> turned(Vec3<V> a, Vec3<V> axis, V sine, V cosine) {
    return a * cosine + cross(axis, a) * sine + axis * (dot(axis, a) * (T(1) - cosine));
  }
};

template <class T>
void langevin(const EnergyTables<T>& t, const LangevinTables<T>& p, const std::uint32_t* ids, T* positions,
              T* velocities, T* frames, double* energies, double* kinetic, std::int64_t* attempts,
              std::int64_t* accepts, long n, long first, long last, void* scratch) {
  constexpr int W = kLanes<T>;
  const int size = 3 * t.n_atoms;
  Replicas<T> r(t, p, scratch);
  for (long start = first; start < last; start += W) {
    const int count = last - start < W ? int(last - start) : W;
    r.streams.replica = Words{};
    for (int l = 0; l < W; ++l) {  // lanes beyond the batch repeat its last replica
      const long c = start + (l < count ? l : count - 1);
      r.streams.replica[l] = ids[c];
      for (int k = 0; k < size; ++k) {
        r.x[k][l] = positions[c * size + k];
        r.v[k][l] = velocities[c * size + k];
      }
    }
    std::int64_t step = p.first_step;
    for (long frame = 0; frame < p.n_frames; ++frame) {
      for (long s = 0; s < p.frame_steps; ++s) {
        r.step(step++);
        if (p.moves_per_round && step % p.torsion_interval == 0)
          r.round(step, count, attempts + start * p.n_torsions, accepts + start * p.n_torsions);
        if (step % kRecentre == 0) r.recentre();
      }
      r.recentre();
      const EnergySum<T> energy = r.energy_of(r.x);
      for (int l = 0; l < count; ++l) {
        const long row = frame * n + start + l;
        double sum = 0;
        for (int k = 0; k < size; ++k) {
          frames[row * size + k] = r.x[k][l];
          sum += 0.5 * p.masses[k / 3] * double(r.v[k][l]) * double(r.v[k][l]);
        }
        energies[row] = energy.lane[l];
        kinetic[row] = sum;
      }
    }
    for (int l = 0; l < count; ++l)
      for (int k = 0; k < size; ++k) {
        positions[(start + l) * size + k] = r.x[k][l];
        velocities[(start + l) * size + k] = r.v[k][l];
      }
  }
}

void encrypt(std::uint32_t* counters, std::uint32_t key0, std::uint32_t key1, long n) {
  constexpr int W = kLanes<float>;
  for (long start = 0; start < n; start += W) {
    Words c[4] = {};
    for (int l = 0; l < W && start + l < n; ++l)
      for (int k = 0; k < 4; ++k) c[k][l] = counters[4 * (start + l) + k];
    philox(c, key0, key1);
    for (int l = 0; l < W && start + l < n; ++l)
      for (int k = 0; k < 4; ++k) counters[4 * (start + l) + k] = c[k][l];
  }
}

template <class T>
void draw(std::uint64_t seed, std::int64_t step, std::uint32_t purpose, const std::uint32_t* ids, long n, long count,
          T* out) {
  constexpr int W = kLanes<T>;
  Streams streams{std::uint32_t(seed), std::uint32_t(seed >> 32), 0, Words{}};
  for (long start = 0; start < n; start += W) {
    for (int l = 0; l < W && start + l < n; ++l) streams.replica[l] = ids[start + l];
    for (long k = 0; k < count; k += 4) {
      Words w[4];
      Vec<T> xi[4];
      streams.words(std::uint64_t(step), std::uint32_t(k / 4), purpose, w);
      normals<T>(w, xi);
      for (int l = 0; l < W && start + l < n; ++l)
        for (long m = k; m < k + 4 && m < count; ++m) out[(start + l) * count + m] = xi[m - k][l];
    }
  }
}

}  // namespace

extern const LangevinKernels langevin_kernels;
const LangevinKernels langevin_kernels{langevin<float>, langevin<double>, encrypt, draw<float>, draw<double>};

}  // namespace timewarp::TIMEWARP_ISA

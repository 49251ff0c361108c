// Energies, forces and leapfrog trajectories of batches: blocks of configurations in and out of the SIMD layout.
#include "energy.hpp"
#include "kernels.hpp"

namespace timewarp::TIMEWARP_ISA {
namespace {

// Memory of one thread: positions, forces, momenta (3 vectors an atom each), then what Block keeps.
template <class T>
struct Workspace {
  Vec<T>*x, *f, *p, *atoms, *pairs;
  Workspace(const EnergyTables<T>& t, void* scratch) {
    x = static_cast<Vec<T>*>(scratch);
    f = x + 3 * t.n_atoms;
    p = f + 3 * t.n_atoms;
    atoms = p + 3 * t.n_atoms;
    pairs = atoms + kAtomScratch * t.n_atoms;
  }
};

// Positions relative to the first atom, so that single precision is not spent on where the molecule is. Lanes beyond
// the batch repeat its last configuration.
template <class T, class Io>
void load(const Io* positions, long stride, int count, int n, Vec<T>* x) {
  for (int l = 0; l < kLanes<T>; ++l) {
    const Io* from = positions + (l < count ? l : count - 1) * stride;
    for (int k = 0; k < n; k += 3)
      for (int axis = 0; axis < 3; ++axis) x[k + axis][l] = T(from[k + axis] - from[axis]);
  }
}

template <class T, class Io>
void evaluate(const EnergyTables<T>& t, const Io* positions, long stride, Io* energy, Io* forces, long first,
              long last, void* scratch) {
  constexpr int W = kLanes<T>;
  const int n = 3 * t.n_atoms;
  Workspace<T> w(t, scratch);
  for (long start = first; start < last; start += W) {
    const int count = last - start < W ? int(last - start) : W;
    load<T>(positions + start * stride, stride, count, n, w.x);
    Block<T> b{t, w.x, w.f, {}, w.pairs, w.atoms};
    if (forces) {
      for (int k = 0; k < n; ++k) w.f[k] = Vec<T>{};
      evaluate_block<T, true>(b);
      for (int l = 0; l < count; ++l)
        for (int k = 0; k < n; ++k) forces[(start + l) * stride + k] = Io(w.f[k][l]);
    } else {
      evaluate_block<T, false>(b);
    }
    for (int l = 0; l < count; ++l) energy[start + l] = Io(b.energy.lane[l]);
  }
}

template <class T, class Io>
void leapfrog(const EnergyTables<T>& t, const T* inverse_masses, Io* positions, Io* momenta, const Io* step_ps,
              int n_steps, long first, long last, void* scratch) {
  constexpr int W = kLanes<T>;
  typedef Vec<T> V;
  const int n = 3 * t.n_atoms;
  Workspace<T> w(t, scratch);
  for (long start = first; start < last; start += W) {
    const int count = last - start < W ? int(last - start) : W;
    load<T>(positions + start * n, n, count, n, w.x);
    V step;
    for (int l = 0; l < W; ++l) {
      const long c = start + (l < count ? l : count - 1);
      step[l] = T(step_ps[c]);
      for (int k = 0; k < n; ++k) w.p[k][l] = T(momenta[c * n + k]);
    }
    for (int i = 0; i < t.n_atoms; ++i)
      for (int k = 3 * i; k < 3 * i + 3; ++k) w.x[k] += T(0.5) * inverse_masses[i] * step * w.p[k];
    for (int s = 0; s < n_steps; ++s) {
      for (int k = 0; k < n; ++k) w.f[k] = V{};
      Block<T, NoEnergy> b{t, w.x, w.f, {}, w.pairs, w.atoms};
      evaluate_block<T, true>(b);
      const T part = s + 1 < n_steps ? T(1) : T(0.5);
      for (int i = 0; i < t.n_atoms; ++i)
        for (int k = 3 * i; k < 3 * i + 3; ++k) {
          w.p[k] += step * w.f[k];
          w.x[k] += part * inverse_masses[i] * step * w.p[k];
        }
    }
    for (int l = 0; l < count; ++l) {
      Io* x = positions + (start + l) * n;
      const Io origin[3] = {x[0], x[1], x[2]};
      for (int k = 0; k < n; ++k) {
        x[k] = origin[k % 3] + Io(w.x[k][l]);
        momenta[(start + l) * n + k] = Io(w.p[k][l]);
      }
    }
  }
}

}  // namespace

extern const EnergyKernels energy_kernels;
const EnergyKernels energy_kernels{
    evaluate<float, float>, evaluate<float, double>, evaluate<double, float>, evaluate<double, double>,
    leapfrog<float, float>, leapfrog<float, double>, leapfrog<double, float>, leapfrog<double, double>,
};

}  // namespace timewarp::TIMEWARP_ISA

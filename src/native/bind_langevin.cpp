// timewarp.native._core.langevin, philox and normals.
#include <nanobind/stl/string.h>

#include <cmath>
#include <cstring>

#include "bindings.hpp"
#include "energy_potential.hpp"
#include "kernels.hpp"
#include "langevin.hpp"
#include "threads.hpp"

namespace timewarp {

#define DECLARE(isa)                                 \
  namespace isa {                                    \
  extern const LangevinKernels langevin_kernels;     \
  }
DECLARE(baseline)
#if defined(TIMEWARP_X86)
DECLARE(avx2)
DECLARE(avx512)
#endif

const LangevinKernels& langevin_kernels() {
#if defined(TIMEWARP_X86)
  if (!std::strcmp(isa().name, "avx512")) return avx512::langevin_kernels;
  if (!std::strcmp(isa().name, "avx2")) return avx2::langevin_kernels;
#endif
  return baseline::langevin_kernels;
}

namespace {

using Ids = Array<std::uint32_t, 1>;
using I1 = Array<std::int32_t, 1>;
using I2 = Array<std::int32_t, 2>;

// Sizes of a call, in one place for both precisions.
struct Call {
  double kT, timestep_ps, friction_per_ps;
  std::uint64_t seed;
  bool burn_in;
  std::int64_t first_step;
  long frame_steps, torsion_interval;
  int moves_per_round, n_threads;
};

template <class T>
void langevin(const EnergyPotential& potential, const Array<double, 1>& masses, const Ids& ids, const Out<T, 3>& positions,
              const Out<T, 3>& velocities, const Out<T, 4>& frames, const Out<double, 2>& energies,
              const Out<double, 2>& kinetic, const Out<std::int64_t, 2>& attempts, const Out<std::int64_t, 2>& accepts,
              const I2& axis, const I1& side_first, const I1& side, const Call& call, Langevin<T> kernel, int lanes) {
  const auto& t = potential.tables<T>();
  const std::size_t n = positions.shape(0), n_atoms = std::size_t(t.n_atoms), n_torsions = axis.shape(0);
  expect(positions.shape(1) == n_atoms && positions.shape(2) == 3, "positions (replicas, atoms, 3)");
  expect(velocities.shape(0) == n && velocities.shape(1) == n_atoms && velocities.shape(2) == 3,
         "velocities shaped as positions");
  expect(ids.shape(0) == n && masses.shape(0) == n_atoms, "a number for each replica, a mass for each atom");
  expect(frames.shape(1) == n && frames.shape(2) == n_atoms && frames.shape(3) == 3, "frames (frames, replicas, atoms, 3)");
  const std::size_t n_frames = frames.shape(0);
  expect(energies.shape(0) == n_frames && energies.shape(1) == n && kinetic.shape(0) == n_frames && kinetic.shape(1) == n,
         "energies (frames, replicas)");
  expect(attempts.shape(0) == n && attempts.shape(1) == n_torsions && accepts.shape(0) == n && accepts.shape(1) == n_torsions,
         "counts (replicas, torsions)");
  expect(axis.shape(1) == 2 && side_first.shape(0) == n_torsions + 1, "torsions (torsions, 2) and where their atoms begin");
  expect(call.frame_steps >= 1 && call.first_step >= 0, "at least one step to a frame");
  expect(call.moves_per_round == 0 || (n_torsions > 0 && call.torsion_interval >= 1), "a torsion to turn");
  for (std::size_t k = 0; k < axis.size(); ++k) expect(axis.data()[k] >= 0 && axis.data()[k] < t.n_atoms, "atoms of the molecule");
  for (std::size_t k = 0; k < side.size(); ++k) expect(side.data()[k] >= 0 && side.data()[k] < t.n_atoms, "atoms of the molecule");
  for (std::size_t k = 0; k < n_torsions; ++k)
    expect(side_first.data()[k] >= 0 && side_first.data()[k] < side_first.data()[k + 1] &&
               std::size_t(side_first.data()[k + 1]) <= side.size(),
           "at least one atom that turns");

  const double decay = std::exp(-call.friction_per_ps * call.timestep_ps);
  std::vector<T> kick(n_atoms), noise(n_atoms);
  for (std::size_t i = 0; i < n_atoms; ++i) {
    kick[i] = T(call.timestep_ps / masses.data()[i]);
    noise[i] = T(std::sqrt((1 - decay * decay) * call.kT / masses.data()[i]));
  }
  LangevinTables<T> p{};
  p.kick = kick.data();
  p.noise = noise.data();
  p.masses = masses.data();
  p.timestep = T(call.timestep_ps);
  p.decay = T(decay);
  p.kT = call.kT;
  p.seed = call.seed;
  p.burn_in = call.burn_in;
  p.first_step = call.first_step;
  p.n_frames = long(n_frames);
  p.frame_steps = call.frame_steps;
  p.torsion_interval = call.torsion_interval;
  p.moves_per_round = call.moves_per_round;
  p.n_torsions = int(n_torsions);
  p.axis = axis.data();
  p.side_first = side_first.data();
  p.side = side.data();
  nb::gil_scoped_release unlocked;
  parallel(long(n), lanes, call.n_threads, t.scratch_bytes + langevin_scratch_bytes(t.n_atoms),
           [&](long first, long last, void* scratch) {
             kernel(t, p, ids.data(), positions.data(), velocities.data(), frames.data(), energies.data(),
                    kinetic.data(), attempts.data(), accepts.data(), long(n), first, last, scratch);
           });
}

template <class T>
void define(nb::module_& m) {
  m.def(
      "langevin",
      [](const EnergyPotential& potential, Array<double, 1> masses, Ids ids, Out<T, 3> positions, Out<T, 3> velocities,
         Out<T, 4> frames, Out<double, 2> energies, Out<double, 2> kinetic, Out<std::int64_t, 2> attempts,
         Out<std::int64_t, 2> accepts, I2 axis, I1 side_first, I1 side, double kT, double timestep_ps,
         double friction_per_ps, std::uint64_t seed, bool burn_in, std::int64_t first_step, long frame_steps,
         long torsion_interval, int moves_per_round, int n_threads) {
        const Call call{kT, timestep_ps, friction_per_ps, seed, burn_in, first_step, frame_steps, torsion_interval,
                        moves_per_round, n_threads};
        const auto& k = langevin_kernels();
        if constexpr (sizeof(T) == 4)
          langevin<float>(potential, masses, ids, positions, velocities, frames, energies, kinetic, attempts, accepts,
                          axis, side_first, side, call, k.langevin_f32, isa().elementary->lanes_f32);
        else
          langevin<double>(potential, masses, ids, positions, velocities, frames, energies, kinetic, attempts, accepts,
                           axis, side_first, side, call, k.langevin_f64, isa().elementary->lanes_f64);
      },
      nb::arg("potential"), nb::arg("masses"), nb::arg("ids"), nb::arg("positions"), nb::arg("velocities"),
      nb::arg("frames"), nb::arg("energies"), nb::arg("kinetic"), nb::arg("attempts"), nb::arg("accepts"),
      nb::arg("axis"), nb::arg("side_first"), nb::arg("side"), nb::kw_only(), nb::arg("kT"), nb::arg("timestep_ps"),
      nb::arg("friction_per_ps"), nb::arg("seed"), nb::arg("burn_in"), nb::arg("first_step"), nb::arg("frame_steps"),
      nb::arg("torsion_interval"), nb::arg("moves_per_round"), nb::arg("n_threads"));
}

}  // namespace

void bind_langevin(nb::module_& m) {
  define<float>(m);
  define<double>(m);
  m.def(
      "philox",
      [](Out<std::uint32_t, 2> counters, std::uint32_t key0, std::uint32_t key1) {
        expect(counters.shape(1) == 4, "counters of four words");
        langevin_kernels().philox(counters.data(), key0, key1, long(counters.shape(0)));
      },
      "Philox4x32-10 of counters (n, 4), in place.");
  m.def("normals", [](std::uint64_t seed, std::int64_t step, std::uint32_t purpose, Ids ids, Out<float, 2> out) {
    expect(out.shape(0) == ids.shape(0), "a row for each replica");
    langevin_kernels().normals_f32(seed, step, purpose, ids.data(), long(ids.shape(0)), long(out.shape(1)), out.data());
  });
  m.def("normals", [](std::uint64_t seed, std::int64_t step, std::uint32_t purpose, Ids ids, Out<double, 2> out) {
    expect(out.shape(0) == ids.shape(0), "a row for each replica");
    langevin_kernels().normals_f64(seed, step, purpose, ids.data(), long(ids.shape(0)), long(out.shape(1)), out.data());
  });
}

}  // namespace timewarp

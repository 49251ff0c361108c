// timewarp.native._core.EnergyPotential.
#include <nanobind/stl/string.h>

#include "bindings.hpp"
#include "energy_potential.hpp"
#include "kernels.hpp"
#include "threads.hpp"

namespace timewarp {
namespace {

using I2 = Array<std::int32_t, 2>;
using I1 = Array<std::int32_t, 1>;
using D2 = Array<double, 2>;
using D1 = Array<double, 1>;

void check_atoms(const I2& atoms, std::size_t columns, int n_atoms) {
  expect(atoms.shape(1) == columns, "another number of atoms per term");
  for (std::size_t k = 0; k < atoms.size(); ++k)
    expect(atoms.data()[k] >= 0 && atoms.data()[k] < n_atoms, "atom numbers within the molecule");
}

template <class T>
void fill(OwnedTables<T>& o, int n_atoms, const I2& bond_atoms, const D2& bond, const I2& angle_atoms, const D2& angle,
          const I2& torsion_atoms, const I2& torsion_degree, const D2& even, const D2& odd,
          const I2& improper_atoms, const D2& improper, const I2& map_atoms, const I1& map_first,
          const D2& map_patches, int map_size, const D2& pair, const D2& pair_cut, const D2& pair_neck,
          const D2& born_atom, const D1& born) {
  o.bond_atoms = copied<std::int32_t>(bond_atoms);
  o.angle_atoms = copied<std::int32_t>(angle_atoms);
  o.torsion_atoms = copied<std::int32_t>(torsion_atoms);
  o.torsion_degree = copied<std::int32_t>(torsion_degree);
  o.improper_atoms = copied<std::int32_t>(improper_atoms);
  o.map_atoms = copied<std::int32_t>(map_atoms);
  o.map_first = copied<std::int32_t>(map_first);
  o.bond = copied<T>(bond);
  o.angle = copied<T>(angle);
  o.even = copied<T>(even);
  o.odd = copied<T>(odd);
  o.improper = copied<T>(improper);
  o.map_patches = copied<T>(map_patches);
  o.pair = copied<T>(pair);
  o.pair_cut = copied<T>(pair_cut);
  o.pair_neck = copied<T>(pair_neck);
  o.born_atom = copied<T>(born_atom);
  EnergyTables<T>& t = o.view;
  t.n_atoms = n_atoms;
  t.n_bonds = int(bond.shape(0));
  t.n_angles = int(angle.shape(0));
  t.n_torsions = int(even.shape(0));
  t.n_impropers = int(improper.shape(0));
  t.n_maps = int(map_atoms.shape(0));
  t.map_size = map_size;
  t.solvent = born_atom.shape(0) > 0;
  t.cut = pair_cut.shape(0) > 0;
  t.neck = pair_neck.shape(0) > 0;
  t.switched = born.data()[4] != 0;
  t.born_linear = born.data()[5] != 0;
  t.bond_atoms = o.bond_atoms.data();
  t.bond = o.bond.data();
  t.angle_atoms = o.angle_atoms.data();
  t.angle = o.angle.data();
  t.torsion_atoms = o.torsion_atoms.data();
  t.torsion_degree = o.torsion_degree.data();
  t.even = o.even.data();
  t.odd = o.odd.data();
  t.improper_atoms = o.improper_atoms.data();
  t.improper = o.improper.data();
  t.map_atoms = o.map_atoms.data();
  t.map_first = o.map_first.data();
  t.map_patches = o.map_patches.data();
  t.pair = o.pair.data();
  t.pair_cut = o.pair_cut.data();
  t.pair_neck = o.pair_neck.data();
  t.born_atom = o.born_atom.data();
  t.born_squared_cutoff = T(born.data()[0]);
  t.born_shift = T(born.data()[1]);
  t.born_engulfed = T(born.data()[2]);
  t.born_closest = T(born.data()[3]);
  // As Workspace and Block in energy_kernels.cpp: 9 vectors an atom and 4 more, 4 a pair; 64 bytes is the widest.
  t.scratch_bytes = 64L * (13L * n_atoms + 4L * n_atoms * (n_atoms - 1) / 2);
}

EnergyPotential make(int n_atoms, I2 bond_atoms, D2 bond, I2 angle_atoms, D2 angle, I2 torsion_atoms,
                     I2 torsion_degree, D2 even, D2 odd, I2 improper_atoms, D2 improper, I2 map_atoms, I1 map_first,
                     D2 map_patches, int map_size, D2 pair, D2 pair_cut, D2 pair_neck, D2 born_atom, D1 born) {
  expect(n_atoms > 0, "at least one atom");
  check_atoms(bond_atoms, 2, n_atoms);
  check_atoms(angle_atoms, 3, n_atoms);
  check_atoms(torsion_atoms, 4, n_atoms);
  check_atoms(improper_atoms, 4, n_atoms);
  check_atoms(map_atoms, 8, n_atoms);
  const std::size_t n_pairs = std::size_t(n_atoms) * (n_atoms - 1) / 2;
  expect(bond.shape(0) == bond_atoms.shape(0) && bond.shape(1) == 2, "bonds (n, 2)");
  expect(angle.shape(0) == angle_atoms.shape(0) && angle.shape(1) == 2, "angles (n, 2)");
  const std::size_t n_torsions = torsion_atoms.shape(0);
  expect(even.shape(0) == n_torsions && even.shape(1) == kPowers && odd.shape(0) == n_torsions &&
             odd.shape(1) == kPowers && torsion_degree.shape(0) == n_torsions && torsion_degree.shape(1) == 2,
         "torsions (n, 9)");
  for (std::size_t k = 0; k < n_torsions; ++k)
    expect(torsion_degree.data()[2 * k] >= 0 && torsion_degree.data()[2 * k] < kPowers &&
               torsion_degree.data()[2 * k + 1] >= -1 && torsion_degree.data()[2 * k + 1] < kPowers,
           "torsion degrees below 9");
  expect(improper.shape(0) == improper_atoms.shape(0) && improper.shape(1) == 3, "impropers (n, 3)");
  expect(map_first.shape(0) == map_atoms.shape(0) && map_patches.shape(1) == 16 && map_size >= 0, "maps");
  for (std::size_t k = 0; k < map_first.size(); ++k)
    expect(map_first.data()[k] >= 0 && std::size_t(map_first.data()[k]) + std::size_t(map_size) * map_size <= map_patches.shape(0),
           "maps within their table");
  expect(pair.shape(0) == n_pairs && pair.shape(1) == 4, "pairs (n (n - 1)/2, 4)");
  expect(pair_cut.shape(0) == 0 || (pair_cut.shape(0) == n_pairs && pair_cut.shape(1) == 5), "cutoffs (pairs, 5)");
  expect(pair_neck.shape(0) == 0 || (pair_neck.shape(0) == n_pairs && pair_neck.shape(1) == 5), "necks (pairs, 5)");
  expect(born_atom.shape(0) == 0 || (born_atom.shape(0) == std::size_t(n_atoms) && born_atom.shape(1) == 8),
         "Born parameters (atoms, 8)");
  expect(born.shape(0) == 6, "6 global numbers");
  EnergyPotential potential;
  fill(potential.f32, n_atoms, bond_atoms, bond, angle_atoms, angle, torsion_atoms, torsion_degree, even, odd,
       improper_atoms, improper, map_atoms, map_first, map_patches, map_size, pair, pair_cut, pair_neck, born_atom, born);
  fill(potential.f64, n_atoms, bond_atoms, bond, angle_atoms, angle, torsion_atoms, torsion_degree, even, odd,
       improper_atoms, improper, map_atoms, map_first, map_patches, map_size, pair, pair_cut, pair_neck, born_atom, born);
  return potential;
}

// How many configurations a thread takes at a time: some tens of microseconds of work, in whole vectors.
long grain(int n_atoms) { return n_atoms < 48 ? 64 : 16; }

template <class Real, class Io>
void evaluate(const EnergyPotential& potential, Array<Io, 3> positions, Out<Io, 1> energy, Out<Io, 3> forces,
              bool with_forces, int n_threads, Evaluate<Real, Io> kernel) {
  const auto& t = potential.tables<Real>();
  const long n = long(positions.shape(0)), stride = 3 * long(positions.shape(1));
  expect(positions.shape(1) >= std::size_t(t.n_atoms) && positions.shape(2) == 3, "positions (n, atoms, 3)");
  expect(energy.shape(0) == std::size_t(n), "energies (n)");
  expect(!with_forces || (forces.shape(0) == std::size_t(n) && forces.shape(1) == positions.shape(1) && forces.shape(2) == 3),
         "forces shaped as positions");
  const Io* x = positions.data();
  Io *e = energy.data(), *f = with_forces ? forces.data() : nullptr;
  nb::gil_scoped_release unlocked;
  parallel(n, grain(t.n_atoms), n_threads, t.scratch_bytes,
           [&](long first, long last, void* scratch) { kernel(t, x, stride, e, f, first, last, scratch); });
}

template <class Real, class Io>
void leapfrog(const EnergyPotential& potential, Array<double, 1> masses, Out<Io, 3> positions, Out<Io, 3> momenta,
              Array<Io, 1> step_ps, int n_steps, int n_threads, Leapfrog<Real, Io> kernel) {
  const auto& t = potential.tables<Real>();
  const long n = long(positions.shape(0));
  expect(masses.shape(0) == std::size_t(t.n_atoms), "a mass for each atom");
  expect(positions.shape(1) == std::size_t(t.n_atoms) && positions.shape(2) == 3, "positions (n, atoms, 3)");
  expect(momenta.shape(0) == std::size_t(n) && momenta.shape(1) == positions.shape(1) && momenta.shape(2) == 3,
         "momenta shaped as positions");
  expect(step_ps.shape(0) == std::size_t(n) && n_steps >= 1, "a step size for each configuration, and at least one step");
  std::vector<Real> inverse(t.n_atoms);
  for (int i = 0; i < t.n_atoms; ++i) inverse[i] = Real(1 / masses.data()[i]);
  Io *x = positions.data(), *p = momenta.data();
  const Io* step = step_ps.data();
  nb::gil_scoped_release unlocked;
  parallel(n, 16, n_threads, t.scratch_bytes, [&](long first, long last, void* scratch) {
    kernel(t, inverse.data(), x, p, step, n_steps, first, last, scratch);
  });
}

}  // namespace

void bind_energy(nb::module_& m) {
  nb::class_<EnergyPotential>(m, "EnergyPotential")
      .def(nb::new_([](int n_atoms, I2 bond_atoms, D2 bond, I2 angle_atoms, D2 angle, I2 torsion_atoms,
                       I2 torsion_degree, D2 even, D2 odd, I2 improper_atoms, D2 improper, I2 map_atoms, I1 map_first,
                       D2 map_patches, int map_size, D2 pair, D2 pair_cut, D2 pair_neck, D2 born_atom, D1 born) {
             return make(n_atoms, bond_atoms, bond, angle_atoms, angle, torsion_atoms, torsion_degree, even, odd,
                         improper_atoms, improper, map_atoms, map_first, map_patches, map_size, pair, pair_cut,
                         pair_neck, born_atom, born);
           }),
           nb::kw_only(), nb::arg("n_atoms"), nb::arg("bond_atoms"), nb::arg("bond"), nb::arg("angle_atoms"),
           nb::arg("angle"), nb::arg("torsion_atoms"), nb::arg("torsion_degree"), nb::arg("even"), nb::arg("odd"),
           nb::arg("improper_atoms"), nb::arg("improper"), nb::arg("map_atoms"), nb::arg("map_first"), nb::arg("map_patches"), nb::arg("map_size"), nb::arg("pair"),
           nb::arg("pair_cut"), nb::arg("pair_neck"), nb::arg("born_atom"), nb::arg("born"))
      .def_prop_ro("n_atoms", &EnergyPotential::n_atoms)
      .def("evaluate",
           [](const EnergyPotential& p, Array<float, 3> x, Out<float, 1> e, Out<float, 3> f, bool with_forces,
              bool single, int n_threads) {
             const auto& k = *isa().energy;
             single ? evaluate<float, float>(p, x, e, f, with_forces, n_threads, k.evaluate_f32)
                    : evaluate<double, float>(p, x, e, f, with_forces, n_threads, k.evaluate_f64_f32);
           })
      .def("evaluate",
           [](const EnergyPotential& p, Array<double, 3> x, Out<double, 1> e, Out<double, 3> f, bool with_forces,
              bool single, int n_threads) {
             const auto& k = *isa().energy;
             single ? evaluate<float, double>(p, x, e, f, with_forces, n_threads, k.evaluate_f32_f64)
                    : evaluate<double, double>(p, x, e, f, with_forces, n_threads, k.evaluate_f64);
           })
      .def("leapfrog",
           [](const EnergyPotential& p, Array<double, 1> masses, Out<float, 3> x, Out<float, 3> momenta,
              Array<float, 1> step_ps, int n_steps, bool single, int n_threads) {
             const auto& k = *isa().energy;
             single ? leapfrog<float, float>(p, masses, x, momenta, step_ps, n_steps, n_threads, k.leapfrog_f32)
                    : leapfrog<double, float>(p, masses, x, momenta, step_ps, n_steps, n_threads, k.leapfrog_f64_f32);
           })
      .def("leapfrog", [](const EnergyPotential& p, Array<double, 1> masses, Out<double, 3> x, Out<double, 3> momenta,
                          Array<double, 1> step_ps, int n_steps, bool single, int n_threads) {
        const auto& k = *isa().energy;
        single ? leapfrog<float, double>(p, masses, x, momenta, step_ps, n_steps, n_threads, k.leapfrog_f32_f64)
               : leapfrog<double, double>(p, masses, x, momenta, step_ps, n_steps, n_threads, k.leapfrog_f64);
      });
}

}  // namespace timewarp

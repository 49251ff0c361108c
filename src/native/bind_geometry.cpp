// timewarp.native._core.dihedrals, signed_volumes and turn.
#include <cmath>

#include "bindings.hpp"
#include "kernels.hpp"

namespace timewarp {
namespace {

template <class Io>
void measure(Array<Io, 3> positions, Array<std::int64_t, 2> atoms, Out<Io, 2> out, Measure<Io> kernel) {
  const std::size_t n_atoms = positions.shape(1);
  expect(positions.shape(2) == 3 && atoms.shape(1) == 4, "positions (n, atoms, 3) and rows of four atoms");
  expect(out.shape(0) == positions.shape(0) && out.shape(1) == atoms.shape(0), "results (n, rows)");
  for (std::size_t k = 0; k < atoms.size(); ++k)
    expect(atoms.data()[k] >= 0 && std::size_t(atoms.data()[k]) < n_atoms, "atoms within the molecule");
  kernel(positions.data(), long(positions.shape(0)), int(n_atoms), atoms.data(), int(atoms.shape(0)), out.data());
}

// Atoms of each configuration turned about the axis of its bond (a, b); see timewarp/sampling/torsion.py. The others
// are kept to the last bit.
template <class Io>
void turn(Array<Io, 3> positions, Array<std::int64_t, 2> bonds, Array<bool, 2> turning, Array<Io, 1> angle,
          Out<Io, 3> out) {
  const std::size_t n = positions.shape(0), atoms = positions.shape(1);
  expect(positions.shape(2) == 3 && out.shape(0) == n && out.shape(1) == atoms && out.shape(2) == 3, "positions (n, atoms, 3)");
  expect(bonds.shape(0) == n && bonds.shape(1) == 2 && turning.shape(0) == n && turning.shape(1) == atoms &&
             angle.shape(0) == n,
         "a bond, its atoms and an angle for each configuration");
  for (std::size_t k = 0; k < bonds.size(); ++k)
    expect(bonds.data()[k] >= 0 && std::size_t(bonds.data()[k]) < atoms, "atoms within the molecule");
  for (std::size_t c = 0; c < n; ++c) {
    const Io* x = positions.data() + 3 * atoms * c;
    Io* y = out.data() + 3 * atoms * c;
    const Io *a = x + 3 * bonds.data()[2 * c], *b = x + 3 * bonds.data()[2 * c + 1];
    double axis[3], squared = 0;
    for (int k = 0; k < 3; ++k) {
      axis[k] = double(a[k]) - double(b[k]);
      squared += axis[k] * axis[k];
    }
    for (double& component : axis) component /= std::sqrt(squared);
    const double cosine = std::cos(double(angle.data()[c])), sine = std::sin(double(angle.data()[c]));
    for (std::size_t i = 0; i < atoms; ++i) {
      if (!turning.data()[atoms * c + i]) {
        for (int k = 0; k < 3; ++k) y[3 * i + k] = x[3 * i + k];
        continue;
      }
      double arm[3], along = 0;
      for (int k = 0; k < 3; ++k) {
        arm[k] = double(x[3 * i + k]) - double(a[k]);
        along += arm[k] * axis[k];
      }
      for (int k = 0; k < 3; ++k) {
        const int next = (k + 1) % 3, other = (k + 2) % 3;
        const double across = axis[next] * arm[other] - axis[other] * arm[next];
        y[3 * i + k] = Io(double(a[k]) + arm[k] * cosine + across * sine + axis[k] * along * (1 - cosine));
      }
    }
  }
}

}  // namespace

void bind_geometry(nb::module_& m) {
  using I2 = Array<std::int64_t, 2>;
  m.def("dihedrals", [](Array<float, 3> x, I2 atoms, Out<float, 2> out) {
    measure<float>(x, atoms, out, isa().geometry->dihedrals_f32);
  });
  m.def("dihedrals", [](Array<double, 3> x, I2 atoms, Out<double, 2> out) {
    measure<double>(x, atoms, out, isa().geometry->dihedrals_f64);
  });
  m.def("signed_volumes", [](Array<float, 3> x, I2 atoms, Out<float, 2> out) {
    measure<float>(x, atoms, out, isa().geometry->volumes_f32);
  });
  m.def("signed_volumes", [](Array<double, 3> x, I2 atoms, Out<double, 2> out) {
    measure<double>(x, atoms, out, isa().geometry->volumes_f64);
  });
  m.def("turn", &turn<float>);
  m.def("turn", &turn<double>);
}

}  // namespace timewarp

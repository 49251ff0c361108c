// timewarp.native._core.dihedrals and signed_volumes.
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
}

}  // namespace timewarp

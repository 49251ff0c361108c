// The extension module timewarp.native._core. Arguments are checked in Python (timewarp/energies/native.py, ...) and
// once more here where a wrong one would read beyond an array.
#include <nanobind/nanobind.h>

#include "bindings.hpp"
#include "kernels.hpp"

namespace nb = nanobind;
using namespace timewarp;

NB_MODULE(_core, m) {
  m.doc() = "Kernels with one configuration per SIMD lane.";
  m.def("instruction_set", [] { return isa().name; }, "Name of the instruction set in use.");
  m.def("choose_instruction_set", &choose, nb::arg("name"),
        "Use another one: 'auto', 'baseline', 'avx2' or 'avx512'. Raises ValueError where the processor lacks it.");
  m.def("lanes", [] { return nb::make_tuple(isa().elementary->lanes_f32, isa().elementary->lanes_f64); },
        "Configurations in a vector, in single and in double precision.");
  m.def("elementary", [](int function, const Array<float, 1>& x, const Array<float, 1>& y, Out<float, 1> out) {
    expect(x.size() == out.size() && y.size() == out.size(), "arrays of one length");
    isa().elementary->apply_f32(function, x.data(), y.data(), out.data(), long(out.size()));
  });
  m.def("elementary", [](int function, const Array<double, 1>& x, const Array<double, 1>& y, Out<double, 1> out) {
    expect(x.size() == out.size() && y.size() == out.size(), "arrays of one length");
    isa().elementary->apply_f64(function, x.data(), y.data(), out.data(), long(out.size()));
  });
  bind_closure(m);
  bind_energy(m);
  bind_flow(m);
  bind_geometry(m);
  bind_growth(m);
  bind_langevin(m);
}

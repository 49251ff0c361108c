// What the parts of the module share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <deque>
#include <stdexcept>
#include <string>
#include <vector>

namespace timewarp {

namespace nb = nanobind;

// Contiguous arrays in main memory, of torch or numpy; `Out` is written to.
template <class T, int N>
using Array = nb::ndarray<const T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
template <class T, int N>
struct Out : nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu> {
  using Base = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
  Out() = default;
  Out(Base base) : Base(std::move(base)) {}
};

// Sizes of networks beyond this are a mistake, and sums of them would leave an int.
constexpr int kMostWide = 1 << 16;

inline void expect(bool good, const char* what) {
  if (!good) throw std::invalid_argument(std::string("timewarp.native: expected ") + what);
}

template <class T, class A>
std::vector<T> copied(const A& array) {
  return std::vector<T>(array.data(), array.data() + array.size());
}

// Tables that views point into: a deque leaves what it holds where it is.
struct Kept {
  std::deque<std::vector<float>> floats;
  std::deque<std::vector<std::int32_t>> integers;

  const float* keep(const double* values, std::size_t n) { return floats.emplace_back(values, values + n).data(); }
  const float* keep(const Array<float, 1>& values) { return floats.emplace_back(copied<float>(values)).data(); }
  const std::int32_t* keep(const Array<std::int32_t, 1>& values) {
    return integers.emplace_back(copied<std::int32_t>(values)).data();
  }
};

void bind_closure(nb::module_& m);
void bind_energy(nb::module_& m);
void bind_flow(nb::module_& m);
void bind_geometry(nb::module_& m);
void bind_growth(nb::module_& m);
void bind_langevin(nb::module_& m);

}  // namespace timewarp

// An output of another type or layout is refused: converted, what is written to it would be lost with the copy.
namespace nanobind::detail {

template <class T, int N>
struct type_caster<timewarp::Out<T, N>> {
  using Output = timewarp::Out<T, N>;
  using Base = typename Output::Base;
  NB_TYPE_CASTER(Output, make_caster<Base>::Name)

  bool from_python(handle source, uint8_t flags, cleanup_list* cleanup) noexcept {
    make_caster<Base> inner;
    if (!inner.from_python(source, uint8_t(flags & ~uint8_t(cast_flags::convert)), cleanup)) return false;
    value = Output(std::move(inner.value));
    return true;
  }
};

}  // namespace nanobind::detail

// The elementary functions of simd.hpp on arrays, for tests.
#include "kernels.hpp"
#include "simd.hpp"

namespace timewarp::TIMEWARP_ISA {
namespace {

template <class T>
void apply(int function, const T* x, const T* y, T* out, long n) {
  constexpr int W = kLanes<T>;
  for (long start = 0; start < n; start += W) {
    const int count = n - start < W ? int(n - start) : W;
    Vec<T> a = splat(T(1)), b = splat(T(1)), r, other;
    for (int l = 0; l < count; ++l) {
      a[l] = x[start + l];
      b[l] = y[start + l];
    }
    switch (function) {
      case 0: r = vsqrt(a); break;
      case 1: r = rsqrt(a); break;
      case 2: r = rcp(a); break;
      case 3: r = vexp(a); break;
      case 4: r = vlog(a); break;
      case 5: r = vatan2(a, b); break;
      case 6: sincos_turns(a, r, other); break;
      case 7: sincos_turns(a, other, r); break;
      default: r = vtanh(a); break;
    }
    for (int l = 0; l < count; ++l) out[start + l] = r[l];
  }
}

void apply_f32(int function, const float* x, const float* y, float* out, long n) { apply(function, x, y, out, n); }
void apply_f64(int function, const double* x, const double* y, double* out, long n) { apply(function, x, y, out, n); }

}  // namespace

extern const ElementaryKernels elementary_kernels;
const ElementaryKernels elementary_kernels{apply_f32, apply_f64, kLanes<float>, kLanes<double>};

}  // namespace timewarp::TIMEWARP_ISA

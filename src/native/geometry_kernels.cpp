// Dihedrals and signed volumes (timewarp/geometry/vectors.py) of many configurations, one per lane.
#include "geometry_kernels.hpp"

#include "vec3.hpp"

namespace timewarp::TIMEWARP_ISA {
namespace {

struct Dihedral {
  TW_INLINE static VD of(Point i, Point j, Point k, Point l) { return dihedral(i, j, k, l); }
};

struct Volume {
  TW_INLINE static VD of(Point centre, Point a, Point b, Point c) {
    return dot(a - centre, cross(b - centre, c - centre));
  }
};

template <class Quantity, class Io>
void measure(const Io* positions, long n, int n_atoms, const std::int64_t* atoms, int n_rows, Io* out) {
  constexpr int W = kLanes<double>;
  for (long start = 0; start < n; start += W) {
    const int count = n - start < W ? int(n - start) : W;
    for (int row = 0; row < n_rows; ++row) {
      VD x[12];
      for (int lane = 0; lane < W; ++lane) {
        const Io* from = positions + (start + (lane < count ? lane : count - 1)) * 3 * n_atoms;
        for (int corner = 0; corner < 4; ++corner)
          for (int axis = 0; axis < 3; ++axis) x[3 * corner + axis][lane] = double(from[3 * atoms[4 * row + corner] + axis]);
      }
      const VD value = Quantity::of(at(x, 0), at(x, 1), at(x, 2), at(x, 3));
      for (int lane = 0; lane < count; ++lane) out[(start + lane) * n_rows + row] = Io(value[lane]);
    }
  }
}

}  // namespace

extern const GeometryKernels geometry_kernels;
const GeometryKernels geometry_kernels{
    measure<Dihedral, float>,
    measure<Volume, float>,
    measure<Dihedral, double>,
    measure<Volume, double>,
};

}  // namespace timewarp::TIMEWARP_ISA

// timewarp.native._core.solve_closures and turn_loops: concerted rotations; see timewarp/geometry/closure.py, loops.py.
#include <limits>

#include "bindings.hpp"
#include "closure.hpp"
#include "kernels.hpp"
#include "threads.hpp"

namespace timewarp {
namespace {

// Shapes (n, 5, 3): side, first, last, twist, bend. Entries that are no closure are left as they are.
void solve_closures(Array<double, 3> shapes, Out<double, 3> tau, Out<double, 2> volume, Out<bool, 2> valid,
                    int n_threads) {
  const std::size_t n = shapes.shape(0), most = kMost;
  expect(shapes.shape(1) == 5 && shapes.shape(2) == 3, "shapes (n, 5, 3)");
  expect(tau.shape(0) == n && tau.shape(1) == most && tau.shape(2) == 3, "angles (n, 16, 3)");
  expect(volume.shape(0) == n && volume.shape(1) == most && valid.shape(0) == n && valid.shape(1) == most,
         "volumes and flags (n, 16)");
  const Circle circle;
  parallel(long(n), 8, n_threads, 64, [&](long first, long last, void*) {
    for (long row = first; row < last; ++row) {
      const int found =
          solve(shapes.data() + 15 * row, circle, tau.data() + 3 * kMost * row, volume.data() + kMost * row);
      for (int k = 0; k < kMost; ++k) valid.data()[kMost * row + k] = k < found;
    }
  });
}

double length(Vector a) { return std::sqrt(dot(a, a)); }
Vector unit(Vector a) { return (1 / length(a)) * a; }
double angle_of(Vector a, Vector b) { return std::atan2(length(cross(a, b)), dot(a, b)); }

// Orthonormal: a direction, what another one has across it, and their product.
struct Frame {
  Vector e, b, c;
  Frame() = default;
  Frame(Vector along, Vector other) {
    e = unit(along);
    b = unit(other - dot(other, e) * e);
    c = cross(e, b);
  }
};

// From one frame at one point to another frame at another point.
struct Motion {
  Frame from, to;
  Vector old_point, new_point;
  Vector rotate(Vector a) const {
    return dot(a, from.e) * to.e + dot(a, from.b) * to.b + dot(a, from.c) * to.c;
  }
  Vector operator()(Vector a) const { return new_point + rotate(a - old_point); }
};

// Corner, first and last atom, and next corner of each segment.
struct Points {
  Vector at[3][4];
};

void measure(const Points& p, const double* bend, double* shape) {
  for (int i = 0; i < 3; ++i) {
    const Vector *q = p.at[i], axis = q[3] - q[0];
    shape[i] = length(axis);
    shape[3 + i] = angle_of(axis, q[1] - q[0]);
    shape[6 + i] = angle_of(Vector{0, 0, 0} - axis, q[2] - q[3]);
    const Vector left = cross(q[0] - q[1], axis), right = cross(axis, q[2] - q[3]);
    shape[9 + i] = std::atan2(dot(cross(left, right), axis) / shape[i], dot(left, right));
    shape[12 + i] = bend[i];
  }
}

void present_angles(const Points& p, double* tau) {
  const Vector normal = unit(cross(p.at[0][3] - p.at[0][0], p.at[1][3] - p.at[0][0]));
  for (int i = 0; i < 3; ++i) {
    const Vector side = unit(p.at[i][3] - p.at[i][0]), arm = p.at[i][1] - p.at[i][0];
    tau[i] = std::atan2(dot(arm, normal), dot(arm, cross(normal, side)));
  }
}

// Log of the chance of each closure, given the angles of a configuration that is left or entered.
void log_chances(const double* closures, int n, const double* tau, double width, double* out) {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int k = 0; k < n; ++k) {
    double apart = 0;
    for (int i = 0; i < 3; ++i) apart += 2 - 2 * std::cos(closures[3 * k + i] - tau[i]);
    out[k] = -apart / (2 * width * width);
    largest = std::max(largest, out[k]);
  }
  for (int k = 0; k < n; ++k) sum += std::exp(out[k] - largest);
  for (int k = 0; k < n; ++k) out[k] -= largest + std::log(sum);
}

struct Window {
  const std::int64_t *points, *part, *driver;
  const bool* turning;
  int driven, fixed;
};

// How each part of a molecule moves: three segments, and what hangs on each corner.
void close(const Points& before, const Points& now, const double* shape, const Window& w, const double* tau,
           Motion* motions) {
  Frame frames[3];
  for (int i = 0; i < 3; ++i) frames[i] = Frame(now.at[i][3] - now.at[i][0], now.at[i][1] - now.at[i][0]);
  const int f = w.fixed;
  const double cf = std::cos(tau[f]), sf = std::sin(tau[f]);
  Vector side[3], corner[3];
  side[f] = frames[f].e;
  corner[f] = now.at[f][0];
  const Vector normal = cross(side[f], cf * frames[f].b - sf * frames[f].c);
  for (int k = 0; k < 2; ++k) {
    const int i = (f + k) % 3, j = (i + 1) % 3, l = (i + 2) % 3;
    const double cosine = (shape[i] * shape[i] + shape[j] * shape[j] - shape[l] * shape[l]) / (2 * shape[i] * shape[j]);
    const double sine = std::sqrt(std::max(0.0, (1 - cosine) * (1 + cosine)));
    corner[j] = corner[i] + shape[i] * side[i];
    side[j] = sine * cross(normal, side[i]) - cosine * side[i];
  }
  for (int i = 0; i < 3; ++i) {
    const Vector inward = cross(normal, side[i]);
    Frame to;
    to.e = side[i];
    to.b = std::cos(tau[i]) * inward + std::sin(tau[i]) * normal;
    to.c = cross(to.e, to.b);
    motions[i] = {frames[i], to, now.at[i][0], corner[i]};
  }
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 2) % 3;
    const Vector arrives = before.at[j][2] - before.at[i][0], leaves = before.at[i][1] - before.at[i][0];
    const Vector last = motions[j].rotate(now.at[j][2] - now.at[j][3]);
    const Vector first = motions[i].rotate(now.at[i][1] - now.at[i][0]);
    motions[3 + i] = {Frame(leaves, arrives), Frame(first, last), before.at[i][0], corner[i]};
  }
}

// Windows of configurations, one each: their tables, checked.
struct Windows {
  Array<std::int64_t, 3> points;
  Array<std::int64_t, 2> part, driver;
  Array<bool, 2> turning;
  Array<std::int64_t, 1> driven, fixed;

  void check(std::size_t n, std::size_t atoms) const {
    expect(points.shape(0) == n && points.shape(1) == 3 && points.shape(2) == 4 && part.shape(0) == n &&
               part.shape(1) == atoms && driver.shape(0) == n && driver.shape(1) == 2 && turning.shape(0) == n &&
               turning.shape(1) == atoms && driven.shape(0) == n && fixed.shape(0) == n,
           "a window for each configuration");
    below(points, std::int64_t(atoms));
    below(driver, std::int64_t(atoms));
    below(part, 6);
    below(driven, 3);
    below(fixed, 3);
  }
  Window at(std::size_t row) const {
    const std::size_t atoms = part.shape(1);
    return {points.data() + 12 * row,     part.data() + atoms * row, driver.data() + 2 * row,
            turning.data() + atoms * row, int(driven.data()[row]),   int(fixed.data()[row])};
  }

 private:
  template <class A>
  static void below(const A& array, std::int64_t limit) {
    for (std::size_t k = 0; k < array.size(); ++k)
      expect(array.data()[k] >= 0 && array.data()[k] < limit, "indices within range");
  }
};

// Bond angles at the corners.
void bends(const Points& p, double* bend) {
  for (int i = 0; i < 3; ++i)
    bend[i] = angle_of(p.at[(i + 2) % 3][2] - p.at[i][0], p.at[i][1] - p.at[i][0]);
}

// A configuration whose driver turns.
template <class Io>
struct Driven {
  const Io* x;
  const Window w;
  Vector origin, axis;
  double cosine, sine;

  Driven(const Io* x, const Window& w, double angle)
      : x(x), w(w), origin(at(w.driver[0])), axis(unit(origin - at(w.driver[1]))), cosine(std::cos(angle)),
        sine(std::sin(angle)) {}

  Vector at(std::int64_t i) const { return {double(x[3 * i]), double(x[3 * i + 1]), double(x[3 * i + 2])}; }
  Vector turned(std::int64_t i) const {
    if (!w.turning[i]) return at(i);
    const Vector arm = at(i) - origin;
    return origin + (cosine * arm + sine * cross(axis, arm) + (dot(arm, axis) * (1 - cosine)) * axis);
  }
  void points(Points& before, Points& now) const {
    for (int i = 0; i < 3; ++i)
      for (int k = 0; k < 4; ++k) {
        before.at[i][k] = at(w.points[4 * i + k]);
        now.at[i][k] = i == w.driven ? turned(w.points[4 * i + k]) : before.at[i][k];
      }
  }
  void write(const Points& before, const Points& now, const double* shape, const double* tau, int atoms, Io* y) const {
    Motion motions[6];
    close(before, now, shape, w, tau, motions);
    for (int i = 0; i < atoms; ++i) {
      const int p = int(w.part[i]);
      Vector moved = p == w.driven ? turned(i) : at(i);
      if (p != w.fixed) moved = motions[p](moved);
      y[3 * i] = Io(moved.x);
      y[3 * i + 1] = Io(moved.y);
      y[3 * i + 2] = Io(moved.z);
    }
  }
};

// Closed loops at given angles of their segments, whose drivers turn by an angle.
template <class Io>
void close_loops(Array<Io, 3> positions, Array<std::int64_t, 3> points, Array<std::int64_t, 2> part,
                 Array<std::int64_t, 2> driver, Array<bool, 2> turning, Array<std::int64_t, 1> driven,
                 Array<std::int64_t, 1> fixed, Array<double, 1> angle, Array<double, 2> tau, Out<Io, 3> out) {
  const std::size_t n = positions.shape(0), atoms = positions.shape(1);
  expect(positions.shape(2) == 3 && out.shape(0) == n && out.shape(1) == atoms && out.shape(2) == 3,
         "positions (n, atoms, 3)");
  expect(tau.shape(0) == n && tau.shape(1) == 3 && angle.shape(0) == n, "angles (n, 3) and of the drivers");
  const Windows windows{points, part, driver, turning, driven, fixed};
  windows.check(n, atoms);
  for (std::size_t row = 0; row < n; ++row) {
    const Io* x = positions.data() + 3 * atoms * row;
    Io* y = out.data() + 3 * atoms * row;
    const Window w = windows.at(row);
    const Driven<Io> driven_by{x, w, angle.data()[row]};
    Points before, now;
    driven_by.points(before, now);
    double bend[3], shape[15];
    bends(before, bend);
    measure(now, bend, shape);
    driven_by.write(before, now, shape, tau.data() + 3 * row, int(atoms), y);
  }
}

// Drivers are turned by an angle, and a closure is chosen by a uniform number. `terms` are log p(x' | x), log p(x | x')
// and log |det B(x)| - log |det B(x')|; where it is not possible, positions stay as they are.
template <class Io>
void turn_loops(Array<Io, 3> positions, Array<std::int64_t, 3> points, Array<std::int64_t, 2> part,
                Array<std::int64_t, 2> driver, Array<bool, 2> turning, Array<std::int64_t, 1> driven,
                Array<std::int64_t, 1> fixed, Array<double, 1> angle, Array<double, 1> width, Array<double, 1> uniform,
                double present, Out<Io, 3> out, Out<double, 2> terms, Out<bool, 1> possible, int n_threads) {
  const std::size_t n = positions.shape(0), atoms = positions.shape(1);
  expect(positions.shape(2) == 3 && out.shape(0) == n && out.shape(1) == atoms && out.shape(2) == 3,
         "positions (n, atoms, 3)");
  expect(angle.shape(0) == n && width.shape(0) == n && uniform.shape(0) == n && terms.shape(0) == n &&
             terms.shape(1) == 3 && possible.shape(0) == n,
         "an angle, a width and a number for each configuration");
  const Windows windows{points, part, driver, turning, driven, fixed};
  windows.check(n, atoms);
  const Circle circle;
  parallel(long(n), 4, n_threads, 64, [&](long start, long stop, void*) {
    for (long row = start; row < stop; ++row) {
      const Io* x = positions.data() + 3 * atoms * row;
      Io* y = out.data() + 3 * atoms * row;
      const Window w = windows.at(row);
      const Driven<Io> driven_by{x, w, angle.data()[row]};
      Points before, now;
      driven_by.points(before, now);
      double bend[3], old_shape[15], shape[15], tau[3];
      bends(before, bend);
      measure(before, bend, old_shape);
      measure(now, bend, shape);
      present_angles(before, tau);
      double back[3 * kMost], onwards[3 * kMost], back_volume[kMost], volume[kMost], chance[kMost];
      const int n_onwards = solve(shape, circle, onwards, volume);
      // Without a closure the state's own need not be looked for.
      const int n_back = n_onwards ? solve(old_shape, circle, back, back_volume) : 0;
      int here = -1, there = 0;
      double nearest = present;
      for (int k = 0; k < n_back; ++k) {
        double off = 0;
        for (int i = 0; i < 3; ++i) off = std::max(off, std::fabs(wrapped(back[3 * k + i] - tau[i])));
        if (off < nearest) {
          nearest = off;
          here = k;
        }
      }
      bool good = here >= 0;
      double* term = terms.data() + 3 * row;
      if (good) {
        log_chances(onwards, n_onwards, tau, width.data()[row], chance);
        double sum = 0;
        for (there = 0; there < n_onwards - 1; ++there)
          if ((sum += std::exp(chance[there])) > uniform.data()[row]) break;
        term[0] = chance[there];
        log_chances(back, n_back, onwards + 3 * there, width.data()[row], chance);
        term[1] = chance[here];
        term[2] = back_volume[here] - volume[there];
        for (int k = 0; k < 3; ++k) good = good && std::isfinite(term[k]);
      }
      possible.data()[row] = good;
      if (!good) {
        for (int k = 0; k < 3; ++k) term[k] = 0;
        std::copy(x, x + 3 * atoms, y);
        continue;
      }
      driven_by.write(before, now, shape, onwards + 3 * there, int(atoms), y);
    }
  });
}

}  // namespace

void bind_closure(nb::module_& m) {
  m.def("solve_closures", &solve_closures);
  m.def("close_loops", &close_loops<float>);
  m.def("close_loops", &close_loops<double>);
  m.def("turn_loops", &turn_loops<float>);
  m.def("turn_loops", &turn_loops<double>);
}

}  // namespace timewarp

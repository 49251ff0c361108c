// Growing molecules: features of all steps for training, and whole proposals for sampling.
#include "growth_density.hpp"
#include "growth_network.hpp"

namespace timewarp::TIMEWARP_ISA {
namespace {

template <class Io>
void features(const GrowthTables& t, const Io* positions, int first_step, int last_step, const GrowthOut& out,
              long first, long last, void* scratch) {
  Space space{static_cast<char*>(scratch)};
  Growth e(t, space);
  const long asked = last_step - first_step;
  for (long start = first; start < last; start += W) {
    const int count = last - start < W ? int(last - start) : W;
    e.load(positions + start * 3 * t.n_atoms, count);
    e.centre();
    for (int k = t.n_steps - 1; k >= first_step; --k) {
      if (k < last_step) {
        e.place(k);
        e.write(k, out, start * asked + (k - first_step), asked, count);
      }
      if (k > first_step) e.fold(k);
    }
  }
}

long scratch_bytes(const GrowthTables& t) {
  Space space{nullptr};
  Growth e(t, space);
  return space.used;
}

// One block of chains; see Regrowth.
struct Regrowing {
  GrowthNetwork network;
  CircularDensity density;
  double angle[kChains], forward[kChains], backward[kChains];
  Number* before_angle;  // (blocks, 2 width): keys and values of the first step that is redrawn

  Regrowing(const GrowthTables& t, const GrowthNetworkTables& n, const GrowthStaticTables& s, Space& space)
      : network(t, n, s, space), before_angle(GrowthNetwork::take(space, long(n.n_blocks) * 2 * n.width)) {}

  void angles_now() {
    for (int c = 0; c < kChains; ++c)
      angle[c] = network.features[c / W].angle[c % W / kHalf][c % kHalf];
  }

  void keep(bool back) {
    for (int b = 0; b < network.n.n_blocks; ++b) {
      Number *there = before_angle + long(b) * network.memory_size, *here = network.memory_of(b, kept + 1);
      for (int f = 0; f < network.memory_size; ++f) (back ? here : there)[f] = (back ? there : here)[f];
    }
  }

  int kept = 0;

  template <class Io>
  void distribute(int k, const Regrowth<Io>& task) {
    network.read_out(k);
    if (task.wells) shut(task.wells[k], network.logits);
    density.set(network.logits);
  }

  double log_prob(int k, int chain, double place) const {
    return density.log_prob(chain, place) + (network.t.steps[k].twisting ? log_slope(place) : 0.0);
  }

  template <class Io>
  void draw(int k, const Regrowth<Io>& task, long start, double* to) {
    for (int c = 0; c < kChains; ++c) {
      const long chain = start + c < task.chains ? start + c : task.chains - 1;
      to[c] = density.sample(c, task.uniform[(k - kept) * task.chains + chain]);
      forward[c] += log_prob(k, c, to[c]);
    }
  }

  template <class Io>
  void run(const Regrowth<Io>& task, long start) {
    const int n_steps = network.t.n_steps;
    const long width = 3 * network.t.n_atoms;
    kept = task.kept;
    for (int u = 0; u < kVectors; ++u) {
      const long from = start + u * W < task.chains ? start + u * W : task.chains - 1;
      const long left = task.chains - from;
      network.features[u].load(task.positions + from * width, left < W ? int(left) : W);
    }
    double first[kChains];  // the new angle of the first step that is redrawn: its density serves both ways
    for (int c = 0; c < kChains; ++c) forward[c] = backward[c] = 0;
    const int scored = task.backward ? n_steps : kept + 1;
    for (int k = 0; k < scored; ++k) {
      network.look(k);
      network.pass(k);
      angles_now();
      if (k >= kept) {
        distribute(k, task);
        for (int c = 0; c < kChains; ++c) backward[c] += log_prob(k, c, angle[c]);
      }
      if (k == kept && task.uniform) {
        keep(false);
        draw(k, task, start, first);
      }
      network.remember(k, angle);
    }
    if (task.uniform) {
      keep(true);
      for (int u = 0; u < kVectors; ++u) {
        network.features[u].place(kept);
        network.features[u].turn(kept, first + u * W);
      }
      network.remember(kept, first);
      for (int k = kept + 1; k < n_steps; ++k) {
        double there[kChains];
        network.look(k);
        network.pass(k);
        distribute(k, task);
        draw(k, task, start, there);
        for (int u = 0; u < kVectors; ++u) network.features[u].turn(k, there + u * W);
        network.remember(k, there);
      }
    }
    for (int c = 0; c < kChains && start + c < task.chains; ++c) {
      if (task.backward) task.backward[start + c] = backward[c];
      if (!task.uniform) continue;
      task.forward[start + c] = forward[c];
      const Growth& f = network.features[c / W];
      const Io* row = task.positions + (start + c) * width;
      Io* out = task.drawn + (start + c) * width;
      for (long i = 0; i < width; ++i) out[i] = Io(f.x[c % W / kHalf][i][c % kHalf] + double(row[i % 3]));
    }
  }
};

template <class Io>
void regrow(const GrowthTables& t, const GrowthNetworkTables& n, const GrowthStaticTables& s, const Regrowth<Io>& task,
            long first, long last, void* scratch) {
  Space space{static_cast<char*>(scratch)};
  Regrowing regrowing(t, n, s, space);
  for (long start = first; start < last; start += kChains) regrowing.run(task, start);
}

long regrow_bytes(const GrowthTables& t, const GrowthNetworkTables& n) {
  Space space{nullptr};
  const GrowthStaticTables none{};
  Regrowing regrowing(t, n, none, space);
  return space.used;
}

}  // namespace

extern const GrowthKernels growth_kernels;
const GrowthKernels growth_kernels{features<float>, features<double>, scratch_bytes,
                                   regrow<float>,   regrow<double>,   regrow_bytes, kChains};

}  // namespace timewarp::TIMEWARP_ISA

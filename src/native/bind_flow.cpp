// timewarp.native._core.FlowNetwork and Flow.
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <deque>
#include <memory>

#include "kernels.hpp"
#include "layers.hpp"
#include "threads.hpp"

namespace timewarp {
namespace {

using D1 = Array<double, 1>;
using D2 = Array<double, 2>;
using D3 = Array<double, 3>;
using I1 = Array<std::int32_t, 1>;
using I2 = Array<std::int32_t, 2>;
// attention, value, then weight and bias of project, widen and narrow.
using BlockArrays = std::tuple<D3, D2, D2, D1, D2, D1, D2, D1>;

// One network's tables; the memory is shared by the flows that use it.
struct FlowNetwork : KeptLayers {
  std::vector<AttentionBlock> blocks;
  NetworkTables view{};
};

void check_tokens(const std::int32_t* tokens, std::size_t n, int n_tokens) {
  for (std::size_t k = 0; k < n; ++k) expect(tokens[k] >= 0 && tokens[k] < n_tokens, "tokens within the network");
}

std::shared_ptr<FlowNetwork> make_network(int width, int n_heads, double epsilon, D2 base, D2 embed, D2 from_context,
                                          const std::vector<BlockArrays>& blocks, I1 active, D2 read, D1 read_bias) {
  expect(width > 0 && width <= kMostWide && n_heads > 0 && n_heads <= width && width % n_heads == 0,
         "a width that is a multiple of the heads");
  expect(base.shape(0) <= kMostWide && embed.shape(0) <= kMostWide && read.shape(0) <= kMostWide, "a network of that size");
  auto network = std::make_shared<FlowNetwork>();
  FlowNetwork& w = *network;
  NetworkTables& n = w.view;
  n.width = width;
  n.padded = (width + kTile - 1) / kTile * kTile;
  n.n_heads = n_heads;
  n.n_tokens = int(base.shape(0));
  n.n_inputs = int(embed.shape(0));
  n.n_blocks = int(blocks.size());
  n.epsilon = float(epsilon);
  n.n_active = int(active.size());
  const std::size_t padded = n.padded, tokens = n.n_tokens;
  expect(tokens > 0 && base.shape(1) == 2 * padded && embed.shape(1) == 2 * padded, "embeddings (n, 2 padded)");
  expect(from_context.shape(0) == 0 || (from_context.shape(0) == 2 * padded && from_context.shape(1) == std::size_t(width)),
         "context weights (2 padded, width)");
  expect(!blocks.empty(), "at least one block");
  check_tokens(active.data(), active.size(), n.n_tokens);
  n.base = w.keep(base.data(), base.size());
  n.embed = w.keep(embed.data(), embed.size());
  if (from_context.shape(0)) n.from_context = w.pack(from_context, nullptr);
  for (const auto& [attention, value, project, project_bias, widen, widen_bias, narrow, narrow_bias] : blocks) {
    const std::size_t hidden = widen.shape(0), real = narrow.shape(1), d = std::size_t(width);
    expect(attention.shape(0) == std::size_t(n_heads) && attention.shape(1) == tokens && attention.shape(2) == tokens,
           "attention (heads, tokens, tokens)");
    expect(value.shape(0) == padded && value.shape(1) == d && project.shape(0) == padded && project.shape(1) == d &&
               widen.shape(1) == d && narrow.shape(0) == padded && real <= hidden,
           "layers that fit the width");
    expect(project_bias.size() == padded && widen_bias.size() == hidden && narrow_bias.size() == padded,
           "a bias per output");
    n.hidden = std::max(n.hidden, int(hidden));
    w.blocks.push_back({w.keep(attention.data(), attention.size()), w.pack(value, nullptr),
                        w.pack(project, project_bias.data()), w.pack(widen, widen_bias.data()),
                        w.pack(narrow, narrow_bias.data())});
  }
  n.blocks = w.blocks.data();
  n.active = w.keep(active);
  expect(read.shape(1) > 0 && read.shape(1) % std::size_t(width) == 0 && read_bias.size() == read.shape(0),
         "a read-out of whole tokens");
  n.read = w.pack(read, read_bias.data());
  return network;
}

struct Flow {
  std::shared_ptr<FlowNetwork> context;
  std::vector<std::shared_ptr<FlowNetwork>> networks;
  std::vector<std::vector<std::int32_t>> fixed;
  std::vector<CouplingTables> couplings;
  std::vector<std::int32_t> order, references, sibling, stiff, torsions, corners;
  std::vector<double> standard, cholesky;
  std::vector<std::shared_ptr<FlowNetwork>> stiff_networks;
  std::deque<std::vector<std::int32_t>> stiff_places;
  std::vector<StiffCouplingTables> stiff_couplings;
  std::vector<std::int32_t> torsion_of;
  FlowTables view{};
};

std::unique_ptr<Flow> make_flow(I1 order, I2 references, I1 sibling, I2 stiff, D2 standard, I2 torsions,
                                       std::shared_ptr<FlowNetwork> context,
                                       const std::vector<std::shared_ptr<FlowNetwork>>& couplings, int bins) {
  auto flow = std::make_unique<Flow>();
  Flow& f = *flow;
  const std::size_t atoms = order.size(), n_torsions = torsions.shape(0);
  const int n_atoms = int(atoms);
  expect(atoms >= 3 && references.shape(0) == atoms && references.shape(1) == 3 && sibling.size() == atoms,
         "a tree of all atoms");
  expect(stiff.shape(1) == 3 && standard.shape(0) == stiff.shape(0) && standard.shape(1) == 2, "stiff coordinates (n, 3)");
  expect(n_torsions > 0 && torsions.shape(1) == 4, "torsions (n, 4)");
  check_tokens(order.data(), atoms, n_atoms);
  check_tokens(torsions.data(), torsions.size(), n_atoms);
  for (std::size_t k = 0; k < atoms; ++k) {
    expect(sibling.data()[k] >= -1 && sibling.data()[k] < n_atoms, "siblings within the molecule");
    for (std::size_t place = 0; place < std::min<std::size_t>(k, 3); ++place) {
      const std::int32_t r = references.data()[3 * std::size_t(order.data()[k]) + place];
      expect(r >= 0 && r < n_atoms, "references within the molecule");
    }
  }
  for (std::size_t k = 0; k < stiff.shape(0); ++k) {
    check_tokens(stiff.data() + 3 * k, 1, n_atoms);
    expect(stiff.data()[3 * k + 1] >= 0 && stiff.data()[3 * k + 1] < 3, "columns 0 to 2");
  }
  f.order = copied<std::int32_t>(order);
  f.references = copied<std::int32_t>(references);
  f.sibling = copied<std::int32_t>(sibling);
  f.stiff = copied<std::int32_t>(stiff);
  f.standard = copied<double>(standard);
  f.corners = copied<std::int32_t>(torsions);
  for (std::size_t k = 0; k < n_torsions; ++k) f.torsions.push_back(f.corners[4 * k]);
  FlowTables& t = f.view;
  t.tree = {n_atoms,          int(stiff.shape(0)),  int(n_torsions),    f.order.data(),   f.references.data(),
            f.sibling.data(), f.stiff.data(),       f.standard.data(),  f.torsions.data()};
  t.has_context = context != nullptr;
  if (context) {
    f.context = context;
    t.context = context->view;
    expect(t.context.n_tokens == n_atoms && t.context.n_inputs == 3 && t.context.read.n_out == t.context.padded &&
               t.context.read.n_in == 4 * t.context.width,
           "a context of all atoms, read at four corners");
  }
  t.corners = f.corners.data();
  expect(bins >= 1 && bins <= kMostWide && !couplings.empty(), "at least one bin, not too many, and one coupling");
  f.networks = couplings;
  f.fixed.reserve(couplings.size());
  for (const auto& network : couplings) {
    const NetworkTables& n = network->view;
    expect(n.n_tokens == int(n_torsions) && n.n_inputs == 6 && n.read.n_in == n.width && n.read.n_out >= 3 * bins + 1 &&
               n.read.n_out <= 3 * bins + kTile,
           "couplings over the torsions");
    expect((n.from_context.n_in > 0) == t.has_context && (!t.has_context || n.width == t.context.width),
           "couplings that read the context");
    std::vector<std::int32_t>& fixed = f.fixed.emplace_back();
    for (int k = 0; k < n.n_tokens; ++k)
      if (std::find(n.active, n.active + n.n_active, k) == n.active + n.n_active) fixed.push_back(k);
    f.couplings.push_back({n, fixed.data(), int(fixed.size())});
  }
  t.couplings = f.couplings.data();
  t.n_couplings = int(f.couplings.size());
  t.bins = bins;
  return flow;
}

// Family B: each coupling is a network over atoms and, for every stiff coordinate, whether it moves.
void add_stiff(Flow& f, D2 cholesky, const std::vector<std::tuple<std::shared_ptr<FlowNetwork>, I1>>& couplings, int bins) {
  FlowTables& t = f.view;
  const std::size_t n_stiff = t.tree.n_stiff;
  expect(!t.has_context, "a flow without context");
  expect(cholesky.shape(0) == n_stiff && cholesky.shape(1) == n_stiff, "a factor (stiff, stiff)");
  expect(bins >= 1 && bins <= kMostWide && !couplings.empty() && f.stiff_couplings.empty(),
         "at least one bin, not too many, and one coupling");
  f.cholesky = copied<double>(cholesky);
  f.torsion_of.assign(t.tree.n_atoms, -1);
  for (int k = 0; k < t.tree.n_torsions; ++k) f.torsion_of[t.tree.torsions[k]] = k;
  for (const auto& [network, moves] : couplings) {
    const NetworkTables& n = network->view;
    expect(n.n_tokens == t.tree.n_atoms && n.n_inputs == 9 && n.from_context.n_in == 0 && n.read.n_in == n.width &&
               n.read.n_out >= 3 * (3 * bins + 1),
           "couplings over the atoms");
    expect(moves.size() == n_stiff, "a flag for each stiff coordinate");
    auto &known = f.stiff_places.emplace_back(), &moved = f.stiff_places.emplace_back(), &first = f.stiff_places.emplace_back();
    for (std::size_t s = 0; s < n_stiff; ++s) known.push_back(!moves.data()[s]);
    first.push_back(0);
    for (int k = 0; k < n.n_active; ++k) {
      for (std::size_t s = 0; s < n_stiff; ++s)
        if (!known[s] && f.stiff[3 * s] == n.active[k]) {
          moved.push_back(f.stiff[3 * s + 1]);
          moved.push_back(std::int32_t(s));
        }
      first.push_back(std::int32_t(moved.size() / 2));
    }
    f.stiff_networks.push_back(network);
    f.stiff_couplings.push_back({n, known.data(), moved.data(), first.data()});
  }
  t.n_stiff_couplings = int(f.stiff_couplings.size());
  t.stiff_bins = bins;
  t.stiff_couplings = f.stiff_couplings.data();
  t.cholesky = f.cholesky.data();
  t.torsion_of = f.torsion_of.data();
}

// Chains that a thread takes at a time: one block of the widest vectors.
constexpr long kGrain = 32;

template <class Work>
void run(const FlowTables& t, long n, int n_threads, const Work& work) {
  const long bytes = isa().flow->scratch_bytes(t);
  nb::gil_scoped_release unlocked;
  parallel(n, kGrain, n_threads, bytes, work);
}

template <class Io>
void propose(const Flow& f, Array<Io, 3> positions, Array<double, 2> base, D2 noise, Out<Io, 3> candidates,
             Out<double, 1> there, Out<double, 1> here, int n_threads, Propose<Io> kernel) {
  const FlowTables& t = f.view;
  const std::size_t n = positions.shape(0), atoms = t.tree.n_atoms;
  expect(positions.shape(1) == atoms && positions.shape(2) == 3 && candidates.shape(0) == n &&
             candidates.shape(1) == atoms && candidates.shape(2) == 3,
         "positions (n, atoms, 3)");
  expect(base.shape(0) == n && base.shape(1) == std::size_t(t.tree.n_torsions), "base angles (n, torsions)");
  expect(t.n_stiff_couplings == 0 || (noise.shape(0) == n && noise.shape(1) == std::size_t(t.tree.n_stiff)),
         "noise (n, stiff)");
  expect(there.shape(0) == n && here.shape(0) == n, "log densities (n)");
  const Io* x = positions.data();
  const double *b = base.data(), *z = noise.data();
  Io* y = candidates.data();
  double *q_there = there.data(), *q_here = here.data();
  run(t, long(n), n_threads, [&](long first, long last, void* scratch) {
    kernel(t, x, b, z, y, q_there, q_here, first, last, scratch);
  });
}

}  // namespace

void bind_flow(nb::module_& m) {
  m.attr("TILE") = kTile;
  nb::class_<FlowNetwork>(m, "FlowNetwork")
      .def(nb::new_([](int width, int n_heads, double epsilon, D2 base, D2 embed, D2 from_context,
                       std::vector<BlockArrays> blocks, I1 active, D2 read, D1 read_bias) {
             return make_network(width, n_heads, epsilon, base, embed, from_context, blocks, active, read, read_bias);
           }),
           nb::kw_only(), nb::arg("width"), nb::arg("n_heads"), nb::arg("epsilon"), nb::arg("base"), nb::arg("embed"),
           nb::arg("from_context"), nb::arg("blocks"), nb::arg("active"), nb::arg("read"), nb::arg("read_bias"));
  nb::class_<Flow>(m, "Flow")
      .def(nb::new_([](I1 order, I2 references, I1 sibling, I2 stiff, D2 standard, I2 torsions,
                       std::shared_ptr<FlowNetwork> context, std::vector<std::shared_ptr<FlowNetwork>> couplings,
                       int bins) {
             return make_flow(order, references, sibling, stiff, standard, torsions, context, couplings, bins);
           }),
           nb::kw_only(), nb::arg("order"), nb::arg("references"), nb::arg("sibling"), nb::arg("stiff"),
           nb::arg("standard"), nb::arg("torsions"), nb::arg("context").none(), nb::arg("couplings"), nb::arg("bins"))
      .def("add_stiff",
           [](Flow& f, D2 cholesky, std::vector<std::tuple<std::shared_ptr<FlowNetwork>, I1>> couplings, int bins) {
             add_stiff(f, cholesky, couplings, bins);
           },
           nb::kw_only(), nb::arg("cholesky"), nb::arg("couplings"), nb::arg("bins"))
      .def("propose",
           [](const Flow& f, Array<float, 3> x, Array<double, 2> base, D2 noise, Out<float, 3> y, Out<double, 1> there,
              Out<double, 1> here,
              int n_threads) { propose<float>(f, x, base, noise, y, there, here, n_threads, isa().flow->propose_f32); })
      .def("propose", [](const Flow& f, Array<double, 3> x, Array<double, 2> base, D2 noise, Out<double, 3> y,
                         Out<double, 1> there, Out<double, 1> here, int n_threads) {
        propose<double>(f, x, base, noise, y, there, here, n_threads, isa().flow->propose_f64);
      });
}

}  // namespace timewarp
